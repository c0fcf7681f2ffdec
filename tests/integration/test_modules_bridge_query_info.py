# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""bridge_query_info, and what Ansible masks in results of the collection's modules: nothing that tasks decide by."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from kit.pairs import Pair
from modules_support import ModuleFailed, login_options, run_module

# Parts of names, of numbers and of true and false, as people choose passwords.
PASSWORDS = ("litellm", "1", "True", "a")


@contextmanager
def masking(pair: Pair, password: str) -> Iterator[dict[str, Any]]:
    """Options of a login with such a password."""
    pair.cluster.execute("DROP ROLE IF EXISTS masking", f"CREATE ROLE masking SUPERUSER LOGIN PASSWORD '{password}'")
    try:
        yield {**login_options(pair, "litellm"), "login_user": "masking", "login_password": password}
    finally:
        pair.cluster.execute("DROP ROLE masking")


@pytest.fixture(params=PASSWORDS)
def login(pair: Pair, request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    with masking(pair, request.param) as options:
        yield options


def test_rows_are_as_the_server_has_them(login: dict[str, Any]) -> None:
    query = "SELECT 'litellm' AS name, 12 AS number, true AS yes, ARRAY['litellm'] AS names WHERE %(given)s = '1'"
    found = run_module("bridge_query_info", {**login, "query": query, "named_args": {"given": "1"}})
    assert found["rows"] == [{"name": "litellm", "number": 12, "yes": True, "names": ["litellm"]}]
    assert found["changed"] is False
    assert found["invocation"]["module_args"]["login_password"] != login["login_password"]


def test_it_cannot_write(login: dict[str, Any], pair: Pair) -> None:
    with pytest.raises(ModuleFailed, match="SQLSTATE 25006"):
        run_module("bridge_query_info", {**login, "query": "CREATE TABLE public.there ()"})
    assert pair.litellm_admin.value("SELECT to_regclass('public.there')") is None


def test_the_cause_of_a_refused_login(pair: Pair) -> None:
    """Of a server that speaks German, too, see test_remedies.py."""
    options = {**login_options(pair, "litellm"), "query": "SELECT 1"}
    with pytest.raises(ModuleFailed) as failed:
        run_module("bridge_query_info", {**options, "login_password": "wrong"})
    assert failed.value.result["cause"] == "password"
