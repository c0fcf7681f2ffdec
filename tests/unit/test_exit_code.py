# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The callback beside the playbooks, which Ansible loads by its path."""

from __future__ import annotations

import importlib.util
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from kit.common import REPO

PATH = REPO / "playbooks" / "callback_plugins" / "user_bridge_exit_code.py"


@pytest.fixture(scope="module")
def plugin() -> ModuleType:
    spec = importlib.util.spec_from_file_location(PATH.stem, PATH)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def stats(*codes: Any) -> SimpleNamespace:
    hosts = {f"host{place}": {"__bridge_exit_code": code} for place, code in enumerate(codes)}
    return SimpleNamespace(custom={"_run": {"of_somebody_else": 7}, **hosts})


@pytest.mark.parametrize(
    ("codes", "code"),
    # With ansible-core 2.18 a template makes text.
    [((0,), 0), (("1",), 1), ((0, 1), 1), ((1, 3), 3), ((3, 2, 0), 2)],
)
def test_the_worst_ends_the_run(plugin: ModuleType, codes: tuple[Any, ...], code: int) -> None:
    with pytest.raises(SystemExit) as ended:
        plugin.CallbackModule().v2_playbook_on_stats(stats(*codes))
    assert ended.value.code == code


def test_other_runs_end_as_they_would(plugin: ModuleType) -> None:
    plugin.CallbackModule().v2_playbook_on_stats(stats())
