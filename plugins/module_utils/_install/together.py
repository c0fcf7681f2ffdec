# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Creates and checks functions many at a time: one by one, a first run would wait for some ten thousand answers.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any, Callable

from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg
from ansible_collections.llmops.user_bridge.plugins.module_utils._catalog.live import Live
from ansible_collections.llmops.user_bridge.plugins.module_utils._install.definitions import Definition
from ansible_collections.llmops.user_bridge.plugins.module_utils._install.objects import check_body, create
from ansible_collections.llmops.user_bridge.plugins.module_utils._names import ROUTINES, quote

# Of one message to the server: pgaudit logs the whole text for each statement in it.
_CHARACTERS = 20_000

_GRANTEES = """
SELECT n.name, string_agg(DISTINCT quote_ident(pg_get_userbyid(x.grantee)), ', ') AS grantees
  FROM unnest(%(names)s::text[]) AS n(name)
  JOIN pg_proc AS p ON p.oid = n.name::regprocedure
 CROSS JOIN aclexplode(p.proacl) AS x
 WHERE x.grantee <> 0
 GROUP BY 1"""

_VALIDATORS = """
SELECT l.lanvalidator::regproc::text AS validator, array_agg(p.oid)::text AS oids
  FROM pg_proc AS p JOIN pg_language AS l ON l.oid = p.prolang
 WHERE p.oid = ANY (%(names)s::regprocedure[]) AND l.lanvalidator <> 0
 GROUP BY 1"""


def create_all(cur: Any, objects: list[tuple[Definition, Live | None]], owner: str) -> None:
    """Create or replace objects in their order; what follows on each other and is a new function, together."""
    for are_new, group in groupby(objects, lambda each: each[1] is None and each[0].subject.kind in ROUTINES):
        found = list(group)
        if not (are_new and _succeeds(cur, _create_new, [definition for definition, _live in found], owner)):
            for definition, live in found:
                create(cur, definition, live, owner)


def check_bodies(cur: Any, definitions: list[Definition], owner: str) -> None:
    """Check the bodies of functions, which CREATE did not: the functions use each other in any order."""
    if not _succeeds(cur, _check, definitions, owner):
        for definition in definitions:
            check_body(cur, definition, owner)


def _succeeds(cur: Any, act: Callable[..., None], definitions: list[Definition], owner: str) -> bool:
    """Whether all went well; if not, nothing was done, and one by one the server says which of them is wrong."""
    try:
        with _pg.savepoint(cur):
            act(cur, definitions, owner)
    except _pg.PgError:
        return False
    return True


def _create_new(cur: Any, definitions: list[Definition], owner: str) -> None:
    for role, own in _by_role(definitions, owner):
        _pg.set_role(cur, role)
        _execute(cur, (each.statements[0].text for each in own))
        _execute(cur, _resets(cur, own, role))
        _execute(cur, (statement.text for each in own for statement in each.statements[1:]))


def _resets(cur: Any, definitions: list[Definition], role: str) -> list[str]:
    """What undoes every grant, so that only the definition's own remain. By default PUBLIC may execute functions, so
    the sync user could, who has USAGE on the schema; ALTER DEFAULT PRIVILEGES may have let others.
    """
    names = [each.subject.identity for each in definitions]
    found = [f"REVOKE ALL ON ROUTINE {', '.join(names)} FROM PUBLIC"]
    for row in _pg.rows(cur, _GRANTEES, {"names": names}):
        found.append(f"REVOKE ALL ON ROUTINE {row['name']} FROM {row['grantees']} CASCADE")
        found.append(f"GRANT ALL ON ROUTINE {row['name']} TO {quote(role)}")
    return found


def _check(cur: Any, definitions: list[Definition], owner: str) -> None:
    for role, own in _by_role(definitions, owner):
        _pg.set_role(cur, role)
        for row in _pg.rows(cur, _VALIDATORS, {"names": [each.subject.identity for each in own]}):
            cur.execute(f"SELECT {row['validator']}(f.oid) FROM unnest('{row['oids']}'::oid[]) AS f(oid)")


def _by_role(definitions: list[Definition], owner: str) -> Iterator[tuple[str, list[Definition]]]:
    """By who owns them, in their order otherwise."""
    for role in dict.fromkeys(each.role or owner for each in definitions):
        yield role, [each for each in definitions if (each.role or owner) == role]


def _execute(cur: Any, statements: Iterable[str]) -> None:
    waiting, characters = [], 0
    for statement in statements:
        waiting.append(statement)
        characters += len(statement)
        if characters > _CHARACTERS:
            cur.execute(";\n".join(waiting))
            waiting, characters = [], 0
    if waiting:
        cur.execute(";\n".join(waiting))
