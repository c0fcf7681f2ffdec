# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ansible-playbook printed, host by host."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

_RECAP = re.compile(r"^(\S+)\s*: ok=\d+\s+changed=(\d+)\s+unreachable=0\s+failed=(\d+)", re.MULTILINE)
# At -vvv the result goes on in indented lines.
_FAILURE = re.compile(r"^(?:fatal|failed): \[(\S+?)\].*(?:\n[ }].*)*", re.MULTILINE)


@dataclass(frozen=True)
class Run:
    """What a run printed and how it ended; of one host of it, what it printed of that host's failures."""

    output: str
    changed: int
    failed: int
    hosts: Mapping[str, Run] = field(default_factory=dict)
    # Of the whole run.
    code: int = 0

    @property
    def words(self) -> str:
        """Without Ansible's line breaks and JSON's backslashes, so that a message can be looked for."""
        return " ".join(self.output.replace('\\"', '"').replace("\\n", " ").split())


def read(output: str) -> Run:
    """A run that came as far as its recap; an unreachable host is an error of the test's own."""
    recap = _RECAP.findall(output)
    assert recap, output
    said: dict[str, list[str]] = {}
    for failure in _FAILURE.finditer(output):
        said.setdefault(failure[1], []).append(failure[0])
    hosts = {host: Run("\n".join(said.get(host, [])), int(changed), int(failed)) for host, changed, failed in recap}
    ended = hosts.values()
    return Run(output, sum(each.changed for each in ended), sum(each.failed for each in ended), hosts)
