# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What runs the drainer: as asked for, or chosen by what LiteLLM's server and the play's host have.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from typing import Any

METHODS = ("auto", "none", "pg_cron", "systemd")

# Of the database that pg_cron works in. Before pg_cron 1.4 a job cannot name another database.
CRON_USABLE = """
SELECT r.rolsuper OR EXISTS (
         SELECT FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
          WHERE n.nspname = 'cron' AND p.proname = 'schedule_in_database'
            AND has_schema_privilege(n.oid, 'USAGE') AND has_function_privilege(p.oid, 'EXECUTE')) AS usable
  FROM pg_roles AS r WHERE r.rolname = current_user"""


@dataclass(frozen=True)
class Cron:
    """pg_cron as LiteLLM's server has it. workers: its jobs need no login of their own."""

    usable: bool
    workers: bool


@dataclass(frozen=True)
class Host:
    """The host of the play. logs_in: the service would have a password, or needs none at the socket."""

    runs_systemd: bool
    has_psql: bool
    logs_in: bool


@dataclass(frozen=True)
class Choice:
    method: str
    reason: str


def look_at_host(logs_in: bool) -> Host:
    return Host(os.path.isdir("/run/systemd/system"), shutil.which("psql") is not None, logs_in)


def cron_of(facts: dict[str, Any], usable: bool) -> Cron | None:
    return Cron(usable, bool(facts["cron_workers"])) if facts["cron_database"] else None


def choose(asked: str, cron: Cron | None, host: Host) -> Choice:
    """pg_cron where it is loaded, else systemd, else none; pg_cron last where its jobs may not be able to log in."""
    if asked != "auto":
        return Choice(asked, "it is asked for")
    lacks = _lacks_for_systemd(host)
    if cron and cron.usable and (cron.workers or lacks):
        return Choice("pg_cron", "LiteLLM's server has loaded it")
    without = _lacks_of_cron(cron)
    if not lacks:
        return Choice("systemd", f"this host has it, and {without}")
    return Choice("none", f"{without}, and {lacks}")


def _lacks_of_cron(cron: Cron | None) -> str:
    if cron is None:
        return "LiteLLM's server has not loaded pg_cron"
    if not cron.usable:
        return "the login may not schedule jobs of pg_cron (EXECUTE on cron.schedule_in_database)"
    return "pg_cron would have to log in at cron.host (cron.use_background_workers is off)"


def _lacks_for_systemd(host: Host) -> str:
    """Why a service cannot run on the play's host; empty: it can."""
    if not host.runs_systemd:
        return "this host does not run systemd"
    if not host.logs_in:
        return "a service of systemd would need bridge_maintenance_password"
    return "" if host.has_psql else "this host has no psql for a service of systemd (package postgresql-client)"
