# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.llmops.user_bridge.plugins.module_utils._catalog.compare import drift
from ansible_collections.llmops.user_bridge.plugins.module_utils._catalog.live import Live
from ansible_collections.llmops.user_bridge.plugins.module_utils._catalog.records import Record
from ansible_collections.llmops.user_bridge.plugins.module_utils._names import Subject

OWNER = "the_owner"
SCHEMA = Subject("schema", "", "user_bridge")
TABLE = Subject("table", "user_bridge", "t")
FUNCTION = Subject("function", "user_bridge", "f", "integer")
FINGERPRINT = "owner: <owner>"
SUBJECTS = {(subject.kind, subject.label): subject for subject in (SCHEMA, TABLE, FUNCTION)}


def test_drift_without_definitions() -> None:
    live = {key: Live(subject, OWNER, FINGERPRINT) for key, subject in SUBJECTS.items()}
    recorded = {key: Record("", FINGERPRINT, "15", "1.0.0") for key in SUBJECTS}
    recorded["bridge", "litellm"] = Record("", "", "15", "1.0.0")

    def states(server: str) -> dict[str, str]:
        return {item["kind"]: item["state"] for item in drift(live, recorded, OWNER, server)}

    assert states("15") == {"schema": "ok", "table": "ok", "function": "ok"}
    live["function", "user_bridge.f(integer)"] = Live(FUNCTION, OWNER, "disabled")
    del live["table", "user_bridge.t"]
    assert states("15") == {"schema": "ok", "table": "missing", "function": "disabled"}
    assert states("16") == {"schema": "ok", "table": "missing", "function": "unknown"}
    live["trigger", "user_bridge_x on public.t"] = Live(Subject("trigger", "public", "user_bridge_x"), OWNER, "")
    assert drift(live, {}, "other", "15") == [
        {"kind": "schema", "name": "user_bridge", "state": "changed", "reason": f"owned by {OWNER}"},
        {
            "kind": "trigger",
            "name": "user_bridge_x on public.t",
            "state": "unknown",
            "reason": "not installed by this bridge",
        },
    ]
