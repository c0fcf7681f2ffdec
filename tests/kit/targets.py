# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs make targets and keeps what each took, with nothing but the standard library.

A target that fails does not hide what would fail after it. The table at the end is kept in .cache/times.tsv.

Usage: python3 -m kit.targets STEP...

Steps run one after the other. A+B,C are two lanes side by side, in the second of which C follows B; what a target of a
lane prints is shown when it ends.
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
from threading import Lock

from kit.common import cache_dir, say

HEADER = ("target", "wall", "cpu", "result")
# Two lanes may end a target at once.
_PRINTING = Lock()


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


def side_by_side(step: str) -> list[Run]:
    """Run the lanes of a step at the same time, in each lane one target after the other."""
    lanes = [lane.split(",") for lane in step.split("+")]
    if len(lanes) == 1:
        return [_with_its_result(run(target)) for target in lanes[0]]
    with ThreadPoolExecutor(len(lanes)) as pool:
        return [each for done in pool.map(_lane, lanes) for each in done]


def _lane(targets: Sequence[str]) -> list[Run]:
    return [_shown_at_its_end(target) for target in targets]


def _shown_at_its_end(target: str) -> Run:
    log = cache_dir() / f"make-{target}.log"
    done = run(target, log)
    with _PRINTING:
        say(log.read_text(encoding="utf-8", errors="replace"))
        return _with_its_result(done)


def _with_its_result(done: Run) -> Run:
    say(f"==> {done.target}: {_word(done)} in {_minutes(done.wall)}")
    return done


def lines(runs: Sequence[Run], wall: float) -> list[tuple[str, str, str, str]]:
    """The table's rows; `wall` is what all of them took together."""
    cpu = sum(each.cpu for each in runs)
    return [
        HEADER,
        *((each.target, _minutes(each.wall), _minutes(each.cpu), _word(each)) for each in runs),
        ("total", _minutes(wall), _minutes(cpu), ""),
    ]


def _word(done: Run) -> str:
    return "FAILED" if done.code else "passed"


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
        done += side_by_side(step)
        keep(lines(done, time.monotonic() - started))
    say("")
    for target, wall, cpu, result in lines(done, time.monotonic() - started):
        say(f"{target:16} {wall:>8} {cpu:>8}  {result}".rstrip())
    return 1 if any(each.code for each in done) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
