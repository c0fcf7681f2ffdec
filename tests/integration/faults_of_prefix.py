# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults of accounts' ids, without a prefix and with another one: as those in faults_of_trust.py."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import test_prefix as prefix
from kit.pairs import Pair

Row = tuple[str, str, str, str, Callable[[Pair], None]]

_ADOPT = "entities/user/openwebui/adopt.sql.j2"
_APPLY = "entities/user/openwebui/apply.sql.j2"
_BULK = "entities/user/openwebui/bulk.sql.j2"


PREFIX: list[Row] = [
    (
        "without a prefix an id shows who made the account",
        _ADOPT,
        "AND NOT v_was_anothers AND p_options ->> 'user_id_prefix' <> '';",
        "AND NOT v_was_anothers;",
        partial(prefix.test_who_signed_up_with_id_and_email_loses_the_password, role="pending"),
    ),
    (
        "an account that has the id is taken for the bridge's",
        _ADOPT,
        'OR EXISTS (SELECT FROM public."user" AS u WHERE u.id = p_id)',
        "OR false",
        prefix.test_an_account_that_only_has_the_id_is_never_taken,
    ),
    (
        "an account is everybody",
        _ADOPT,
        "RETURN user_bridge.is_reserved_id(p_id)\n        OR",
        "RETURN",
        partial(prefix.test_no_account_has_an_id_that_means_something_else, user="*", others=0),
    ),
    (
        "the id of an account is a pattern for all",
        _ADOPT,
        " OR strpos(p_id, '%') > 0",
        "",
        partial(prefix.test_no_account_has_an_id_that_means_something_else, user="%n%", others=0),
    ),
    (
        "one of many accounts is everybody",
        _BULK,
        "AND NOT user_bridge.is_reserved_id(w.account)",
        "AND true",
        partial(prefix.test_no_account_has_an_id_that_means_something_else, user="*", others=25),
    ),
    (
        "a new account has what was left to another one",
        "entities/user/openwebui/new.sql.j2",
        "PERFORM user_bridge.drop_leftovers(ARRAY[v_account]);",
        "NULL;",
        partial(prefix.test_what_was_left_to_an_account_of_this_id_is_nobodys, others=0, sign_in=False),
    ),
    (
        "a new account has the sign-in that was left to another one",
        _APPLY,
        "DELETE FROM public.auth AS a WHERE a.id = v_want ->> 'openwebui_id';",
        "NULL;",
        partial(prefix.test_what_was_left_to_an_account_of_this_id_is_nobodys, others=0, sign_in=True),
    ),
    (
        "who returns has an id by today's prefix",
        _ADOPT,
        "ELSE coalesce(p_link.openwebui_id, p_link.made_id, p_own_id) END",
        "ELSE p_own_id END",
        partial(prefix.test_with_another_prefix_everybody_keeps_the_account, before="usr_", after=""),
    ),
    (
        "the chats of who is gone are the next one's",
        _ADOPT,
        "WHERE e.made_id = p_id AND",
        "WHERE false AND",
        partial(prefix.test_nobody_else_gets_the_chats_of_who_is_gone, others=0),
    ),
    (
        "of many, the chats of who is gone are the next one's",
        _BULK,
        "WHERE e.made_id = w.account LIMIT 1)",
        "WHERE false)",
        partial(prefix.test_nobody_else_gets_the_chats_of_who_is_gone, others=25),
    ),
    (
        "a longer prefix closes accounts",
        "entities/user/litellm/desired.sql.j2",
        "AND NOT EXISTS (SELECT FROM user_bridge.sync_mapping AS m",
        "AND EXISTS (SELECT FROM user_bridge.sync_mapping AS m",
        prefix.test_a_longer_prefix_closes_no_account,
    ),
]
