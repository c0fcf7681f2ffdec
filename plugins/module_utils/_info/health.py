# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The verdict on what was found.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from typing import Any

from ansible_collections.llmops.user_bridge.plugins.module_utils._names import PROGRAMS, SCHEMA
from ansible_collections.llmops.user_bridge.plugins.module_utils._remedies import DEPLOY, OTHER, RECONCILE

# A drainer looks several times a second: what waits longer is stuck.
_QUEUE_MAX_AGE_SECONDS = 300

_WHERE_TO_LOOK = {
    "systemd": "look at systemctl status 'user-bridge-*' and journalctl on the host that the service runs on",
    "pg_cron": "look at cron.job and cron.job_run_details in the database of pg_cron (a job begins within a minute)",
}


def health(info: dict[str, Any]) -> dict[str, Any]:
    """One word and the reasons for it, worst first."""
    broken: list[str] = []
    degraded: list[str] = []
    for side in ("litellm", "openwebui"):
        found = info[side]
        if found is None:
            continue
        if not found["installed"]:
            broken.append(f"{PROGRAMS[side]}'s database {found['database']} has no bridge: {DEPLOY}")
            continue
        for item in found["objects"]:
            if item["state"] != "ok":
                reasons = degraded if item["state"] == "unknown" else broken
                reasons.append(f"{item['kind']} {item['name']} ({side}): {item['reason']}; {DEPLOY}")
        for grant in found["grants"]:
            if grant["needed"] != grant["granted"]:
                verb = "lacks" if grant["needed"] else "must not have"
                what = f"{grant['role']} {verb} {grant['privilege']} on table {grant['table']} ({side})"
                broken.append(f"{what}: {DEPLOY}")
    if info["installation"] and info["installation"]["problem"]:
        broken.append(info["installation"]["problem"])
    connection = info["connection"]
    if connection and connection["state"] in ("failed", "missing"):
        broken.append(f"LiteLLM's server cannot reach Open WebUI's: {connection['error']}; {connection['remedy']}")
    if connection and connection["state"] == "ok" and not connection["apply"]:
        who, where = connection["user"], connection["database"]
        broken.append(f"{who} cannot execute {SCHEMA}.apply in database {where}: {DEPLOY}")
    version = info["version"]
    if version["matches"] is False:
        degraded.append(f"version {version['installed']} is installed, not {version['expected']}: {DEPLOY}")
    if info["pause"]:
        when = _when(info["pause"])
        degraded.append(f"the bridge is paused{when}: run the playbook llmops.user_bridge.resume_bridge")
    if info["settings_differ"]:
        degraded.append(
            f"the two sides have different settings ({', '.join(info['settings_differ'])}), and each acts by its own: "
            f"{DEPLOY}"
        )
    drainer = info["drainer"]
    if drainer and drainer["lives"] is False and drainer["runs"] in _WHERE_TO_LOOK:
        degraded.append(
            f"no drainer lives, though bridge_maintenance is {drainer['runs']}: what commits leave waits, and initial "
            f"passwords and keys do not expire; {_WHERE_TO_LOOK[drainer['runs']]}, or {DEPLOY}"
        )
    for task in info["upkeep_failing"]:
        degraded.append(f"the upkeep fails at {task['task']} ({number(task['failures'], 'time')}): {task['message']}")
    queue = info["queue"]
    if queue and queue["failed"]:
        degraded.append(f"{queue['failed']} of {number(queue['depth'], 'queued change')} could not be delivered so far")
        for each in info["causes"]:
            # Whatever has no cause of its own is told by its message.
            message = f": {each['examples'][0]}" if each["cause"] == OTHER.name and each["examples"] else ""
            failing = number(each["entities"], "entity", "entities")
            degraded.append(f"{failing}: {each['cause']}{message}: {each['remedy']}")
    if info["trigger_faults"]:
        degraded.append(
            f"triggers could not compare their columns {number(info['trigger_faults'], 'time')}, because LiteLLM has "
            f"changed one that they know: upgrade the collection and {DEPLOY}, then {RECONCILE}, which finds what "
            "they may have missed and starts the count anew"
        )
    for name in info["triggers_off"]:
        broken.append(
            f"session_replication_role is replica for {name}, so changes are not noticed: reset it (ALTER ROLE or "
            f"ALTER DATABASE ... RESET session_replication_role), then {RECONCILE}"
        )
    if info["removals"] and info["removals"]["total"]:
        degraded.append(
            f"{number(info['removals']['total'], 'change')} held until somebody decides ({_kinds(info['removals'])}): "
            "the playbook llmops.user_bridge.review_changes lists them with their ids, and approves or rejects those "
            "that bridge_approve_ids and bridge_reject_ids name; in SQL held_changes(), approve(ids) and reject(ids)"
        )
    if info["drift"] and info["drift"]["entities"]:
        degraded.append(
            f"{number(info['drift']['entities'], 'entity', 'entities')} not alike in LiteLLM and Open WebUI: "
            f"{RECONCILE}"
        )
    enforcement = info["enforcement"] or {}
    degraded += enforcement.get("missing", [])
    if enforcement.get("foreign_rows"):
        degraded.append(
            f"{number(enforcement['foreign_rows'], 'row')} of LiteLLM_EndUserTable that somebody else has made, so "
            "that LiteLLM refuses these people what it says: enforcement.foreign names them; delete the rows, or clear "
            "what they carry, and the drainer takes them within ten minutes"
        )
    lost = _lost(info)
    if lost:
        what = ", ".join(number(missing, name.replace("_", " ")) for name, missing in lost.items())
        degraded.append(
            f"Open WebUI lacks {what} that the bridge made there: somebody deleted them, or a database was restored; "
            f"the drainer brings them back within ten minutes; to have them at once, {RECONCILE}"
        )
    if info["not_linked"] and info["not_linked"]["total"]:
        degraded.append(
            f"{number(info['not_linked']['total'], 'user')} of LiteLLM without an account because of one that Open "
            "WebUI has: not_linked lists them with what to do about each"
        )
    passwords, hours = info["initial_passwords"], (info["settings"] or {}).get("initial_password_ttl_hours")
    if passwords and passwords["first"] and hours and passwords["first"][0]["seconds"] > (hours + 1) * 3600:
        degraded.append(f"initial passwords are older than initial_password_ttl_hours ({hours}): does a drainer run?")
    if queue and (queue["oldest_seconds"] or 0) > _QUEUE_MAX_AGE_SECONDS:
        # What a pause or a broken connection explains needs no question.
        is_explained = info["pause"] or (connection and connection["state"] != "ok")
        question = "" if is_explained else ": does a drainer run?"
        degraded.append(f"the oldest queued change has waited for {queue['oldest_seconds']} s{question}")
    degraded += [f"could not see {item['what']}: {item['reason']}" for item in info["unseen"]]
    return {"status": "broken" if broken else "degraded" if degraded else "ok", "reasons": broken + degraded}


def number(count: int, noun: str, plural: str = "") -> str:
    """A count with its noun."""
    return f"{count} {noun if count == 1 else plural or noun + 's'}"


def _when(pause: dict[str, Any]) -> str:
    since = f" since {pause['since']}" if pause["since"] else ""
    return since + (f" until {pause['until']}" if pause["until"] else ", and nothing ends that")


def _lost(info: dict[str, Any]) -> dict[str, int]:
    """How many accounts and groups are gone, by type, beside those that are on their way."""
    if info["linked"] is None:
        return {}
    mapped, queued = info["mapped"] or {}, (info["queue"] or {}).get("by_type", {})
    found = {
        name: max(each["missing"], mapped.get(name, 0) - (each["linked"] - each["missing"]) - queued.get(name, 0))
        for name, each in info["linked"].items()
    }
    return {name: number for name, number in found.items() if number > 0}


def _kinds(held: dict[str, Any]) -> str:
    return ", ".join(f"{number} {kind}" for kind, number in held["by_kind"].items())
