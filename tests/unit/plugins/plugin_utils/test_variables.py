# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the roles' variables may be called and may hold; test_playbooks_bad_input.py has some of it in a play."""

from __future__ import annotations

import json
from datetime import date, datetime
from typing import Any

import pytest
from ansible_collections.llmops.user_bridge.plugins.filter.parsed import parsed as parsed_filter
from ansible_collections.llmops.user_bridge.plugins.plugin_utils import _variables as variables

from kit import role_readmes as readmes

OPTIONS = readmes.options("bridge")
DEFAULTS = {name: value for name, value in readmes.load("bridge", "defaults").items() if name in OPTIONS}
LITERAL = {name: value for name, value in DEFAULTS.items() if "{{" not in json.dumps(value)}


class Tagged(float):
    """As ansible-core 2.19 and newer hand a number on."""


def problems(**values: Any) -> str:
    return "\n".join(variables.wrong_values({**LITERAL, **values}, OPTIONS))


def test_the_defaults_are_accepted() -> None:
    assert problems() == ""


def as_text(value: Any) -> str:
    """As a survey hands it on."""
    return value if isinstance(value, str) else json.dumps(value)


def test_every_value_is_accepted_as_text() -> None:
    assert problems(**{name: as_text(value) for name, value in LITERAL.items()}) == ""
    for name, value in LITERAL.items():
        option = OPTIONS[name]
        assert variables.converted(as_text(value), option) == variables.converted(value, option), name


@pytest.mark.parametrize("name", OPTIONS)
def test_a_blank_value(name: str) -> None:
    assert f"{name} is blank (null): leave it out for its default" in problems(**{name: None})


@pytest.mark.parametrize("name", [name for name, option in OPTIONS.items() if option["type"] == "bool"])
@pytest.mark.parametrize("value", ["maybe", "", 2, [True]])
def test_what_is_no_boolean(name: str, value: Any) -> None:
    assert "not a boolean: set it to true or false" in problems(**{name: value})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"bridge_login_port": "five"}, 'bridge_login_port is "five", not a whole number: write it in digits.'),
        ({"bridge_login_host": "db\n"}, "bridge_login_host has a line break, a tab or another control character in it"),
        ({"bridge_litellm_db": datetime(2026, 11, 28)}, "bridge_litellm_db is a date, not text: put it in quotes"),
        ({"bridge_sync_user": " sync"}, 'bridge_sync_user is " sync": it must not begin or end with a space'),
        ({"bridge_owner_role": "   "}, 'bridge_owner_role is "   ": it must not begin or end with a space'),
        ({"bridge_login_password": "secret\n"}, "bridge_login_password has a line break, a tab or another control"),
        # It would compute for ever how long hashing takes.
        ({"bridge_password_cost": 10**9}, "bridge_password_cost must be from 4 to 16, not 1000000000"),
        ({"bridge_login_port": True}, "bridge_login_port is true, not a whole number"),
        ({"bridge_login_port": Tagged(1.5)}, "bridge_login_port is 1.5, not a whole number"),
        ({"bridge_login_port": 70000}, "bridge_login_port is 70000: it must be from 0 to 65535"),
        ({"bridge_migrate_batch_size": 0}, "bridge_migrate_batch_size is 0: it must be from 1 to 2000"),
        ({"bridge_delivery": "eventually"}, 'is "eventually": it must be one of commit, queued'),
        ({"bridge_litellm_db": True}, "bridge_litellm_db is the boolean true, not text: put it in quotes"),
        ({"bridge_login_host": ["a"]}, "bridge_login_host is a list, not text"),
        ({"bridge_postgres_version": 16.4}, "bridge_postgres_version is a number with a fraction"),
        ({"bridge_postgres_clients": {"a": 1}}, "not a list: write it as a list, or as text with commas"),
        ({"bridge_pause_until": "tomorrow"}, 'bridge_pause_until is "tomorrow", neither a time in ISO 8601 like'),
        ({"bridge_audit_since": 24}, 'bridge_audit_since is "24", neither a time in ISO 8601 like'),
        ({"bridge_audit_until": "2026-13-01"}, 'bridge_audit_until is "2026-13-01", neither a time in ISO 8601 like'),
        ({"bridge_reject_ids": "99999999999999999999"}, "bridge_reject_ids has an entry that is no id: review_changes"),
        ({"bridge_approve_ids": [0]}, "bridge_approve_ids has an entry that is no id: review_changes lists"),
        ({"bridge_approve_ids": "3,x"}, 'bridge_approve_ids has an entry that is "x", not a whole number'),
        ({"bridge_removal_limit": "50"}, "or as text like accounts=25,percent=5"),
        ({"bridge_removal_limit": ""}, "is empty, not a dictionary"),
        ({"bridge_removal_limit": "accounts=50"}, 'lacks the key "percent": write it like accounts=25,percent=5'),
        ({"bridge_removal_limit": {"accounts": 5, "percent": 5, "hours": 1}}, 'has the key "hours", but can have'),
        ({"bridge_removal_limit": {"accounts": 5, "percent": "all"}}, 'has the key "percent", which is "all", not a'),
        ({"bridge_removal_limit": {"accounts": -5, "percent": 5}}, "bridge_removal_limit.accounts must be from 0 to"),
        ({"bridge_role_map": {"boss": "admin"}}, "bridge_role_map: 'boss' is no LiteLLM role"),
        ({"bridge_role_map": "proxy_admin_viewer=admin"}, "bridge_role_map: proxy_admin_viewer is read-only"),
        ({"bridge_group_id_prefix": "grp_team_"}, "bridge_team_group_id_prefix and bridge_group_id_prefix must differ"),
        ({"bridge_user_id_prefix": "a b"}, "bridge_user_id_prefix must be up to 32 letters"),
        ({"bridge_password_cost": 16}, "bridge_password_cost is 16: hashing one initial password can take"),
        ({"bridge_sync_user": 'a"b'}, 'a name must not have ", %, a backslash'),
        ({"bridge_openwebui_db": "100%"}, 'bridge_openwebui_db is "100%": a name must not have'),
        ({"bridge_owner_role": ""}, "bridge_owner_role is empty: give it a name"),
        ({"bridge_owner_role": "pg_bridge"}, "keeps names that begin with pg_ for itself"),
        ({"bridge_litellm_db": "ä" * 32}, "PostgreSQL cuts names after 63 bytes"),
        (
            {"bridge_litellm_url": "litellm:4000"},
            "bridge_litellm_url is no address: write it like http://127.0.0.1:4000",
        ),
        ({"bridge_litellm_url": "http://"}, "bridge_litellm_url is no address"),
        ({"bridge_litellm_url": "http://a b"}, "bridge_litellm_url is no address"),
        ({"bridge_litellm_url": "http://a:port"}, "bridge_litellm_url is no address"),
        ({"bridge_litellm_url": "http://u:p@a"}, "bridge_litellm_url must have no login, no ? and no # in it"),
        ({"bridge_litellm_url": "http://a?key=b"}, "bridge_litellm_url must have no login, no ? and no # in it"),
        (
            {"bridge_litellm_url": "http://a", "bridge_litellm_key": ""},
            "bridge_litellm_url is set and bridge_litellm_key is not: give a virtual key",
        ),
        ({"bridge_litellm_key": [1]}, "bridge_litellm_key is a list, not text"),
        ({"bridge_openwebui_url": "http://a#b"}, "bridge_openwebui_url must have no login, no ? and no # in it"),
        (
            {"bridge_openwebui_password": "a", "bridge_openwebui_token": "b"},
            "bridge_openwebui_password and bridge_openwebui_token are both set",
        ),
        ({"bridge_openwebui_token": ["secret"]}, "bridge_openwebui_token is a list, not text"),
        ({"bridge_maintenance_name": "a/b"}, 'bridge_maintenance_name is "a/b": it must be'),
        ({"bridge_litellm_db": "openwebui"}, 'are both "openwebui" on the same server'),
    ],
)
def test_what_cannot_be_used(values: dict[str, Any], message: str) -> None:
    (only,) = problems(**values).splitlines()
    assert message in only and only.endswith(".")


def test_every_problem_is_reported_at_once() -> None:
    found = problems(bridge_login_port="five", bridge_takeover="maybe", bridge_state=None).splitlines()
    assert {line.split()[0] for line in found} == {"bridge_login_port", "bridge_takeover", "bridge_state"}


def test_yaml_reads_off_as_a_boolean() -> None:
    assert problems(bridge_api_keys=False) == ""


def test_a_secret_may_be_of_digits_and_is_never_shown() -> None:
    assert problems(bridge_sync_password=12345678) == ""
    for value in (1.5e8, ["hunter2"], True):
        assert "bridge_sync_password is" in (text := problems(bridge_sync_password=value))
        assert "hunter2" not in text and "1.5" not in text


def test_one_name_on_two_servers() -> None:
    names = {"bridge_litellm_db": "app", "bridge_openwebui_db": "app", "bridge_openwebui_login_host": "other"}
    assert problems(**names) == ""


KNOWN = {*OPTIONS}


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("bridge_sync_pasword", "bridge_sync_password"),
        ("bridge_on_user_deletes", "bridge_on_user_delete"),
        ("bridge_host", "bridge_hosts"),
        ("bridge_litellm_database", "bridge_litellm_db"),
        ("bridge_explain_user", "explain_user"),
    ],
)
def test_a_mistyped_name(name: str, meant: str) -> None:
    (found,) = variables.unknown({name, "bridge_state"}, KNOWN, [])
    assert found.startswith(f"{name} is no variable of this collection; did you mean {meant}?")
    assert "bridge_allow_unknown" in found


def test_names_of_ones_own() -> None:
    own = {"bridge_ports", "bridge_site_name", "bridge_hosts", "bridge_litellm"}
    assert len(variables.unknown(own, KNOWN, [])) == 2
    for allowed in (["bridge_ports", "bridge_site_*"], "bridge_ports,bridge_site_name", '["bridge_*"]'):
        assert variables.unknown(own, KNOWN, allowed) == []
    assert len(variables.unknown(own, KNOWN, True)) == 2
    assert "bridge_allow_unknown is true, not a list" in problems(bridge_allow_unknown=True)


def test_a_name_like_no_other() -> None:
    (found,) = variables.unknown({"bridge_zzzzzzzzzzzzzzzzzzz"}, KNOWN, [])
    assert found.startswith("bridge_zzzzzzzzzzzzzzzzzzz is no variable of this collection. If")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("until", "bridge_pause_until or bridge_audit_until"),
        ("untill", "bridge_pause_until or bridge_audit_until"),
        ("aprove", "bridge_approve_ids"),
        ("types", "bridge_reconcile_types or bridge_audit_types"),
        ("approve", "bridge_approve_ids"),
        ("state", "bridge_state"),
        ("sync_password", "bridge_sync_password"),
    ],
)
def test_a_name_without_its_prefix(name: str, meant: str) -> None:
    (found,) = variables.unprefixed({name, "region"}, KNOWN, {"bridge_litellm_db"}, [])
    assert found.startswith(f"{name} is an extra variable") and f"did you mean {meant}? If" in found
    assert variables.unprefixed({name}, KNOWN, {meant.split()[0]}, []) == []
    assert variables.unprefixed({name}, KNOWN, [], name) == []


def test_half_a_question() -> None:
    (found,) = variables.half_a_question({"explain_model", "bridge_state"})
    assert found.startswith("explain_model is set alone") and "set explain_user and explain_model" in found
    assert variables.half_a_question({"explain_model", "explain_user"}) == variables.half_a_question([]) == []


def test_every_variable_with_a_rule_is_an_option() -> None:
    named = {*variables._RANGES, *variables._DATABASES, *variables._ROLES, *variables._LOGINS}
    assert {option for options in variables._SHORT.values() for option in options} <= KNOWN
    assert named <= KNOWN


@pytest.mark.parametrize("text", ["10.0.0.5, 10.0.0.6", '["10.0.0.5", "10.0.0.6"]', "['10.0.0.5', '10.0.0.6']"])
def test_the_filter(text: str) -> None:
    assert parsed_filter(text, "list") == ["10.0.0.5", "10.0.0.6"]
    with pytest.raises(Exception, match="nor the text of one"):
        parsed_filter(text, "dict")


def test_text_that_may_have_anything_in_it() -> None:
    assert (
        problems(bridge_audit_text=" two\nlines", bridge_migrate_email_pattern="% ", bridge_sync_password=" a b ") == ""
    )


def test_a_secret_with_a_line_break_is_not_shown() -> None:
    found = problems(bridge_maintenance_password="correct horse\n")
    assert "printf" in found and "horse" not in found


def test_a_moment_may_be_a_date_of_yaml() -> None:
    assert problems(bridge_audit_since=date(2026, 11, 28)) == ""
