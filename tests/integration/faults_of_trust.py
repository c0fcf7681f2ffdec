# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults of the rules of adoption: name, file, what is there, the fault, and the test that catches it."""

from __future__ import annotations

from collections.abc import Callable

import test_trust as trust
from kit.pairs import Pair

Row = tuple[str, str, str, str, Callable[[Pair], None]]

_ADOPT = "entities/user/openwebui/adopt.sql.j2"
_APPLY = "entities/user/openwebui/apply.sql.j2"
_SIGN_IN = "entities/user/openwebui/sign_in.sql.j2"
_STRANGERS = "entities/user/openwebui/strangers.sql.j2"


def _case(name: str) -> Callable[[Pair], None]:
    (found,) = [case for case in trust.CASES if case.name == name]
    return lambda pair: trust.test_what_becomes_of_an_account(pair, found)


def _set_by_another(account: str) -> Callable[[Pair], None]:
    return lambda pair: trust.TestReturning().test_what_another_user_has_set_meanwhile_opens_nothing(pair, account)


ADOPTION: list[Row] = [
    (
        "an account without a role is trusted",
        _ADOPT,
        "coalesce(p_account.role, 'pending')",
        "p_account.role",
        _case("without a role, signed up later"),
    ),
    (
        "accounts linked although that is forbidden",
        _ADOPT,
        "WHEN NOT (p_options ->> 'adopt_existing')::boolean THEN",
        "WHEN false THEN",
        lambda pair: trust.test_nothing_is_adopted_where_that_is_forbidden(pair, trust.CASES[0]),
    ),
    (
        "an admin's account linked to whoever has the address",
        _ADOPT,
        "(user_bridge.normal_user(p_want) ->> 'role' <> 'admin' OR",
        "(false OR",
        _case("an admin, in LiteLLM a user"),
    ),
    (
        "an admin's account linked to somebody whom LiteLLM keeps out",
        _ADOPT,
        "(user_bridge.normal_user(p_want) ->> 'role' <> 'admin' OR",
        "(p_want ->> 'role' <> 'admin' OR",
        _case("an admin, in LiteLLM disabled"),
    ),
    (
        "a changed address links an account",
        _ADOPT,
        "WHEN p_link.known_email <> p_want ->> 'email' THEN",
        "WHEN false THEN",
        lambda pair: trust.TestChangedAddress().test_a_refused_user_gets_no_other_account(pair, "user"),
    ),
    (
        "the address of an earlier life counts",
        "entities/user/openwebui/retire.sql.j2",
        "known_email = CASE WHEN NOT p_gone THEN e.known_email END",
        "known_email = e.known_email",
        lambda pair: trust.TestChangedAddress().test_a_user_who_was_deleted_comes_with_any(pair, True),
    ),
    (
        "the address of a deleted account counts",
        _ADOPT,
        "made_id = p_link.openwebui_id, known_email = NULL,",
        "made_id = p_link.openwebui_id,",
        lambda pair: trust.TestChangedAddress().test_a_user_who_was_deleted_comes_with_any(pair, False),
    ),
    (
        "the password of somebody pending stays",
        _ADOPT,
        "OR c_role <> 'pending'",
        "OR true",
        _case("pending"),
    ),
    (
        "the password of somebody who signed up later stays",
        _ADOPT,
        "coalesce(p_account.created_at < (",
        "coalesce(p_account.created_at IS NOT NULL OR p_account.created_at < (",
        _case("signed up later"),
    ),
    (
        "the password of an account of unknown age stays",
        _ADOPT,
        "FROM user_bridge.installed AS i), false)",
        "FROM user_bridge.installed AS i), true)",
        _case("of an unknown age"),
    ),
    (
        "single sign-on proves nothing",
        _ADOPT,
        "OR EXISTS (SELECT FROM user_bridge.proved_by_sso(ARRAY[p_account.id]))",
        "",
        _case("proved later by single sign-on"),
    ),
    (
        "an identity that cannot be read proves an address",
        _ADOPT,
        "EXCEPTION WHEN OTHERS THEN\n    RETURN false;",
        "EXCEPTION WHEN OTHERS THEN\n    RETURN true;",
        _case("no proof: cannot be read"),
    ),
    (
        "an empty identity proves an address",
        _ADOPT,
        ' && @ != ""',
        "",
        _case("no proof: an empty one"),
    ),
    (
        "an identity that is encoded twice proves nothing",
        _ADOPT,
        "IF jsonb_typeof(v_identities) = 'string' THEN",
        "IF false THEN",
        _case("proved, encoded twice"),
    ),
    (
        "an admin loses the password",
        _ADOPT,
        "RETURN c_role = 'admin'\n",
        "RETURN false\n",
        _case("an admin in both, made later"),
    ),
    (
        "a stranger's sessions go on",
        _STRANGERS,
        "PERFORM user_bridge.end_sessions(v_account);",
        "NULL;",
        _case("pending"),
    ),
    (
        "the owner's sessions end",
        _SIGN_IN,
        "IF NOT v_active AND v_now.active THEN",
        "IF true THEN",
        _case("there before"),
    ),
    (
        "a stranger's password stays",
        _SIGN_IN,
        "WHEN NOT p_trusted THEN user_bridge.expire_password(",
        "WHEN false THEN user_bridge.expire_password(",
        _case("signed up later"),
    ),
    (
        "a stranger's API key opens the account",
        _STRANGERS,
        "PERFORM user_bridge.write_key_slot(p_account, NULL);",
        "NULL;",
        lambda pair: trust.TestWhoElseIsIn().test_a_strangers_api_key_goes(pair, {}),
    ),
    (
        "an heir is an admin with the password of whoever had the address before",
        _ADOPT,
        "CASE WHEN v_account.role = 'admin' THEN p_link.initial_password_mark ELSE v_mark END,",
        "p_link.initial_password_mark,",
        lambda pair: trust.TestWhoElseIsIn().test_an_heirs_promotion_takes_what_the_first_one_had(pair, "their own"),
    ),
    (
        "an account is handed on with the API keys of whoever had it",
        _ADOPT,
        "PERFORM user_bridge.revoke_keys(p_link.openwebui_id, c_heir);",
        "NULL;",
        lambda pair: trust.TestWhoElseIsIn().test_an_heir_who_is_no_admin_gets_the_password_and_no_keys(pair),
    ),
    (
        "an admin's account is handed on without its password",
        _ADOPT,
        "CASE WHEN v_account.role = 'admin' THEN p_link.initial_password_mark ELSE v_mark END,",
        "v_mark,",
        lambda pair: trust.TestWhoElseIsIn().test_an_admin_hands_on_everything(pair),
    ),
    (
        "the API keys of whoever knew the initial password open an admin's account",
        _APPLY,
        "IF p_link.open_sessions OR v_expired IS NOT NULL OR",
        "IF p_link.open_sessions OR",
        lambda pair: trust.TestWhoElseIsIn().test_who_knew_the_initial_password_is_out_after_a_promotion(pair, False),
    ),
    (
        "so do those of whoever used it before it expired",
        _APPLY,
        "OR user_bridge.had_known_password(p_link, v_want, v_now, p_options) THEN",
        "THEN",
        lambda pair: trust.TestWhoElseIsIn().test_who_knew_the_initial_password_is_out_after_a_promotion(pair, True),
    ),
    (
        "an account without a sign-in gets a password that others know",
        _SIGN_IN,
        "CASE WHEN c_now THEN user_bridge.initial_password(p_want, p_options) ELSE '' END",
        "user_bridge.initial_password(p_want, p_options)",
        _case("without a row in auth"),
    ),
    (
        "an account is taken by its id",
        _ADOPT,
        "WHERE u.id = ANY (p_same_email) AND user_bridge.is_email(u.email, p_want ->> 'email') "
        "AND user_bridge.is_free(u.id)",
        "WHERE (u.id = ANY (p_same_email) OR u.id = p_want ->> 'openwebui_id') AND user_bridge.is_free(u.id)",
        lambda pair: trust.test_an_account_with_the_id_only_is_somebody_elses(pair, "user"),
    ),
    (
        "an account of an earlier installation counts as adopted",
        _APPLY,
        "v_now.id IS NULL OR v_is_own, v_want",
        "v_now.id IS NULL, v_want",
        lambda pair: trust.test_an_account_of_an_earlier_installation_is_the_bridges_own(pair, "user", False),
    ),
    (
        "the account of another LiteLLM user is taken",
        _ADOPT,
        "WHERE u.id = ANY (p_same_email) AND user_bridge.is_email(u.email, p_want ->> 'email') "
        "AND user_bridge.is_free(u.id)",
        "WHERE u.id = ANY (p_same_email) AND user_bridge.is_email(u.email, p_want ->> 'email')",
        lambda pair: trust.TestAddressOfAnAdoptedAccount().test_nobody_else_gets_it_meanwhile(pair, False),
    ),
    (
        "an adopted account's address moves by itself",
        _APPLY,
        "IF p_link.openwebui_id IS NULL OR p_link.origin = 'created' OR",
        "IF true OR",
        lambda pair: trust.TestAddressOfAnAdoptedAccount().test_it_moves_when_somebody_has_approved_just_that(pair),
    ),
    (
        "the address of an account that the bridge made waits",
        _APPLY,
        "IF p_link.openwebui_id IS NULL OR p_link.origin = 'created' OR",
        "IF p_link.openwebui_id IS NULL OR",
        lambda pair: trust.TestAddressOfAnAdoptedAccount().test_that_of_an_account_that_the_bridge_made_moves(pair),
    ),
    (
        "an inherited account walks away",
        _APPLY,
        "p_link.origin = 'created' OR user_bridge.is_email(",
        "p_link.origin <> 'adopted' OR user_bridge.is_email(",
        lambda pair: trust.TestOneAddressOfTwoUsers().test_the_next_takes_over_the_account_and_not_the_role(pair),
    ),
    (
        "an adopted account's address is taken for somebody else",
        _APPLY,
        "SELECT e.origin = 'created' FROM",
        "SELECT true FROM",
        lambda pair: trust.TestAddressOfAnAdoptedAccount().test_nobody_else_gets_it_meanwhile(pair, False),
    ),
    (
        "an inherited account's address is taken for somebody else",
        _APPLY,
        "SELECT e.origin = 'created' FROM",
        "SELECT e.origin <> 'adopted' FROM",
        lambda pair: trust.TestAddressOfAnAdoptedAccount().test_nobody_else_gets_it_meanwhile(pair, True),
    ),
    (
        "whoever changes his address inherits an account",
        "entities/user/litellm/heir.sql.j2",
        "WHERE next.since <= user_bridge.held_from_creation(next.created_at)",
        "",
        lambda pair: trust.TestOneAddressOfTwoUsers().test_nor_does_who_had_none_of_his_own(pair, None),
    ),
    (
        "a returning user's account opens with what another has set meanwhile",
        _ADOPT,
        "UPDATE user_bridge.entity AS e SET made_id = NULL\n     WHERE ",
        "UPDATE user_bridge.entity AS e SET made_id = NULL\n     WHERE false AND ",
        _set_by_another("adopted"),
    ),
    (
        "an account of a user's own id is his, whoever had it last",
        _ADOPT,
        "AND NOT v_was_anothers AND p_options",
        "AND p_options",
        _set_by_another("made for the first of two"),
    ),
    (
        "single sign-on proves the password of whoever had the account last",
        _ADOPT,
        "user_bridge.is_trusted(v_account) AND NOT v_was_anothers",
        "user_bridge.is_trusted(v_account)",
        _set_by_another("adopted and proved"),
    ),
    (
        "an account that another had walks away",
        _APPLY,
        "v_is_own := v_found.is_own;",
        "v_is_own := true;",
        _set_by_another("moved"),
    ),
    (
        "nobody says who has lost the address",
        _SIGN_IN,
        " AND u.email <> user_bridge.placeholder_email('moved', u.id)",
        "",
        lambda pair: trust.TestPasswords().test_who_has_lost_the_address_is_named_too(pair),
    ),
    (
        "a dismissed user stays in until the heir comes",
        _ADOPT,
        "PERFORM user_bridge.disable_account(p_link.openwebui_id);",
        "NULL;",
        lambda pair: trust.TestOneAddressOfTwoUsers().test_until_the_next_one_is_delivered_nobody_gets_in(pair),
    ),
    (
        "a returning user is a stranger",
        _ADOPT,
        "IF p_link.made_id IS NOT NULL AND p_link.origin IS NOT NULL THEN",
        "IF false THEN",
        lambda pair: trust.TestReturning().test_to_an_account_that_had_been_adopted(pair),
    ),
    (
        "a returning user with another address has the old password",
        _ADOPT,
        "trusted := user_bridge.is_email(v_account.email, p_want ->> 'email');",
        "trusted := true;",
        lambda pair: trust.TestReturning().test_with_another_address_the_password_is_nobodys(pair),
    ),
    (
        "a refused removal of the last admin happens later",
        _APPLY,
        "AND h.kind = 'last_admin') THEN",
        "AND false) THEN",
        lambda pair: trust.TestLastAdmin().test_what_was_refused_does_not_happen_days_later(pair),
    ),
    (
        "an approval removes the last admin",
        _APPLY,
        "CASE WHEN v_is_last THEN p_item - 'approvals' ELSE p_item END",
        "p_item",
        lambda pair: trust.TestLastAdmin().test_no_approval_removes_the_last_one(pair),
    ),
    (
        "an admin has the email as password",
        _SIGN_IN,
        "RETURN p_before.role IS DISTINCT FROM 'admin'",
        "RETURN false",
        lambda pair: trust.TestPasswords().test_no_admin_has_the_email_as_password(pair, "ann@example.com"),
    ),
    (
        "a password is taken away in silence",
        "engine/litellm/outcome.sql.j2",
        "FROM o WHERE o.expired_password IS NOT NULL",
        "FROM o WHERE false",
        lambda pair: trust.TestPasswords().test_a_promotion_that_takes_the_initial_password_is_audited(pair),
    ),
    (
        "a disabled account listed as one that nothing opens",
        _SIGN_IN,
        "AND u.role <> 'pending'\n",
        "\n",
        lambda pair: trust.TestPasswords().test_who_cannot_sign_in_is_named(pair),
    ),
    (
        "roles invented by a request",
        _APPLY,
        "IF user_bridge.exceeds_role(want, p_options) THEN",
        "IF false THEN",
        lambda pair: trust.TestOwnSettings().test_no_role_that_they_do_not_give(pair, False),
    ),
    (
        "roles invented by a request with many items",
        "entities/user/openwebui/bulk.sql.j2",
        "NOT user_bridge.exceeds_role(w.want, p_request -> 'options')",
        "true",
        lambda pair: trust.TestOwnSettings().test_no_role_that_they_do_not_give(pair, True),
    ),
    (
        "ids taken from a request",
        "engine/openwebui/settings.sql.j2",
        "CASE WHEN p_own_id IS NOT NULL AND",
        "CASE WHEN NOT p_item -> 'desired' ? 'openwebui_id' AND p_own_id IS NOT NULL AND",
        lambda pair: trust.TestOwnSettings().test_what_a_request_says_about_settings_does_not_count(pair),
    ),
    (
        "settings taken from a request",
        "engine/openwebui/door.sql.j2",
        "'options', v_options, 'items', user_bridge.own_items(p_request -> 'items', v_options))",
        "'items', user_bridge.own_items(p_request -> 'items', v_options)) || jsonb_build_object('options', v_options) "
        "|| (p_request - 'items')",
        lambda pair: trust.TestOwnSettings().test_what_a_request_says_about_settings_does_not_count(pair),
    ),
    (
        "no settings, and something is done all the same",
        "engine/openwebui/settings.sql.j2",
        "IF v_settings IS NULL THEN",
        "IF false THEN",
        lambda pair: trust.TestOwnSettings().test_without_any_nothing_is_done(pair),
    ),
    (
        "a preview hashes passwords",
        "engine/openwebui/preview.sql.j2",
        "jsonb_set(p_request, '{options,initial_password}', '\"none\"')",
        "p_request",
        lambda pair: trust.TestOwnSettings().test_a_preview_hashes_no_password(pair),
    ),
    (
        "of many at once nobody knows the address",
        "entities/user/openwebui/bulk.sql.j2",
        "'created', n.want ->> 'email'",
        "'created', NULL",
        trust.test_many_at_once_are_treated_as_one_by_one,
    ),
]

# With an Open WebUI that cannot end sessions.
ADOPTION_BY_OLD: list[Row] = [
    (
        "a promotion that waits is forgotten by the upkeep",
        "engine/litellm/held_changes.sql.j2",
        '|| @.kind == "membership")',
        '|| @.kind == "membership" || @.kind == "adoption")',
        lambda pair: trust.TestWhoElseIsIn().test_it_waits_until_somebody_decides(pair),
    ),
    (
        "a stranger's account becomes an admin's while his session goes on",
        _STRANGERS,
        "OR user_bridge.exceeds_role(v_want, p_options) OR user_bridge.can_end_sessions() THEN",
        "OR true THEN",
        _case("signed up later, and LiteLLM says admin"),
    ),
    (
        "a stranger's session is forgotten before a promotion",
        _STRANGERS,
        "p_want ->> 'role' <> 'admin' AND NOT user_bridge.can_end_sessions();",
        "false;",
        lambda pair: trust.TestWhoElseIsIn().test_a_promotion_later_waits_for_an_approval(pair),
    ),
    (
        "a promotion waits again after the approval",
        _STRANGERS,
        "p_want ->> 'role' <> 'admin' AND NOT user_bridge.can_end_sessions();",
        "NOT user_bridge.can_end_sessions();",
        lambda pair: trust.TestWhoElseIsIn().test_a_promotion_later_waits_for_an_approval(pair),
    ),
    (
        "another account still has a stranger in it",
        _STRANGERS,
        "IF NOT p_link.open_sessions OR p_account = p_link.made_id THEN",
        "IF true THEN",
        lambda pair: trust.TestWhoElseIsIn().test_another_account_of_the_address_has_none_either(pair),
    ),
    (
        "an heir is an admin beside the session of whoever had the address before",
        _ADOPT,
        "OR v_account.role IS DISTINCT FROM 'admin' AND NOT user_bridge.can_end_sessions())",
        ")",
        lambda pair: trust.TestWhoElseIsIn().test_an_heirs_promotion_takes_what_the_first_one_had(pair, "initial"),
    ),
]
