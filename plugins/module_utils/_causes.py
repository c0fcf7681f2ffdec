# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Why deliveries fail, in few enough words to group by, and what to do about each.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from typing import Any, NamedTuple

DEPLOY = "run the playbook llmops.user_bridge.deploy_bridge"


class Cause(NamedTuple):
    name: str
    remedy: str


_OTHER = Cause("other", "read the message; the entity is retried with growing pauses until it works")
_TIMEOUT = Cause(
    "timeout",
    "look for load and for long transactions on Open WebUI's server, or raise bridge_target_timeout_ms; "
    "what waits is delivered as soon as it answers",
)
_LOCKED = Cause("locked", "wait until the migration or long transaction ends that holds the tables; it goes then")
_SCHEMA = Cause(
    "schema",
    "Open WebUI's tables are not what the bridge knows: wait for its upgrade to end, otherwise upgrade the collection "
    f"and {DEPLOY}",
)

# Words of the message and the cause; the first match wins. They come before the codes: one code stands for much.
_WORDS = (
    ("password authentication failed", "password", "check bridge_sync_password, then run rotate_sync_password"),
    ("password or GSSAPI delegated credentials required", "pg_hba", "demand scram-sha-256 of the sync user"),
    ("no pg_hba.conf entry", "pg_hba", "let the sync user in (pg_hba.conf of Open WebUI's server)"),
    ("last admin", "last admin", "make another account admin in Open WebUI, or keep this one proxy_admin in LiteLLM"),
    ("email refused", "email taken", "change the email of the Open WebUI account that has it, or delete that account"),
    ("name refused", "name too long", "shorten the alias in LiteLLM, or upgrade Open WebUI"),
    ("side of the bridge is older", "older bridge", DEPLOY),
    ("older than what Open WebUI has", "restored source", "nothing: the next attempt takes a newer version number"),
    ("permission denied", "permission", f"the sync user's or the owner role's rights are incomplete: {DEPLOY}"),
    ("foreign server user_bridge_target does not exist", "not deployed", DEPLOY),
    ("too many clients", "unreachable", "raise max_connections of Open WebUI's server, or use fewer connections"),
)
_CODES = {
    "UB001": Cause("unreachable", "check that Open WebUI's server runs and that bridge_target_host and _port reach it"),
    "UB002": _TIMEOUT,
    "UB003": Cause("busy", "nothing: it is delivered by the next drain"),
    "55P03": _LOCKED,
    "40P01": _LOCKED,
    "57014": _TIMEOUT,
    "22001": Cause("too long", "shorten the value in LiteLLM, or upgrade Open WebUI"),
    "23505": Cause("conflict", "another row of Open WebUI has this id or email: rename or delete that one"),
    "42501": Cause("permission", f"the sync user's or the owner role's rights are incomplete: {DEPLOY}"),
    "42P01": _SCHEMA,
    "42703": _SCHEMA,
    "42804": _SCHEMA,
    "23502": _SCHEMA,
    "42883": Cause("not deployed", f"a function of the bridge is missing: {DEPLOY}"),
    "3F000": Cause("not deployed", f"the bridge's schema is missing: {DEPLOY}"),
}


def cause(sqlstate: str | None, message: str | None) -> Cause:
    for words, name, remedy in _WORDS:
        if words in (message or ""):
            return Cause(name, remedy)
    return _CODES.get(sqlstate or "", _OTHER)


def grouped(errors: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Errors of the queue (sqlstate, message, entities, attempts, oldest_seconds) with one entry for each cause."""
    groups: dict[Cause, dict[str, Any]] = {}
    for error in errors:
        found = cause(error["sqlstate"], error["message"])
        empty = {"entities": 0, "attempts": 0, "oldest_seconds": 0, "examples": []}
        group = groups.setdefault(found, {"cause": found.name, "remedy": found.remedy, **empty})
        group["entities"] += error["entities"]
        group["attempts"] = max(group["attempts"], error["attempts"])
        group["oldest_seconds"] = max(group["oldest_seconds"], error["oldest_seconds"])
        group["examples"] = (group["examples"] + [error["message"]])[:3]
    return sorted(groups.values(), key=lambda group: (-group["entities"], group["cause"]))
