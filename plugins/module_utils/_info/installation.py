# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether LiteLLM's database is the installation that Open WebUI's database belongs to.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from typing import Any, Callable, TypeVar

from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg
from ansible_collections.llmops.user_bridge.plugins.module_utils._info.report import INVISIBLE, Report
from ansible_collections.llmops.user_bridge.plugins.module_utils._names import SCHEMA
from ansible_collections.llmops.user_bridge.plugins.module_utils._ownership.decide import decide
from ansible_collections.llmops.user_bridge.plugins.module_utils._ownership.state import Source, Target
from ansible_collections.llmops.user_bridge.plugins.module_utils._remedies import DEPLOY
from ansible_collections.llmops.user_bridge.plugins.module_utils._session import NO_SUCH_ROLE

_Found = TypeVar("_Found", Source, Target)


def seen(cur: Any, report: Report, what: str, read: Callable[[Any, str], _Found], owner: str) -> _Found | None:
    """What a side says of the installation, None where it has nothing to say or the login may not look."""
    try:
        with _pg.savepoint(cur):
            found = read(cur, owner)
            return found if found.installed else None
    except _pg.PgError as error:
        if _pg.sqlstate(error) not in (*INVISIBLE, NO_SUCH_ROLE):
            raise
        report.unseen.append({"what": what, "reason": _pg.describe(error)})
        return None


def identity_problem(cur: Any, source: Source | None) -> str | None:
    """Why nothing is delivered from LiteLLM's database, in the bridge's own words."""
    return _pg.value(cur, f"SELECT {SCHEMA}.identity_problem()") if source else None


def installation(source: Source | None, target: Target | None, problem: str | None) -> dict[str, Any] | None:
    """The ids that both sides name, and what is wrong with them; None where LiteLLM's side could not be seen."""
    if source is None:
        return None
    owner = target.owner if target else None
    if problem is None and target is not None:
        problem = _owner_problem(source, target)
    return {
        "id": source.identity.id if source.identity else None,
        "owner_id": owner.id if owner else None,
        "problem": problem,
    }


def _owner_problem(source: Source, target: Target) -> str | None:
    decision = decide(source, target, take=False)
    if decision.action == "refused":
        return decision.reason
    return None if decision.action == "unchanged" else f"Open WebUI's side refuses this installation: {DEPLOY}"
