# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs make targets and keeps what each took, with nothing but the standard library.

A target that fails does not hide what would fail after it. The table at the end is kept in .cache/times.tsv.

Usage: python3 -m kit.targets TARGET...    (one after the other; of A+B side by side the output comes at the end)
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from kit.common import cache_dir, say

HEADER = ("target", "wall", "cpu", "result")


@dataclass(frozen=True)
class Run:
    """One target. Seconds; `cpu` is of its own processes, not of containers that Docker runs for it."""

    target: str
    wall: float
    cpu: float
    code: int


def run(target: str, log: Path | None = None) -> Run:
    """Run one target with the variables that the calling make was given (they come in MAKEFLAGS)."""
    started = time.monotonic()
    sink = log.open("wb") if log else None
    try:
        process = subprocess.Popen(["make", target], stdin=subprocess.DEVNULL, stdout=sink, stderr=sink)
    finally:
        if sink:
            sink.close()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return Run(target, time.monotonic() - started, usage.ru_utime + usage.ru_stime, process.returncode)


def side_by_side(targets: Sequence[str]) -> list[Run]:
    """Run targets at the same time; what each printed is shown when all have ended."""
    if len(targets) == 1:
        return [run(targets[0])]
    logs = {target: cache_dir() / f"make-{target}.log" for target in targets}
    with ThreadPoolExecutor(len(targets)) as pool:
        done = list(pool.map(run, targets, logs.values()))
    for log in logs.values():
        say(log.read_text(encoding="utf-8", errors="replace"))
    return done


def lines(runs: Sequence[Run], wall: float) -> list[tuple[str, str, str, str]]:
    """The table's rows; `wall` is what all of them took together."""
    cpu = sum(each.cpu for each in runs)
    return [
        HEADER,
        *((each.target, _minutes(each.wall), _minutes(each.cpu), "FAILED" if each.code else "passed") for each in runs),
        ("total", _minutes(wall), _minutes(cpu), ""),
    ]


def _minutes(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02}"


def keep(table: Iterable[tuple[str, ...]]) -> None:
    """Write it after every target: a run that is interrupted says what it got to."""
    text = "".join("\t".join(line) + "\n" for line in table)
    (cache_dir() / "times.tsv").write_text(text, encoding="utf-8")


def main(steps: Sequence[str]) -> int:
    started = time.monotonic()
    done: list[Run] = []
    for step in steps:
        for each in side_by_side(step.split("+")):
            done.append(each)
            say(f"==> {each.target}: {'FAILED' if each.code else 'passed'} in {_minutes(each.wall)}")
        keep(lines(done, time.monotonic() - started))
    say("")
    for target, wall, cpu, result in lines(done, time.monotonic() - started):
        say(f"{target:16} {wall:>8} {cpu:>8}  {result}".rstrip())
    return 1 if any(each.code for each in done) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
