# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long each test file takes, in whole seconds, for the order in which they are begun."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import pytest

PATH = Path(__file__).with_name("durations.json")


def read() -> dict[str, int]:
    """File name to seconds."""
    known: dict[str, int] = json.loads(PATH.read_text(encoding="utf-8")) if PATH.exists() else {}
    return known


class Recorder:
    """A pytest plugin that puts the files of this run into the record."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[Path(report.location[0]).name] += report.duration

    def pytest_sessionfinish(self) -> None:
        known = {**read(), **{name: round(seconds) for name, seconds in self.seconds.items()}}
        PATH.write_text(json.dumps(dict(sorted(known.items())), indent=2) + "\n", encoding="utf-8")
