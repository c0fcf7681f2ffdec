# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults of initial passwords: name, file, what is there, the fault, and the test that catches it."""

from __future__ import annotations

from collections.abc import Callable

import test_initial_passwords as passwords
from kit.bridge import change_settings
from kit.pairs import Pair

Row = tuple[str, str, str, str, Callable[[Pair], None]]

_SIGN_IN = "entities/user/openwebui/sign_in.sql.j2"
_HERE = "entities/user/litellm/initial_password.sql.j2"


def _alive(test: Callable[[Pair], None]) -> Callable[[Pair], None]:
    """A test with a drainer that lives and does nothing."""

    def catch(pair: Pair) -> None:
        change_settings(pair, initial_password="email", password_cost=4)
        passwords.be_the_drainer(pair)
        test(pair)

    return catch


INITIAL_PASSWORDS: list[Row] = [
    (
        "a COMMIT hashes though a drainer lives",
        "engine/litellm/deliver.sql.j2",
        """THEN '{"passwords_later": true}'::jsonb""",
        "THEN '{}'::jsonb",
        _alive(passwords.test_no_commit_hashes_while_a_drainer_lives),
    ),
    (
        "an account waits for a password for ever once its drainer has ended",
        "engine/litellm/drain.sql.j2",
        "PERFORM user_bridge.try_passwords(s, v_until)\n",
        "PERFORM 1\n",
        _alive(lambda pair: passwords.test_without_a_drainer_somebody_sets_what_the_last_one_has_left(pair, "drain")),
    ),
    (
        "an admin's account opens with its email after all",
        _SIGN_IN,
        "jsonb_build_object('role', u.role, 'email',",
        "jsonb_build_object('role', 'user', 'email',",
        _alive(passwords.test_who_became_an_admin_meanwhile_gets_none),
    ),
    (
        "who becomes an admin while it is hashed keeps the email as password",
        _SIGN_IN,
        "RETURN FOUND AND user_bridge.due_want(p_account) = p_want;",
        "RETURN FOUND;",
        _alive(passwords.test_a_change_while_it_is_hashed_neither_waits_nor_comes_too_late),
    ),
    (
        "a password that is set later never expires",
        _SIGN_IN,
        "initial_password_at = CASE WHEN v_mark IS NOT NULL THEN clock_timestamp() ELSE e.initial_password_at END\n",
        "initial_password_at = NULL\n",
        _alive(passwords.test_it_expires_like_any_other),
    ),
    (
        "one locked row keeps all passwords from being set",
        _SIGN_IN,
        "ORDER BY e.password_due LIMIT 1 FOR UPDATE OF e, a SKIP LOCKED;",
        "ORDER BY e.password_due LIMIT 1;",
        _alive(lambda pair: passwords.test_a_locked_row_keeps_nobody_elses_from_being_set(pair, "user_bridge.entity")),
    ),
    (
        "an initial password is cancelled like a request that hangs",
        _HERE,
        "PERFORM user_bridge.let_target_take(c_patience,",
        "PERFORM user_bridge.let_target_take(s.target_timeout_ms,",
        passwords.test_hashing_may_take_longer_than_anything_else,
    ),
    (
        "a password that cannot be set keeps all others from being set",
        _SIGN_IN,
        "     WHERE NOT done\n",
        "     WHERE false\n",
        _alive(passwords.test_one_that_cannot_be_set_keeps_nobody_else_from_theirs),
    ),
    (
        "hashing keeps changes waiting",
        "engine/litellm/drainer.sql.j2",
        "v_drained.done > 0 THEN interval '0'",
        "false THEN interval '0'",
        _alive(passwords.test_changes_do_not_wait_for_many),
    ),
    (
        "two sessions hash the same passwords",
        "engine/litellm/drain.sql.j2",
        "\n        AND NOT user_bridge.drainer_lives();",
        ";",
        _alive(passwords.test_a_drain_leaves_them_to_the_drainer_that_lives),
    ),
    (
        "whoever waits for an initial password counts as locked out",
        _SIGN_IN,
        "AND (e.password_due > clock_timestamp() - interval '1 minute') IS NOT TRUE",
        "",
        _alive(passwords.test_whoever_waits_for_one_is_not_called_locked_out),
    ),
    (
        "an account that is half gone keeps the drainer busy",
        _SIGN_IN,
        '          JOIN public."user" AS u ON u.id = a.id\n         WHERE e.password_due',
        "         WHERE e.password_due",
        _alive(passwords.test_an_account_that_is_half_gone_waits_for_none),
    ),
]
