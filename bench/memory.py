# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a LiteLLM backend holds because of the bridge, and how many connections it keeps."""

from __future__ import annotations

from bench.bulk import private
from bench.latency import create_users
from bench.place import Place
from bench.table import Figure

WRITES = 300


def memory(where: Place) -> list[Figure]:
    held = {}
    before = set(where.delivering)
    for name in ("bare", "bridged"):
        session = getattr(where, name).connect("litellm")
        _, create = create_users()
        for number in range(WRITES):
            create(session, number)
        held[name] = private(session.pid)
        if name == "bridged":
            remote = [pid for pid in where.delivering if pid not in before]
            held["remote"] = sum(private(pid) for pid in remote)
        session.close()
    note = f"{held['bare']:.1f} MB -> {held['bridged']:.1f} MB; on Open WebUI's side: {held['remote']:.1f} MB"
    return [
        Figure("memory of a LiteLLM backend: added", held["bridged"] - held["bare"], "MB", note=note),
        Figure("connections to Open WebUI's database of a LiteLLM backend", len(remote), "", 1),
    ]
