# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run that ends in the middle, by Ctrl-C or with its machine: the next one makes the bridge whole."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

from kit import litellm, pairs
from kit.cluster import Cluster
from kit.pairs import PASSWORDS, SYNC_USER, Pair
from playbooks_support import READ_ONLY, deploy, described, environment, forget_roles, play, variables

PEOPLE = 30
# Of the moments of one playbook, each a test, so that they run side by side.
PARTS = 3
SIGNALS = (signal.SIGKILL, signal.SIGINT, signal.SIGINT, signal.SIGKILL)
USUAL: dict[str, Any] = {"bridge_monitoring": True}


def untouched(pair: Pair, folder: Path) -> None:
    pass


def deployed(pair: Pair, folder: Path) -> None:
    deploy(pair, folder, **USUAL)


def to_be_migrated(pair: Pair, folder: Path) -> None:
    deploy(pair, folder, **USUAL, bridge_migrate_existing=False)


@dataclass(frozen=True)
class Kind:
    """A playbook, what it is run on, and what is given besides."""

    playbook: str
    before: Callable[[Pair, Path], None]
    given: Mapping[str, Any]
    # Where in each task that changes something a run ends.
    shares: tuple[float, ...] = (0.5,)

    def values(self, pair: Pair) -> dict[str, Any]:
        return variables(pair, **USUAL, **self.given)

    @property
    def name(self) -> str:
        return f"llmops.user_bridge.{self.playbook}"


KINDS = {
    "deploy": Kind("deploy_bridge", untouched, {}),
    "rotate": Kind("rotate_sync_password", deployed, {"bridge_sync_password": "another day, another pass'word"}),
    # All of it is one task, of many batches.
    "migrate": Kind("migrate_users", to_be_migrated, {"bridge_migrate_batch_size": 5}, (0.3, 0.5, 0.7, 0.9)),
    "remove": Kind("remove_bridge", deployed, {"bridge_remove_data": True}),
}


@contextmanager
def prepared(server: Cluster, kind: Kind, folder: Path) -> Iterator[tuple[Pair, dict[str, list[str]]]]:
    """With people, and what was there before any bridge."""
    with pairs.pair(server) as pair:
        forget_roles(pair)
        pristine = described(pair)
        for number in range(PEOPLE):
            litellm.new_user(pair.litellm, f"u{number}", f"u{number}@example.com")
        try:
            kind.before(pair, folder)
            yield pair, pristine
        finally:
            # The password belongs to the whole server, and so to other tests.
            if pair.litellm_admin.value("SELECT to_regrole(%s)", [SYNC_USER]):
                pair.litellm_admin.run(f'ALTER ROLE "{SYNC_USER}" PASSWORD %s', [PASSWORDS[SYNC_USER]])


def started(kind: Kind, pair: Pair, folder: Path) -> subprocess.Popen[str]:
    """As people run it, each module a program of its own."""
    given = folder / "variables.json"
    values = {"ansible_python_interpreter": sys.executable, **kind.values(pair)}
    given.write_text(json.dumps(values), encoding="utf-8")
    program = str(Path(sys.executable).with_name("ansible-playbook"))
    return subprocess.Popen(
        [program, kind.name, "-e", f"@{given}"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=folder,
        env=environment(folder, {"PYTHONUNBUFFERED": "1"}),
    )


@dataclass(frozen=True)
class Moment:
    """So many seconds after a task has begun, the first of which is number 0."""

    number: int
    delay: float


def moments_of(kind: Kind, pair: Pair, folder: Path) -> list[Moment]:
    """Within each task that changes something, and when the one after it begins, of a run undisturbed."""
    found: list[Moment] = []
    number, begun, changed = -1, 0.0, False
    with started(kind, pair, folder) as process:
        assert process.stdout is not None
        for line in process.stdout:
            changed = changed or line.startswith("changed: [")
            if line.startswith(("TASK [", "PLAY RECAP")):
                if changed:
                    found += [Moment(number, (time.monotonic() - begun) * share) for share in kind.shares]
                if changed and line.startswith("TASK ["):
                    found.append(Moment(number + 1, 0))
                number, begun, changed = number + 1, time.monotonic(), False
    assert process.returncode == 0
    return found


def interrupt(
    kind: Kind, pair: Pair, folder: Path, begins: Callable[[int, str], bool], delay: float, sent: signal.Signals
) -> tuple[bool, str]:
    """Begin a run, and end it so long after a task has begun; says whether it was still there to be ended."""
    printed, number, due = [], 0, None
    with started(kind, pair, folder) as process:
        assert process.stdout is not None
        for line in process.stdout:
            printed.append(line)
            if not line.startswith("TASK ["):
                continue
            if due is None and begins(number, line):
                due = threading.Timer(delay, end, [process.pid, sent, folder])
                due.start()
            number += 1
    assert due is not None, "".join(printed)
    # Whose number is that of another process by now.
    due.cancel()
    return process.returncode != 0, "".join(printed)


def end(pid: int, sent: signal.Signals, folder: Path) -> None:
    """Ctrl-C reaches ansible-playbook alone, which ends the rest; nothing survives the machine."""
    if sent == signal.SIGINT:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, sent)
        return
    # Until nobody is left: one may be starting another at this moment.
    while left := begun_in(folder):
        for each in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(each, sent)


def begun_in(folder: Path) -> list[int]:
    """The processes of a run, which inherit an environment that names its folder; those that have ended have none."""
    found = []
    for environ in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if f"{folder}/".encode() in environ.read_bytes():
                found.append(int(environ.parent.name))
    return found


def settle(kind: Kind, pair: Pair, folder: Path, pristine: Mapping[str, list[str]], printed: str) -> None:
    """The next run does what is left, and the one after that nothing."""
    again = play(kind.name, kind.values(pair), folder)
    assert again.failed == 0, printed + again.output
    last = play(kind.name, kind.values(pair), folder, env=READ_ONLY)
    assert (last.changed, last.failed) == (0, 0), printed + again.output + last.output
    people = pair.openwebui.value("SELECT count(*) FROM \"user\" WHERE id LIKE 'usr_u%'")
    assert people == (0 if kind.playbook == "remove_bridge" else PEOPLE), printed
    if kind.playbook == "remove_bridge":
        assert described(pair) == pristine, printed


@pytest.mark.parametrize(
    ("name", "title", "sent"),
    [
        ("deploy", "triggers : Install or drop the SQL objects", signal.SIGKILL),
        # On every push a bridge of which parts are missing is removed in test_playbooks_states.
        pytest.param("remove", "Remove roles | Drop what they own", signal.SIGINT, marks=pytest.mark.weekly),
    ],
)
def test_it_ends_where_much_is_changed(
    server: Cluster, tmp_path: Path, name: str, title: str, sent: signal.Signals
) -> None:
    kind = KINDS[name]
    with prepared(server, kind, tmp_path) as (pair, pristine):
        was_ended, printed = interrupt(kind, pair, tmp_path, lambda _, line: title in line, 0.3, sent)
        assert was_ended, printed
        settle(kind, pair, tmp_path, pristine, printed)


@pytest.mark.weekly
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("name", KINDS)
def test_it_ends_wherever_something_is_changed(server: Cluster, tmp_path: Path, name: str, part: int) -> None:
    kind = KINDS[name]
    with prepared(server, kind, tmp_path) as (pair, _):
        moments = moments_of(kind, pair, tmp_path)
    chosen = list(zip(moments, cycle(SIGNALS), strict=False))[part::PARTS]
    ended = 0
    for moment, sent in chosen:
        with prepared(server, kind, tmp_path) as (pair, pristine):
            here = partial(_is_number, moment.number)
            was_ended, printed = interrupt(kind, pair, tmp_path, here, moment.delay, sent)
            settle(kind, pair, tmp_path, pristine, f"{sent.name} at {moment}\n{printed}")
            ended += was_ended
    # The last of them may come after the end of a run that is faster than the first one.
    assert chosen
    assert ended >= len(chosen) / 2


def _is_number(wanted: int, number: int, _line: str) -> bool:
    return number == wanted
