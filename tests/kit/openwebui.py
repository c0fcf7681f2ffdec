# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Open WebUI holds, read with the role of Open WebUI itself and in one shape for all its versions."""

from __future__ import annotations

from typing import Any

from kit.pairs import Pair


def account(pair: Pair, email: str) -> dict[str, Any] | None:
    """The account with this email, joined with its sign-in row."""
    found = pair.openwebui.rows(
        'SELECT u.*, a.email AS auth_email, a.password, a.active FROM "user" u LEFT JOIN auth a USING (id) '
        "WHERE u.email = %s",
        [email],
    )
    return found[0] if found else None


def accounts(pair: Pair) -> dict[str, tuple[str, str]]:
    """Email to name and role, without the first admin."""
    rows = pair.openwebui.rows('SELECT email, name, role FROM "user" WHERE email <> %s', [pair.admin.email])
    return {row["email"]: (row["name"], row["role"]) for row in rows}


def has_member_table(pair: Pair) -> bool:
    """Open WebUI 0.6.37 and newer."""
    return pair.openwebui.value("SELECT to_regclass('public.group_member') IS NOT NULL") is True


def groups(pair: Pair) -> dict[str, tuple[str, list[str]]]:
    """Group id to name and sorted member ids."""
    if has_member_table(pair):
        rows = pair.openwebui.rows(
            "SELECT g.id, g.name, array(SELECT m.user_id FROM group_member m WHERE m.group_id = g.id ORDER BY 1) AS "
            'members FROM "group" g'
        )
    else:
        rows = pair.openwebui.rows('SELECT id, name, user_ids AS members FROM "group"')
    return {row["id"]: (row["name"], sorted(row["members"] or [])) for row in rows}


def add_account(pair: Pair, account_id: str, email: str, role: str = "user", name: str = "By Hand") -> None:
    """An account that a person made in Open WebUI."""
    pair.openwebui.run(
        'INSERT INTO "user" (id, name, email, role, profile_image_url, last_active_at, updated_at, created_at) '
        "VALUES (%s, %s, %s, %s, '/user.png', 1760000000, 1760000000, 1760000000)",
        [account_id, name, email, role],
    )
    pair.openwebui.run(
        "INSERT INTO auth (id, email, password, active) VALUES (%s, %s, 'their own hash', true)", [account_id, email]
    )


def add_member(pair: Pair, group_id: str, account_id: str) -> None:
    """A membership that an admin made in Open WebUI."""
    if has_member_table(pair):
        pair.openwebui.run(
            "INSERT INTO group_member (id, group_id, user_id, created_at, updated_at) "
            "VALUES (gen_random_uuid()::text, %s, %s, 1760000000, 1760000000)",
            [group_id, account_id],
        )
        return
    pair.openwebui.run(
        'UPDATE "group" SET user_ids = (user_ids::jsonb || to_jsonb(%s::text))::json WHERE id = %s',
        [account_id, group_id],
    )


def prove_address(pair: Pair, account_id: str) -> None:
    """What a sign-in by single sign-on leaves behind."""
    sql = "SELECT 1 FROM information_schema.columns WHERE table_name = 'user' AND column_name = 'oauth'"
    if pair.openwebui.value(sql):
        values = "oauth", f'{{"oidc": {{"sub": "{account_id}"}}}}'
    else:
        values = "oauth_sub", f"oidc@{account_id}"
    pair.openwebui.run(f'UPDATE "user" SET {values[0]} = %s WHERE id = %s', [values[1], account_id])


def visible_models(pair: Pair) -> dict[str, set[str]]:
    """Which models each account sees, by the way in which Open WebUI decides for somebody who is no administrator."""
    joined: dict[str, set[str]] = {}
    for group, (_name, members) in groups(pair).items():
        for member in members:
            joined.setdefault(member, set()).add(group)
    readers = _readers(pair)
    people = pair.openwebui.rows("SELECT id FROM \"user\" WHERE role <> 'pending'")
    found: dict[str, set[str]] = {}
    for row in people:
        holders = {("user", row["id"]), ("user", "*"), *(("group", group) for group in joined.get(row["id"], ()))}
        found[row["id"]] = {model for model, who in readers.items() if who & holders}
    return found


def _readers(pair: Pair) -> dict[str, set[tuple[str, str]]]:
    """Who may read each model that has a row and is switched on, as (user or group, id); ("user", "*") is everybody."""
    found: dict[str, set[tuple[str, str]]] = {}
    if pair.openwebui.value("SELECT to_regclass('public.access_grant') IS NOT NULL"):
        for row in pair.openwebui.rows(
            "SELECT m.id, g.principal_type, g.principal_id FROM model m JOIN access_grant g "
            "ON g.resource_type = 'model' AND g.resource_id = m.id AND g.permission = 'read' WHERE m.is_active"
        ):
            found.setdefault(row["id"], set()).add((row["principal_type"], row["principal_id"]))
        return found
    for row in pair.openwebui.rows("SELECT id, access_control FROM model WHERE is_active"):
        lists = row["access_control"]
        read = {} if lists is None else lists.get("read", {})
        by_hand = {("user", "*")} if lists is None else set()
        found[row["id"]] = by_hand.union(
            *({(kind, each) for each in read.get(f"{kind}_ids") or ()} for kind in ("user", "group"))
        )
    return found
