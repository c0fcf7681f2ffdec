# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.llmops.user_bridge.plugins.module_utils._info.health import health


def side(**changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"database": "db", "installed": True, "version": "1.0.0"}
    found.update(objects=[], counts={}, grants=[])
    return {**found, **changes}


def info(**changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "litellm": side(),
        "openwebui": side(),
        "version": {"installed": "1.0.0", "expected": None, "matches": None},
        "installation": {"id": "i", "owner_id": "i", "problem": None},
        "connection": {"state": "ok", "apply": True, "user": "u", "database": "d"},
        "drainer": {"runs": "systemd", "lives": True, "since": None},
        "queue": {"depth": 0, "failed": 0, "oldest_seconds": None, "by_type": {}},
        "settings": {"initial_password_ttl_hours": 72},
        "pause": None,
        "causes": [],
        "upkeep_failing": [],
        "trigger_faults": 0,
        "triggers_off": [],
        "removals": None,
        "drift": None,
        "initial_passwords": None,
        "settings_differ": [],
        "not_linked": None,
        "linked": None,
        "enforcement": None,
        "unseen": [],
    }
    return {**found, **changes}


def granted(yes: bool, needed: bool = True) -> dict[str, Any]:
    return {"table": "user", "role": "owner", "privilege": "SELECT", "needed": needed, "granted": yes}


def changed(state: str) -> dict[str, Any]:
    return side(objects=[{"kind": "view", "name": "v", "state": state, "reason": "why"}])


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, "ok"),
        ({"openwebui": None, "connection": None, "queue": None, "settings": None}, "ok"),
        ({"litellm": changed("ok")}, "ok"),
        ({"drainer": None}, "ok"),
        ({"drainer": {"runs": "systemd", "lives": False, "since": None}}, "degraded"),
        ({"drainer": {"runs": "pg_cron", "lives": False, "since": None}}, "degraded"),
        ({"drainer": {"runs": "none", "lives": False, "since": None}}, "ok"),
        ({"drainer": {"runs": None, "lives": False, "since": None}}, "ok"),
        ({"drainer": {"runs": "systemd", "lives": None, "since": None}}, "ok"),
        ({"queue": {"depth": 3, "failed": 0, "oldest_seconds": 300}}, "ok"),
        ({"queue": {"depth": 3, "failed": 0, "oldest_seconds": 301}}, "degraded"),
        ({"queue": {"depth": 3, "failed": 1, "oldest_seconds": 1}}, "degraded"),
        ({"pause": {"since": None, "until": None}}, "degraded"),
        ({"litellm": changed("unknown")}, "degraded"),
        ({"version": {"installed": "1.0.0", "expected": "2.0.0", "matches": False}}, "degraded"),
        ({"unseen": [{"what": "queue", "reason": "permission denied"}]}, "degraded"),
        ({"settings_differ": ["role_map"]}, "degraded"),
        ({"settings_differ": None}, "ok"),
        ({"not_linked": {"total": 1, "first": []}}, "degraded"),
        ({"not_linked": {"total": 0, "first": []}}, "ok"),
        ({"linked": {"user": {"linked": 2, "missing": 0}}, "mapped": {"user": 2}}, "ok"),
        ({"linked": {"user": {"linked": 2, "missing": 1}}, "mapped": {"user": 2}}, "degraded"),
        ({"linked": {"user": {"linked": 2, "missing": 0}}, "mapped": {"user": 802}}, "degraded"),
        ({"linked": {"user": {"linked": 2, "missing": 0}}, "mapped": None}, "ok"),
        ({"upkeep_failing": [{"task": "lookout", "failures": 1, "message": "no"}]}, "degraded"),
        ({"trigger_faults": 2}, "degraded"),
        ({"trigger_faults": None}, "ok"),
        ({"triggers_off": ["role litellm"]}, "broken"),
        ({"removals": {"total": 3, "first": [], "by_kind": {"deletion": 3}}}, "degraded"),
        ({"removals": {"total": 0, "first": [], "by_kind": {}}}, "ok"),
        ({"drift": {"entities": 1, "fields": 2, "by_type": {"user": 1}}}, "degraded"),
        ({"drift": {"entities": 0, "fields": 0, "by_type": {}}}, "ok"),
        ({"initial_passwords": {"total": 1, "first": [{"user_id": "u", "seconds": 72 * 3600}]}}, "ok"),
        ({"initial_passwords": {"total": 1, "first": [{"user_id": "u", "seconds": 74 * 3600}]}}, "degraded"),
        ({"initial_passwords": {"total": 0, "first": []}}, "ok"),
        ({"litellm": side(grants=[granted(True)])}, "ok"),
        ({"litellm": side(grants=[granted(False)])}, "broken"),
        ({"litellm": side(grants=[granted(True, needed=False)])}, "broken"),
        ({"litellm": side(installed=False, grants=[granted(False)])}, "broken"),
        ({"litellm": side(installed=False)}, "broken"),
        ({"openwebui": changed("missing")}, "broken"),
        ({"openwebui": changed("changed")}, "broken"),
        ({"litellm": changed("disabled")}, "broken"),
        ({"connection": {"state": "failed", "error": "e", "remedy": "r"}}, "broken"),
        ({"installation": None}, "ok"),
        ({"installation": {"id": "i", "owner_id": "j", "problem": "it is a copy"}}, "broken"),
        ({"connection": {"state": "missing", "error": "e", "remedy": "r"}}, "broken"),
        ({"connection": {"state": "not tested"}}, "ok"),
        ({"connection": {"state": "ok", "apply": False, "user": "u", "database": "d"}}, "broken"),
    ],
)
def test_health(changes: dict[str, Any], status: str) -> None:
    found = health(info(**changes))
    assert found["status"] == status
    assert bool(found["reasons"]) == (status != "ok")


def test_what_is_on_its_way_is_not_lost() -> None:
    linked = {"user": {"linked": 2, "missing": 0}}
    queue = {"depth": 3, "failed": 0, "oldest_seconds": 1, "by_type": {"user": 3}}
    assert health(info(linked=linked, mapped={"user": 5}, queue=queue))["status"] == "ok"
    found = health(info(linked=linked, mapped={"user": 6}, queue=queue))
    assert found["reasons"][0].startswith("Open WebUI lacks 1 user ")


def test_the_worst_comes_first() -> None:
    found = health(info(pause={"since": "then", "until": "later"}, openwebui=changed("missing")))
    assert found["status"] == "broken"
    assert found["reasons"][0].startswith("view v (openwebui): why")
    assert "is paused since then until later: " in found["reasons"][1]


def test_the_cause_of_each_failure_comes_with_its_remedy() -> None:
    causes = [
        {"cause": "too long", "remedy": "shorten it", "entities": 2},
        {"cause": "locked", "remedy": "wait", "entities": 1},
    ]
    found = health(info(queue={"depth": 3, "failed": 2, "oldest_seconds": 1}, causes=causes))
    assert found["reasons"] == [
        "2 of 3 queued changes could not be delivered so far",
        "2 entities: too long: shorten it",
        "1 entity: locked: wait",
    ]


@pytest.mark.parametrize("state", ["litellm", "openwebui"])
def test_half_a_deployment_is_named_by_the_program(state: str) -> None:
    program = {"litellm": "LiteLLM", "openwebui": "Open WebUI"}[state]
    (reason,) = health(info(**{state: side(installed=False)}))["reasons"]
    assert reason == f"{program}'s database db has no bridge: run the playbook llmops.user_bridge.deploy_bridge"


def test_a_reason_says_where_to_decide() -> None:
    """Not a section that the report of a playbook may not have."""
    queue = {"depth": 1, "failed": 1, "oldest_seconds": 1, "by_type": {}}
    (failed, held) = health(info(queue=queue, removals={"total": 1, "first": [], "by_kind": {"deletion": 1}}))[
        "reasons"
    ]
    assert failed == "1 of 1 queued change could not be delivered so far"
    assert held.startswith(
        "1 change held until somebody decides (1 deletion): the playbook llmops.user_bridge.review_c"
    )
