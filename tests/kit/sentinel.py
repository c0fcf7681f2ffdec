# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Code that a program's role plants in its own tables, which says in the server's log with whose rights it runs.

In the log, because most who could run it do so in a read-only transaction or roll back.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from kit.bridge import REGISTRY
from kit.pairs import Pair, Session, Side

_FUNCTIONS = """
CREATE SCHEMA sentinel;
GRANT USAGE ON SCHEMA sentinel TO PUBLIC;
-- Says that it is immutable, so that it may stand in an index and the planner calls it.
CREATE FUNCTION sentinel.look(what text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $f$
BEGIN
    RAISE LOG 'sentinel: % ran as % in a session of %, superuser: %', what, current_user, session_user,
        (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = session_user);
    RETURN true;
END $f$;
CREATE FUNCTION sentinel.fire() RETURNS trigger LANGUAGE plpgsql AS $f$
BEGIN
    PERFORM sentinel.look(TG_NAME);
    RETURN coalesce(NEW, OLD);
END $f$;
CREATE DOMAIN sentinel.watched AS text CHECK (sentinel.look('domain'));
"""


def statements(table: str) -> dict[str, str]:
    """How to plant it in a table, by name; the table's own name stands in double quotes."""
    quoted, real = f'public."{table}"', f'sentinel."real_{table}"'
    before_and_after = f"""
        CREATE TRIGGER sentinel_before BEFORE INSERT OR UPDATE OR DELETE ON {quoted}
            FOR EACH ROW EXECUTE FUNCTION sentinel.fire();
        CREATE CONSTRAINT TRIGGER sentinel_at_commit AFTER INSERT OR UPDATE OR DELETE ON {quoted}
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION sentinel.fire();"""
    return {
        "view": f'ALTER TABLE {quoted} SET SCHEMA sentinel; ALTER TABLE sentinel."{table}" RENAME TO "real_{table}";'
        f" CREATE VIEW {quoted} AS SELECT t.* FROM"
        f" (SELECT sentinel.look('view') AS x OFFSET 0) AS e JOIN {real} AS t ON e.x;"
        f" GRANT ALL ON {quoted} TO PUBLIC",
        "policy": f"ALTER TABLE {quoted} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;"
        f" CREATE POLICY sentinel ON {quoted} USING (sentinel.look('policy'))",
        "partial index": f"CREATE INDEX ON {quoted} ((1)) WHERE sentinel.look('partial index')",
        "index": f"CREATE INDEX ON {quoted} (sentinel.look('index'))",
        "statistics": f"CREATE STATISTICS sentinel.\"{table}\" ON (sentinel.look('statistics')) FROM {quoted}",
        "check": f"ALTER TABLE {quoted} ADD CHECK (sentinel.look('check'))",
        "child": f'CREATE TABLE sentinel."child_{table}" () INHERITS ({quoted});'
        f" CREATE INDEX ON sentinel.\"child_{table}\" ((1)) WHERE sentinel.look('child')",
        "domain": f"ALTER TABLE {quoted} ADD COLUMN of_domain sentinel.watched",
        "generated": f"ALTER TABLE {quoted} ADD COLUMN generated boolean"
        " GENERATED ALWAYS AS (sentinel.look('generated')) STORED",
        "rule": f"CREATE RULE sentinel AS ON DELETE TO {quoted} DO ALSO SELECT sentinel.look('rule')",
        "trigger": before_and_after,
        "default": f"ALTER TABLE {quoted} ADD COLUMN by_default boolean DEFAULT sentinel.look('default')",
        # Built in, and runs any SQL.
        "default of query_to_xml": f"ALTER TABLE {quoted} ADD COLUMN by_query text;"
        f" ALTER TABLE {quoted} ALTER by_query"
        " SET DEFAULT query_to_xml('SELECT sentinel.look(''default'')', true, true, '')::text",
    }


def functions() -> str:
    """What all of these call."""
    return _FUNCTIONS


# What reads run, and what only writes do.
READ = ("view", "policy", "partial index", "index", "statistics", "check", "child", "domain", "generated", "rule")
WRITTEN = ("trigger", "default", "default of query_to_xml")
# What one table can have at the same time, and what goes with the schema sentinel.
TOGETHER = tuple(form for form in (*READ, *WRITTEN) if form not in ("view", "policy", "default of query_to_xml"))


def tables(session: Session, side: Side) -> list[str]:
    """Those tables of the registry that this version of the program has."""
    return [
        name
        for name in REGISTRY["sides"][side]["tables"]
        if session.value("SELECT to_regclass(%s) IS NOT NULL", [f'public."{name}"'])
    ]


def plant(pair: Pair, side: Side, *forms: str) -> list[str]:
    """Plant it in each table, as the program's own role does; returns the tables."""
    session: Session = getattr(pair, side)
    session.run(_FUNCTIONS)
    planted = tables(session, side)
    for table in planted:
        for form in forms:
            # Expressions in statistics objects are new in PostgreSQL 14.
            if form != "statistics" or pair.cluster.major >= 14:
                session.run(statements(table)[form])
    return planted


def sprung(pair: Pair, act: Callable[[], object]) -> list[Mapping[str, str]]:
    """Where it ran while something was done: what, with whose rights, in whose session."""
    log = pair.cluster.log
    start = log.stat().st_size
    act()
    text = log.read_bytes()[start:].decode("utf-8", "replace")
    found = re.finditer(
        r"sentinel: (?P<what>.+) ran as (?P<role>\S+) in a session of (?P<user>\S+), superuser: (?P<super>\w)", text
    )
    return [match.groupdict() for match in found]
