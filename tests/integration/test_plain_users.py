# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Short forms make what the general ones make: each request is applied with them and without them, and undone.

create_user() is one for a new user, and so is bulk_user_models() for the rights of a few new people. The rows that may
be in the way are random, each alone and some together.
"""

from __future__ import annotations

import itertools
import json
import random
from typing import Any

import pytest

from kit import openwebui
from kit.cluster import SUPERUSER
from kit.pairs import Pair, Session

EVERY_SCHEMA = pytest.mark.schemas(openwebui="all")
ACCOUNT = "usr_ann"
WANTED = {
    "name": "Ann",
    "email": "ann@example.com",
    "role": "user",
    "disabled": False,
    "original_role": "internal_user",
}
_GROUP = """INSERT INTO "group" SELECT r.* FROM jsonb_populate_record(NULL::"group", jsonb_build_object(
    'id', {0}, 'user_id', '', 'name', {0}, 'description', '', 'user_ids', '[]'::jsonb,
    'created_at', 1, 'updated_at', 1)) AS r"""
_ENTITY = "INSERT INTO user_bridge.entity (entity_type, entity_id, version, openwebui_id, origin, made_id) VALUES "
# What can be here before a user comes, by a word for it.
MET = {
    "nothing": "SELECT",
    "delivered before": _ENTITY + "('user', 'ann', 1, NULL, NULL, NULL)",
    "delivered later": _ENTITY + "('user', 'ann', 1000, NULL, NULL, NULL)",
    "has an account": (
        "INSERT INTO \"user\" SELECT a.* FROM user_bridge.new_account('{}'::jsonb || %(want)s::jsonb) AS a;"
        "INSERT INTO auth (id, email, password, active) VALUES ('usr_ann', 'old@example.com', 'hash', true);"
        + _ENTITY
        + "('user', 'ann', 1, 'usr_ann', 'created', NULL)"
    ),
    "membership": (
        _GROUP.format("'grp_o'")
        + ";"
        + _ENTITY
        + "('organization', 'o', 1, 'grp_o', 'created', NULL);"
        + "INSERT INTO user_bridge.membership (group_type, group_id, user_id) VALUES ('organization', 'o', 'ann')"
    ),
    "grant": (
        _ENTITY
        + "('model', 'm', 1, 'm', 'created', NULL);"
        + "INSERT INTO model SELECT r.* FROM jsonb_populate_record(NULL::model, jsonb_build_object("
        "'id', 'm', 'user_id', '', 'name', 'm', 'params', '{}', 'meta', '{}', 'is_active', true, 'updated_at', 1,"
        "'created_at', 1, 'access_control', user_bridge.no_access())) AS r;"
        "INSERT INTO user_bridge.model_grant (holder_type, holder_id, model) VALUES ('user', 'ann', 'm')"
    ),
    "set of models": (
        _GROUP.format("'grp_models_s'")
        + ";"
        + "INSERT INTO user_bridge.model_group VALUES ('grp_models_s', 'model_set', 's', 'grp_models_s');"
        "INSERT INTO user_bridge.model_member (group_id, user_id) VALUES ('grp_models_s', 'ann')"
    ),
    "held": "INSERT INTO user_bridge.held (incident, entity_type, entity_id, kind, accounts, details, reason)"
    " VALUES (1, 'user', 'ann', 'deletion', '{usr_ann}', '{}', 'why')",
    "sign-in": "INSERT INTO auth (id, email, password, active) VALUES ('usr_ann', 'x@example.com', 'hash', true)",
    "account": 'INSERT INTO "user" SELECT a.* FROM user_bridge.new_account(%(want)s::jsonb'
    ' || \'{"email": "other@example.com"}\') AS a',
    "an heir's account that somebody deleted": _ENTITY + "('user', 'bob', 1, 'usr_ann', 'inherited', NULL)",
    "an account of somebody gone": _ENTITY + "('user', 'bob', 1, NULL, 'created', 'usr_ann')",
    "email": 'INSERT INTO "user" SELECT a.* FROM user_bridge.new_account(%(want)s::jsonb'
    ' || \'{"openwebui_id": "theirs", "email": "Ann@example.com"}\') AS a',
    "email of the bridge's": 'INSERT INTO "user" SELECT a.* FROM user_bridge.new_account(%(want)s::jsonb'
    ' || \'{"openwebui_id": "usr_bob"}\') AS a;' + _ENTITY + "('user', 'bob', 1, 'usr_bob', 'created', NULL)",
    "no prefix": "UPDATE user_bridge.settings SET user_id_prefix = ''",
    "other roles": "UPDATE user_bridge.settings SET role_map = '{}', default_role = 'pending'",
    "password": "UPDATE user_bridge.settings SET initial_password = 'email'",
    "random password": "UPDATE user_bridge.settings SET initial_password = 'random'",
}
_NOT_PLAINLY = (
    "CREATE OR REPLACE FUNCTION user_bridge.create_user(p_item jsonb, p_request jsonb) RETURNS jsonb"
    " LANGUAGE sql AS 'SELECT NULL::jsonb'"
)
_ONE_BY_ONE = (
    "CREATE OR REPLACE FUNCTION user_bridge.try_bulk(p_request jsonb) RETURNS jsonb"
    " LANGUAGE sql AS 'SELECT ''{}''::jsonb'"
)
MET_BY_RIGHTS = {
    "rights before": _ENTITY + "('user_models', 'ann', 1, NULL, NULL, NULL)",
    "a set's group": _GROUP.format("'grp_models_s'")
    + ";"
    + _ENTITY
    + "('model_set', 's', 1, 'grp_models_s', 'created', NULL);"
    + "INSERT INTO user_bridge.model_group VALUES ('grp_models_s', 'model_set', 's', 'grp_models_s')",
    "a set's group that somebody deleted": _ENTITY
    + "('model_set', 's', 1, 'grp_models_s', 'created', NULL);"
    + "INSERT INTO user_bridge.model_group VALUES ('grp_models_s', 'model_set', 's', 'grp_models_s')",
    "an account that somebody deleted": _ENTITY + "('user', 'ann', 1, 'usr_ann', 'created', NULL)",
    "a model that somebody deleted": _ENTITY + "('model', 'm', 1, 'm', 'created', NULL)",
}
# A list of members names nobody whose account is not there from 0.6.37 on.
_LISTED = {
    "membership that was taken away": _GROUP.format("'grp_w'").replace("'[]'", "'[\"usr_ann\"]'")
    + ";INSERT INTO user_bridge.withdrawn (kind, object_id, holder_id, entity_type, entity_id)"
    " VALUES ('membership', 'grp_w', 'usr_ann', 'organization_member', '[\"w\", \"ann\"]')"
}
# With their keys in Open WebUI, and what differs each time.
_TABLES = {
    '"user"': ("created_at", "updated_at", "last_active_at"),
    "auth": ("password", "session_stamp"),
    '"group"': ("created_at", "updated_at"),
    "group_member": ("id", "created_at", "updated_at"),
    "access_grant": ("id", "created_at"),
    "model": (),
    "user_bridge.entity": ("applied_at", "initial_password_mark", "initial_password_at", "password_due"),
    "user_bridge.membership": (),
    "user_bridge.withdrawn": ("since",),
    "user_bridge.model_grant": (),
    "user_bridge.model_member": (),
    "user_bridge.held": ("id", "incident", "held_at"),
}


def has(session: Session, table: str) -> bool:
    return session.value("SELECT to_regclass(%s) IS NOT NULL", [table]) is True


def everything(session: Session) -> dict[str, list[str]]:
    """The rows of all tables, without what differs each time; of that, whether there is any."""
    found = {}
    for table in filter(lambda name: has(session, name), _TABLES):
        rows = [row["row"] for row in session.rows(f"SELECT to_jsonb(t) AS row FROM {table} AS t")]
        for row in rows:
            row.update({name: row[name] in (None, "") for name in _TABLES[table] if name in row})
        found[table] = sorted(json.dumps(row, sort_keys=True) for row in rows)
    return found


def applied(
    session: Session, words: tuple[str, ...], items: list[dict[str, Any]], later: bool = True, without: str = "SELECT"
) -> Any:
    """The outcomes and all rows after them."""
    try:
        for word in words:
            # The first of two for one id counts.
            for statement in {**MET, **_LISTED, **MET_BY_RIGHTS}[word].split(";"):
                end = " ON CONFLICT DO NOTHING" if "INSERT" in statement else ""
                session.run(statement + end, {"want": json.dumps({**WANTED, "openwebui_id": ACCOUNT})})
        session.run(without)
        request = {"version": 10, "txid": "1", "budget_ms": 10_000, "passwords_later": later, "items": items}
        outcomes = session.value("SELECT user_bridge.serve(%s)", [json.dumps(request)])["items"]
        for outcome in outcomes:
            # Their ids and times differ each time.
            outcome["held"] = [held["kind"] for held in outcome.get("held", [])]
        return outcomes, everything(session)
    finally:
        session.rollback()


def is_the_same(found: Any, wanted: Any, *what: object) -> None:
    assert found[0] == wanted[0], what
    for table, rows in wanted[1].items():
        assert found[1][table] == rows, (*what, table)


def is_plain(session: Session, item: dict[str, Any]) -> bool:
    """Whether create_user() makes it where nothing is in the way."""
    options = session.value("SELECT to_jsonb(s) || '{\"passwords_later\": true}' FROM user_bridge.settings AS s")
    own = {**item, "desired": {**item["desired"], "openwebui_id": ACCOUNT}}
    request = {"version": 10, "txid": "1", "options": options}
    found = session.value("SELECT user_bridge.create_user(%s, %s)", [json.dumps(own), json.dumps(request)])
    session.rollback()
    return found is not None


def user(name: str = "ann", **fields: Any) -> dict[str, Any]:
    return {"type": "user", "id": name, "skipped": None, "desired": {**WANTED, **fields}}


def words_of(pair: Pair) -> list[str]:
    return [*MET, *([] if openwebui.has_member_table(pair) else _LISTED)]


def check(pair: Pair, *all_words: tuple[str, ...]) -> None:
    """With exactly these in the way, whoever comes."""
    comers = (user(), user(role="admin", original_role="proxy_admin"), user(disabled=True), user("an%n"))
    session = pair.connect("openwebui", SUPERUSER, autocommit=False)
    try:
        assert is_plain(session, user())
        for words, item, later in itertools.product(all_words, comers, (True, False)):
            found, wanted = (applied(session, words, [item], later, form) for form in ("SELECT", _NOT_PLAINLY))
            is_the_same(found, wanted, words, item)
    finally:
        session.close()


@EVERY_SCHEMA
def test_one_thing_in_the_way(quick: Pair) -> None:
    check(quick, *((word,) for word in words_of(quick)))


@EVERY_SCHEMA
def test_some_things_in_the_way(quick: Pair) -> None:
    draw = random.Random(16)
    check(quick, *(tuple(draw.sample(words_of(quick), draw.randint(2, 4))) for _ in range(20)))


def rights(name: str, models: list[str], *sets: str) -> dict[str, Any]:
    return {"type": "user_models", "id": name, "skipped": None, "desired": {"models": models, "sets": list(sets)}}


def check_rights(pair: Pair, *all_words: tuple[str, ...]) -> None:
    """Of three people, the first of whom has these in the way."""
    items = [rights("ann", ["m"], "s"), rights("bob", [], "s", "t"), rights("cy", ["m", "n"])]
    session = pair.connect("openwebui", SUPERUSER, autocommit=False)
    try:
        for words in all_words:
            found, wanted = (applied(session, words, items, without=form) for form in ("SELECT", _ONE_BY_ONE))
            is_the_same(found, wanted, words)
    finally:
        session.close()


@EVERY_SCHEMA
def test_rights_of_a_few(quick: Pair) -> None:
    known = [*MET_BY_RIGHTS, "nothing", "has an account", "grant", "set of models"]
    # What waits for an account is written when it comes.
    waiting = [{"has an account", "grant"}, {"has an account", "set of models"}]
    pairs = [each for each in itertools.combinations(known, 2) if set(each) not in waiting]
    check_rights(quick, *((word,) for word in known), *pairs)
