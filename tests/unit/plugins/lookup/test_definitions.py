# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The SQL that a deployment installs is what the other tests have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.llmops.user_bridge.plugins.lookup.definitions import LookupModule
from ansible_collections.llmops.user_bridge.plugins.lookup.sources import digest
from jinja2 import UndefinedError

from kit.bridge import TEMPLATES, render_sql
from kit.common import REPO
from kit.pairs import OWNER_ROLE, PROGRAM_ROLES, SIDES, SYNC_USER, Side

NAMES = {
    "dblink_schema": "user_bridge",
    "pgcrypto_schema": "user_bridge",
    "owner_role": OWNER_ROLE,
    "reader_role": PROGRAM_ROLES["litellm"],
    "writer_role": PROGRAM_ROLES["openwebui"],
    "sync_user": SYNC_USER,
    "maintenance_user": "",
}


def definitions(side: str, names: dict[str, Any]) -> list[dict[str, str]]:
    return LookupModule().run([side], {}, names=names)


@pytest.mark.parametrize("side", SIDES)
def test_a_deployment_has_the_sql_of_the_tests(side: Side) -> None:
    found = definitions(side, NAMES)
    assert {each["name"]: each["sql"] for each in found} == render_sql(side, maintenance_user="")
    names = [each["name"] for each in found]
    assert (names[0], names[-1] == f"engine/{side}/triggers.sql.j2") == (
        f"engine/{side}/state.sql.j2",
        (TEMPLATES / "engine" / side / "triggers.sql.j2").exists(),
    )
    assert names[1:-1] == sorted(names[1:-1])


def test_the_role_gives_every_name() -> None:
    variables = yaml.safe_load((REPO / "roles" / "triggers" / "vars" / "main.yml").read_text(encoding="utf-8"))
    assert sorted(variables["__triggers_names"]) == sorted(NAMES)


def test_a_name_that_is_missing_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="owner_role"):
        definitions("litellm", {name: value for name, value in NAMES.items() if name != "owner_role"})


def test_the_digest_knows_contents_and_names(tmp_path: Path) -> None:
    (tmp_path / "a.sql").write_text("SELECT 1", encoding="utf-8")
    first = digest([tmp_path])
    (tmp_path / "a.pyc").write_bytes(b"compiled")
    assert digest([tmp_path]) == first
    (tmp_path / "a.sql").write_text("SELECT 2", encoding="utf-8")
    second = digest([tmp_path])
    (tmp_path / "a.sql").rename(tmp_path / "b.sql")
    assert len({first, second, digest([tmp_path])}) == 3
