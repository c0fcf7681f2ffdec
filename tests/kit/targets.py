# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs make targets one after the other and keeps what each took, with nothing but the standard library.

A target that fails does not hide what would fail after it. The table is printed at the end and kept in .cache/times.tsv.

Usage: python3 -m kit.targets TARGET...
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kit.common import cache_dir, say

HEADER = ("target", "wall", "cpu", "result")


@dataclass(frozen=True)
class Run:
    """One target. Seconds; `cpu` is of its own processes, not of containers that Docker runs for it."""

    target: str
    wall: float
    cpu: float
    code: int


def run(target: str) -> Run:
    """Run one target with the variables that the calling make was given (they come in MAKEFLAGS)."""
    started = time.monotonic()
    process = subprocess.Popen(["make", target], stdin=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return Run(target, time.monotonic() - started, usage.ru_utime + usage.ru_stime, process.returncode)


def lines(runs: Sequence[Run]) -> list[tuple[str, str, str, str]]:
    """The table's rows, with their sum at the end."""
    total = Run("total", sum(each.wall for each in runs), sum(each.cpu for each in runs), 0)
    return [
        HEADER,
        *((each.target, _minutes(each.wall), _minutes(each.cpu), "FAILED" if each.code else "passed") for each in runs),
        (total.target, _minutes(total.wall), _minutes(total.cpu), ""),
    ]


def _minutes(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02}"


def keep(table: Iterable[tuple[str, ...]]) -> None:
    """Write it after every target: a run that is interrupted says what it got to."""
    text = "".join("\t".join(line) + "\n" for line in table)
    (cache_dir() / "times.tsv").write_text(text, encoding="utf-8")


def main(targets: Sequence[str]) -> int:
    done: list[Run] = []
    for target in targets:
        done.append(run(target))
        keep(lines(done))
        say(f"==> {target}: {lines(done[-1:])[1][3]} in {_minutes(done[-1].wall)}")
    say("")
    for target, wall, cpu, result in lines(done):
        say(f"{target:16} {wall:>8} {cpu:>8}  {result}".rstrip())
    return 1 if any(each.code for each in done) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
