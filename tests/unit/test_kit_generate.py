# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A setting is declared once, and so are the types; what is written from the declarations is what the checkout has."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from kit import bridge, entity_types, generate, letters, settings
from kit.common import REPO

GENERATED = generate.generated()
TOY = """
settings:
  greeting: {type: str, choices: [hello, "no"], default: hello, version_added: 9.9.9, description: What S(limit) says.}
  limit:
    {type: int, minimum: 0, default: 3, variable: group, key: low, roles: [triggers, sync_user], openwebui: true,
     description: A number.}
  share: {type: float, minimum: 0.5, maximum: 1.5, default: 1, variable: group, key: high, description: Another.}
  mark: {type: str, pattern: "[a-z]+", pattern_text: letters, unequal_to: greeting, default: it's, description: A mark.}
  password_rounds: {type: int, minimum: 1, default: 2, shapes_rows: true, description: More.}
  extra: {type: dict, default: {a: b}, shapes_rows: true, description: Anything.}
dicts:
  group: Two of them.
"""


@pytest.fixture
def toy() -> settings.Declaration:
    return settings.read(TOY)


@pytest.mark.parametrize("path", GENERATED, ids=lambda path: str(path.relative_to(REPO)))
def test_generated_files_are_fresh(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == GENERATED[path], "run: make generate"


@pytest.mark.parametrize("path", generate.readmes(), ids=lambda path: str(path.relative_to(REPO)))
def test_readme_tables_are_fresh(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == generate.readmes()[path], "run: make generate"


def test_an_edit_by_hand_is_undone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copies = {path: tmp_path / path.relative_to(REPO) for path in GENERATED}
    for path, copy in copies.items():
        copy.parent.mkdir(parents=True, exist_ok=True)
        text = path.read_text(encoding="utf-8")
        marked = r"(?m)^.*target_timeout_ms.*\n|(?<=choices: \[)api_key, |^ +\"api_key\",\n| c39[0-9]|^.*pg_policy.*\n"
        edited = re.sub(marked, "", text)
        assert edited != text
        copy.write_text(edited, encoding="utf-8")
    monkeypatch.setattr(generate, "REPO", tmp_path)
    assert generate.generated() == {copy: GENERATED[path] for path, copy in copies.items()}


def test_a_setting_that_is_new_says_since_when() -> None:
    """Without version_added it would be missing in the table of an installed first version."""
    sql = (REPO / "tests" / "integration" / "first_version" / "litellm.sql").read_text(encoding="utf-8")
    table = sql.partition("CREATE TABLE IF NOT EXISTS user_bridge.settings (")[2].partition(");")[0]
    columns = re.findall(r"(?m)^    (\w+) \w+ NOT NULL DEFAULT", table)
    declared = settings.declared().settings
    assert [name for name, setting in declared.items() if "version_added" not in setting] == columns[1:]
    assert columns[0] == "paused"


def test_marks_stand_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generate, "REPO", tmp_path)
    path = tmp_path / "main.yml"
    path.write_text("a: 1\n# BEGIN settings: here\nold: 2\n# END settings\nb: 3\n", encoding="utf-8")
    assert generate._placed(path, "new: 4\n") == "a: 1\n# BEGIN settings: here\nnew: 4\n# END settings\nb: 3\n"
    path.write_text("a: 1\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"main.yml has 0 regions"):
        generate._placed(path, "new: 4\n")


def test_a_misspelt_attribute_is_an_error() -> None:
    with pytest.raises(ValueError, match="setting greeting: unknown attribute choises"):
        settings.read(TOY.replace("choices:", "choises:"))


def test_options_of_a_role(toy: settings.Declaration) -> None:
    assert yaml.safe_load(settings.argument_spec(toy, "sync_user")) == {
        "sync_user_group": {
            "description": "Two of them.",
            "type": "dict",
            "options": {"low": {"description": "A number. At least 0.", "type": "int", "required": True}},
        }
    }
    options = yaml.safe_load(settings.argument_spec(toy, "bridge"))
    assert options["bridge_greeting"] == {
        "description": "What O(bridge_group.low) says.",
        "type": "str",
        "choices": ["hello", "no"],
        "default": "hello",
    }
    assert options["bridge_group"]["default"] == {"low": 3, "high": 1}
    assert options["bridge_group"]["options"]["high"]["description"] == "Another. From 0.5 to 1.5."
    assert options["bridge_mark"]["description"] == "A mark. Must be letters."


def test_defaults_of_a_role(toy: settings.Declaration) -> None:
    assert yaml.safe_load(settings.role_defaults(toy, "bridge")) == {
        "bridge_greeting": "hello",
        "bridge_group": {"low": 3, "high": 1},
        "bridge_mark": "it's",
        "bridge_password_rounds": 2,
        "bridge_extra": {"a": "b"},
    }
    assert yaml.safe_load(settings.role_defaults(toy, "sync_user")) == {"sync_user_group": "{{ bridge_group }}"}
    assert yaml.safe_load(settings.role_values(toy))["__triggers_settings"] == {
        "greeting": "{{ triggers_greeting }}",
        "limit": "{{ (triggers_group | llmops.user_bridge.parsed('dict')).low }}",
        "share": "{{ (triggers_group | llmops.user_bridge.parsed('dict')).high }}",
        "mark": "{{ triggers_mark }}",
        "password_rounds": "{{ triggers_password_rounds }}",
        "extra": "{{ triggers_extra | llmops.user_bridge.parsed('dict') }}",
    }


def test_the_module(toy: settings.Declaration) -> None:
    found: dict[str, Any] = {}
    exec(compile(settings.module_spec(toy), "declared", "exec"), found)
    assert found["SPEC"] == {
        "greeting": {"type": "str", "choices": ["hello", "no"]},
        "limit": {"type": "int"},
        "share": {"type": "float"},
        "mark": {"type": "str"},
        "password_rounds": {"type": "int", "no_log": False},
        "extra": {"type": "dict"},
    }
    assert found["RANGES"] == {"limit": (0, 2**31 - 1), "share": (0.5, 1.5), "password_rounds": (1, 2**31 - 1)}
    assert found["PATTERNS"] == {"mark": ("[a-z]+", "letters")} and found["UNEQUAL"] == {"mark": "greeting"}
    assert found["VARIABLES"]["limit"] == "bridge_group.low" and found["VARIABLES"]["mark"] == "bridge_mark"
    exec(compile(settings.doc_fragment(toy), "fragment", "exec"), found)
    documented = yaml.safe_load(found["ModuleDocFragment"].DOCUMENTATION)["options"]["settings"]["suboptions"]
    assert documented["greeting"] == {
        "description": "What O(settings.limit) says.",
        "type": "str",
        "choices": ["hello", "no"],
        "version_added": "9.9.9",
    }


def test_the_table(toy: settings.Declaration, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bridge, "SETTINGS", toy.settings)
    rendered = bridge.render_sql("litellm")
    table = rendered["engine/litellm/state.sql.j2"]
    columns = [
        "greeting text NOT NULL DEFAULT 'hello' CHECK (greeting IN ('hello', 'no'))",
        "limit integer NOT NULL DEFAULT 3 CHECK (limit >= 0)",
        "share numeric NOT NULL DEFAULT 1 CHECK (share BETWEEN 0.5 AND 1.5)",
        "mark text NOT NULL DEFAULT 'it''s' CHECK (mark <> '' AND mark <> greeting)",
        "password_rounds integer NOT NULL DEFAULT 2 CHECK (password_rounds >= 1)",
        """extra jsonb NOT NULL DEFAULT '{"a": "b"}' CHECK (jsonb_typeof(extra) = 'object')""",
    ]
    # Where it is new, too, it comes last.
    assert ",\n    ".join(columns[1:]) + "\n);" in table
    assert re.findall(r"ALTER TABLE user_bridge\.settings .*;", table) == [
        f"ALTER TABLE user_bridge.settings ADD COLUMN IF NOT EXISTS {columns[0]};"
    ]
    own = bridge.render_sql("openwebui")["engine/openwebui/state.sql.j2"]
    assert f"CHECK (singleton),\n    {columns[1]}\n);" in own
    functions = rendered["engine/litellm/settings.sql.j2"]
    assert re.findall(r"^ +s\.(\w+)", functions, re.MULTILINE) == ["password_rounds", "extra"]


def test_choices_of_types() -> None:
    text = """
  entity_types:
    description:
      - Only these.
    type: list
    choices: [old,
      older]
  action:
    choices: [drain]
    options:
      bridge_audit_types: &types
        description: Only these.
        choices: [old]
        default: []
"""
    types = {"ENTITY_TYPES": ["long_name_" + "x" * 50, "other_" + "y" * 50], "MAPPED_TYPES": [], "OPENWEBUI_TYPES": []}
    written = entity_types.with_choices(text, types)
    assert written and max(map(len, written.splitlines())) < 120
    options = yaml.safe_load(written)
    assert options["action"]["options"]["bridge_audit_types"] == {
        "description": "Only these.",
        "choices": types["ENTITY_TYPES"],
        "default": [],
    }
    assert options["entity_types"]["choices"] == types["ENTITY_TYPES"] and options["action"]["choices"] == ["drain"]
    assert entity_types.with_choices("  action:\n    choices: [drain]\n", types) is None


def test_letters_that_lower_casing_changes() -> None:
    capitals, blanks = letters.capitals(), letters.blanks()
    # In this Python's Unicode, and newer ones of later versions.
    assert {each for each in map(chr, range(0x80, 0x110000)) if each.lower() != each} <= set(capitals)
    assert {"\u0130", "\u212a", "\u01c5", "\u24b6", "\U00010400", "\ua7dc", "\U00010d50"} <= set(capitals)
    assert not {"\u0131", "\xdf", "\xfc", "\u03c2", "\u5f20", "A", "a"} & set(capitals)
    assert set("\x01\t\n \x7f\x85\xa0\u2003\u2028\u3000") <= set(blanks)
    assert not set("a@.\xfc\u200d") & set(blanks)


def test_letters_are_told_apart_by_their_spaces() -> None:
    assert letters._literal(["\xc0", "\u0100", "\u212a"]) == "    ' c380 c480 e284aa '"
