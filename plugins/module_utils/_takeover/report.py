# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What was, or would be, taken over, as people read it.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.llmops.user_bridge.plugins.module_utils._sync.results import parked
from ansible_collections.llmops.user_bridge.plugins.module_utils._takeover.find import Found
from ansible_collections.llmops.user_bridge.plugins.module_utils._takeover.repair import Plan
from ansible_collections.llmops.user_bridge.plugins.module_utils._takeover.survey import Survey

# Most lines of one kind in a diff, which Ansible compares in quadratic time.
_MOST_LINES = 2000


@dataclass(frozen=True)
class Result:
    """What was, or would be, taken over. There is a repair plan only where there was something to repair."""

    found: Found
    drop_tables: bool
    survey: Survey | None = None
    plan: Plan | None = None
    queued: int = 0
    delivered: dict[str, int] | None = None

    @property
    def changed(self) -> bool:
        """Whether there was anything to take over."""
        return self.found.is_live or bool(self.drop_tables and self.found.tables)


def diff(result: Result) -> list[dict[str, str]]:
    """What goes, what is imported and what is set right, as Ansible shows differences."""
    found = result.found
    header = f"upstream SQL scripts ({found.database})"
    tables = [f"table {table.identity}" for table in found.tables]
    shown = [
        {
            "before_header": header,
            "after_header": header,
            "before": _lines(
                [f"trigger {trigger.label}" for trigger in found.triggers]
                + [f"function {function}" for function in found.functions]
                + tables
            ),
            "after": _lines([] if result.drop_tables else tables),
        }
    ]
    if result.survey and result.plan:
        header = f"mapping and history ({found.database})"
        lines = [f"{found.mappings} mappings", f"{found.audit} rows of history"]
        lines += [f"{link.type} {link.id} is {link.account}" for link in result.plan.links]
        shown.append({"before_header": header, "after_header": header, "before": "", "after": _lines(lines)})
        header = f"rows that the upstream SQL scripts have made ({result.survey.database})"
        repairs = result.plan.repairs
        before = [f"{r.kind} {r.id} {r.field}: {r.before} ({r.problem})" for r in repairs]
        after = [f"{r.kind} {r.id} {r.field}: {r.after}" for r in repairs]
        shown.append(
            {"before_header": header, "after_header": header, "before": _lines(before), "after": _lines(after)}
        )
    return shown if result.changed else []


def _lines(lines: list[str]) -> str:
    more = len(lines) - _MOST_LINES
    return "".join(f"{line}\n" for line in lines[:_MOST_LINES]) + (f"and {more} more\n" if more > 0 else "")


def warnings(result: Result) -> list[str]:
    """What an admin has to do by hand."""
    found, plan = result.found, result.plan
    texts = []
    if result.changed and found.functions:
        known = ", ".join(result.survey.logins) if result.survey else ""
        logins = known or "the role that they logged in to Open WebUI as"
        texts.append(
            f"the functions of the upstream SQL scripts in database {found.database} held the password of {logins}, "
            "readable by whoever could log in there, and backups of it still do: change that password"
        )
    if plan and plan.weak_admins:
        texts.append(
            f"Open WebUI has no other admin than those whom the upstream SQL scripts have made, and the password of "
            f"{', '.join(plan.weak_admins)} is still their email: have it changed"
        )
    texts += parked(result.delivered or {}, found.database)
    if result.changed and found.kept:
        texts.append(
            f"database {found.database} has objects named as those of the upstream SQL scripts which are not theirs; "
            f"they were left alone: {', '.join(found.kept)}"
        )
    return texts
