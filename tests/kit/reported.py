# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What bridge_info could have found in a company of 800 people, some of whom have names that are no names."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

NOW = datetime(2026, 11, 27, 10, 30, tzinfo=UTC)
MARKUP = 'Ann "O\'Neil" <script>alert(1)</script> {{ 1 + 1 }}'
_OUTAGES = (5, 200)
# The host was away.
_AWAY = range(300, 320)


def info() -> dict[str, Any]:
    remedy = "check that Open WebUI's server runs and that bridge_target_host and _port reach it"
    return {
        "changed": False,
        "health": {
            "status": "degraded",
            "reasons": [
                "3 of 3 queued changes could not be delivered so far",
                f"2 entities: unreachable: {remedy}",
                "12 changes held until somebody decides (12 deletion): the playbook llmops.user_bridge.review_changes "
                "lists them with their ids",
            ],
        },
        "version": {"installed": "1.0.0", "expected": "1.0.0", "matches": True},
        "litellm": {
            "database": "litellm",
            "server_version": "17.6",
            "installed": True,
            "version": "1.0.0",
            "objects": [{"kind": "table", "name": "t", "state": "ok", "reason": ""}] * 300,
            "counts": {
                "organizations": 6,
                "teams": 40,
                "users": 820,
                "users_with_email": 812,
                "organization_members": 800,
                "team_members": 1500,
                "api_keys": 300,
            },
            "features": {},
            "grants": [],
        },
        "openwebui": {
            "database": "openwebui",
            "server_version": "17.6",
            "installed": True,
            "version": "1.0.0",
            "objects": [{"kind": "table", "name": "t", "state": "ok", "reason": ""}] * 180,
            "counts": {"users": 803, "admins": 3, "pending": 1, "groups": 46, "group_members": 2290},
            "features": {},
            "grants": [],
        },
        "installation": {"id": "a", "owner_id": "a", "problem": None},
        "connection": {
            "state": "ok",
            "error": None,
            "remedy": None,
            "user": "sync_user",
            "database": "openwebui",
            "server_version": "17.6",
            "apply": True,
        },
        "drainer": {"runs": "systemd", "lives": True, "since": "2026-11-20T08:00:00Z"},
        "queue": {"depth": 3, "failed": 3, "oldest_seconds": 400, "by_type": {"user": 3}},
        "commits": {"delivered": 17210, "queued": 640, "queued_share": 0.036, "delay_ms": 85},
        "errors": [],
        "causes": [
            {
                "cause": "unreachable",
                "remedy": remedy,
                "entities": 2,
                "attempts": 5,
                "oldest_seconds": 400,
                "examples": ["could not connect to server: Connection refused"],
            },
            {
                "cause": "refused by Open WebUI",
                "remedy": "see what its constraint wants",
                "entities": 1,
                "attempts": 2,
                "oldest_seconds": 40,
                "examples": [f"no such name: {MARKUP}"],
            },
        ],
        "last_errors": [],
        "recent": {
            "entries": 1000,
            "delivered": 998,
            "since": "2026-11-26T08:00:00Z",
            "last_success": "2026-11-27T10:29:12Z",
        },
        "day": {"entries": 808, "delivered": 789, "most_waiting": 12, "longest_seconds": 400},
        "history": history(),
        "last_comparison": "2026-11-27T10:24:00Z",
        "upkeep_failing": [],
        "mapped": {"user": 801, "organization": 6, "team": 40, "api_key": 300},
        "skipped_users": [
            {"reason": "no email", "users": 8},
            {"reason": "the email belongs to the older user", "users": 2},
        ],
        "trigger_faults": 0,
        "triggers_off": [],
        "removals": {
            "total": 12,
            "by_kind": {"deletion": 12},
            "first": [
                {
                    "id": 17,
                    "incident": 3,
                    "kind": "deletion",
                    "entity_type": "user",
                    "entity_id": "550e8400-e29b-41d4-a716-446655440000",
                    "openwebui_id": "usr_550e8400-e29b-41d4-a716-446655440000",
                    "accounts": [{"id": "usr_550e", "email": "ann.oneil@a-company.example.com", "name": MARKUP}],
                    "reason": "too many accounts deleted within ten minutes",
                    "parked_at": "2026-11-23T08:00:00.123456Z",
                }
            ],
        },
        "drift": None,
        "models": {
            "litellm": {
                "models": 12,
                "blocked": 0,
                "of_teams": 0,
                "sets": 3,
                "unassigned": 2,
                "unseen": ["gpt-4o-audio"],
                "extra": 1,
            },
            "openwebui": {
                "models": 12,
                "made": 12,
                "grants": 40,
                "not_written": 0,
                "groups": 3,
                "members": 25,
                "public": ["llama3"],
                "owned": [{"model_id": "mine", "account": MARKUP}],
                "added": [{"group_name": MARKUP, "people": 2}],
                "taken_over": [],
                "switched_off": [],
                "presets": [{"model_id": "poem", "base": "gpt-4o"}],
                "wider_presets": [{"preset": "poet", "base": "gpt-4o", "people": 1}],
            },
        },
        "enforcement": {
            "enabled": True,
            "supported": True,
            "key": "email",
            "unknown": "deny",
            "unlinked": "allow",
            "unlinked_accounts": 4,
            "unlinked_rows": 3,
            "rows": 120,
            "made": 100,
            "denied": 3,
            "due": 0,
            "busy": 0,
            "foreign_rows": 1,
            "foreign": [MARKUP],
            "denying_keys": 0,
            "missing": ["no key refuses people whom the bridge does not know"],
        },
        "attribution": {
            "declared": "none",
            "accounts": 120,
            "by_user_id": 0,
            "by_email": 0,
            "missed": 0,
            "missed_users": [],
            "hints": [],
            "litellm_snippet": "",
            "openwebui_snippet": "",
        },
        "explanation": {
            "user": "u1",
            "model": "gpt-4o",
            "granted": False,
            "problem": None,
            "ways": [{"way": "team Blue", "opens": False, "reason": "the team lists other models"}],
            "openwebui": {"sees": False, "account": "usr_u1", "row": "gpt-4o", "ways": [], "reasons": ["no grant"]},
        },
        "initial_passwords": {"total": 1, "first": [{"user_id": "u1", "seconds": 3600}]},
        "settings": {"delivery": "commit", "model_access": True},
        "pause": None,
        "not_linked": {"total": 1, "first": [{"user_id": "u7", "reason": "Open WebUI's account is an admin"}]},
        "no_sign_in": {
            "total": 1,
            "first": [{"user_id": "u1", "openwebui_id": "usr_u1", "email": "ann.oneil@a-company.example.com"}],
        },
        "linked": {"user": {"linked": 801, "missing": 0}},
        "settings_differ": [],
        "unseen": [],
    }


def history() -> list[dict[str, Any]]:
    """A month of working days, with two outages and a day on which nothing was counted."""
    chance = random.Random(3)
    this = NOW.replace(minute=0)
    counted = (ago for ago in range(29 * 24, 0, -1) if ago not in _AWAY)
    return [_hour(this - timedelta(hours=ago), ago, chance) for ago in counted]


def _hour(at: datetime, ago: int, chance: random.Random) -> dict[str, Any]:
    busy = 6 <= at.hour <= 18 and at.weekday() < 5
    return {
        "hour": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "delivered": chance.randint(20, 90) if busy else chance.randint(0, 8),
        "skipped": chance.randint(0, 4),
        "failed": chance.randint(5, 40) if ago in _OUTAGES else 0,
        "delay_ms": 400_000 if ago in _OUTAGES else chance.randint(1, 900),
        "mapped": {"user": 802 - ago // 6 + chance.randint(0, 3), "organization": 6, "team": 40 - ago // 60},
    }
