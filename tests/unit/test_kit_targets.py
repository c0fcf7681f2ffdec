# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""make test: every target runs, and what each took is kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from kit import targets

MAKEFILE = """\
good:
\t@echo $(WORD) > {home}/good
bad:
\t@exit 3
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "Makefile").write_text(MAKEFILE.format(home=tmp_path), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("USER_BRIDGE_CACHE", str(tmp_path))
    monkeypatch.setenv("MAKEFLAGS", " -- WORD=given")
    return tmp_path


def test_a_target_that_fails_fails_the_run_and_hides_no_other(project: Path) -> None:
    assert targets.main(["bad", "good"]) == 1
    assert (project / "good").read_text(encoding="utf-8") == "given\n"
    kept = [line.split("\t") for line in (project / "times.tsv").read_text(encoding="utf-8").splitlines()]
    assert [(line[0], line[-1]) for line in kept] == [
        ("target", "result"),
        ("bad", "FAILED"),
        ("good", "passed"),
        ("total", ""),
    ]


def test_all_passed(project: Path) -> None:
    assert targets.main(["good"]) == 0


def test_side_by_side_each_counts_and_is_shown(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert targets.main(["good+bad"]) == 1
    assert (project / "make-bad.log").read_text(encoding="utf-8") in capsys.readouterr().err
    kept = (project / "times.tsv").read_text(encoding="utf-8")
    assert [line.split("\t")[0] for line in kept.splitlines()] == ["target", "good", "bad", "total"]


def test_a_lane_runs_one_after_the_other_beside_another(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert targets.main(["bad+bad,good"]) == 1
    assert (project / "good").exists()
    said = capsys.readouterr().err
    assert said.index("==> bad: FAILED") < said.index("==> good: passed")
    kept = (project / "times.tsv").read_text(encoding="utf-8")
    assert [line.split("\t")[0] for line in kept.splitlines()] == ["target", "bad", "bad", "good", "total"]


def test_times_are_minutes_and_seconds() -> None:
    table = targets.lines([targets.Run("unit", 59.6, 125.2, 0), targets.Run("lint", 61, 0.4, 2)], 70)
    assert table[1:] == [
        ("unit", "1:00", "2:05", "passed"),
        ("lint", "1:01", "0:00", "FAILED"),
        ("total", "1:10", "2:06", ""),
    ]
