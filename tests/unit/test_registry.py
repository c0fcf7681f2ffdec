# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an entity is stands in the registry, and its rules in its folder: nothing else of the SQL knows the types."""

from __future__ import annotations

import re

import pytest

from kit.bridge import REGISTRY, TEMPLATES, render_sql
from kit.pairs import Side

ENTITIES = REGISTRY["entities"]
TYPES = [*ENTITIES, *REGISTRY["fan_outs"]]
# A type as a literal, alone or before an id as in 'user ' || id; or taken from how another is spelled.
_NAMED = re.compile(rf"'(?:{'|'.join(TYPES)}) ?'|'[^'a-z]*_(?:member|key)\$?'")
_OPTIONAL_ON_OPEN_WEBUI = {
    "normal",
    "create",
    "is_heavy",
    "lost_by",
    "while_held",
    "bulk",
    "marks_of",
    "moved",
    "returned",
    "remove",
}


def functions(side: Side) -> set[str]:
    """name(argument types) as their COMMENT ON FUNCTION has them."""
    text = "\n".join(render_sql(side).values())
    return set(re.findall(r"COMMENT ON FUNCTION user_bridge\.(\w+\([^)]*\))", text))


ENGINE = sorted(
    path.relative_to(TEMPLATES).as_posix()
    for path in (TEMPLATES / "engine").glob("*/*.sql.j2")
    if path.name != "dispatch.sql.j2"
)


@pytest.mark.parametrize("path", ENGINE)
def test_no_file_of_the_engine_names_a_type(path: str) -> None:
    assert _NAMED.findall((TEMPLATES / path).read_text(encoding="utf-8")) == []


def test_lines_of_sql_are_short() -> None:
    """ruff and yamllint see those of the other files."""
    for path in TEMPLATES.rglob("*.j2"):
        long = [line for line in path.read_text(encoding="utf-8").splitlines() if len(line) > 140]
        assert long == [], path


@pytest.mark.parametrize("line", ["t = 'user'", "'user ' || id", "LIKE '%\\_member'", "replace(t, '_key$', '')"])
def test_a_named_type_is_noticed(line: str) -> None:
    assert _NAMED.search(line)


@pytest.mark.parametrize("target", sorted({entity["target"] for entity in ENTITIES.values()} - {None}))
def test_a_target_answers_the_calls_that_the_registry_says_and_no_others(target: str) -> None:
    found = functions("openwebui")
    declared = {call for entity in ENTITIES.values() if entity["target"] == target for call in entity["openwebui"]}
    assert declared <= _OPTIONAL_ON_OPEN_WEBUI | {"options", "few"}
    signatures = {
        "normal": f"normal_{target}(jsonb)",
        "create": f"create_{target}(jsonb, jsonb)",
        "is_heavy": f"is_heavy_{target}(jsonb)",
        "lost_by": f"lost_by_{target}(jsonb)",
        "while_held": f"while_held_{target}(user_bridge.entity)",
        "bulk": f"bulk_{target}(text, jsonb)",
        "marks_of": f"marks_of_{target}(text, text[], text[])",
        "moved": f"moved_{target}(user_bridge.entity, text)",
        "returned": f"returned_{target}()",
        "remove": f"remove_{target}(user_bridge.entity)",
    }
    options = ", jsonb" if "options" in declared else ""
    assert f"apply_{target}(jsonb, user_bridge.entity{options})" in found
    assert f"state_of_{target}(user_bridge.entity[])" in found
    assert {call for call, signature in signatures.items() if signature in found} == declared - {"options", "few"}


def test_types_of_one_target_answer_the_same_calls() -> None:
    by_target: dict[str, list[list[str]]] = {}
    for entity in ENTITIES.values():
        by_target.setdefault(entity["target"], []).append(entity["openwebui"])
    for target, calls in by_target.items():
        assert all(each == calls[0] for each in calls), target


def test_only_what_can_be_removed_is_counted() -> None:
    for name, entity in ENTITIES.items():
        assert not entity["removed_as"] or "remove" in entity["openwebui"], name
