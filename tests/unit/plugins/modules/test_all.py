# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What all modules have in common."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.llmops.user_bridge.plugins.doc_fragments import (
    _listing,
    _litellm,
    _login,
    _openwebui_login,
    _program_roles,
    _settings,
)
from ansible_collections.llmops.user_bridge.plugins.module_utils import _types

ROOT = Path(__file__).parents[4]
# Documentation only: an action plugin does all, and needs no login.
ON_THE_CONTROLLER = {"bridge_report", "bridge_variables_info"}
# They ask a program, and no database.
OVER_HTTP = {"bridge_access_info", "bridge_models_info"}
ALL = sorted({path.stem for path in (ROOT / "plugins" / "modules").glob("[!_]*.py")} - ON_THE_CONTROLLER)
MODULES = sorted({*ALL} - OVER_HTTP)


def document(module: str, name: str) -> Any:
    source = (ROOT / "plugins" / "modules" / f"{module}.py").read_text(encoding="utf-8")
    return yaml.safe_load(source.split(f'{name} = r"""\n', 1)[1].split('\n"""', 1)[0])


def test_every_module_is_in_the_action_group() -> None:
    runtime = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text(encoding="utf-8"))
    assert sorted(runtime["action_groups"]["all"]) == MODULES


@pytest.mark.parametrize("module", ALL)
def test_documentation(module: str) -> None:
    documentation = document(module, "DOCUMENTATION")
    assert documentation["module"] == module and documentation["version_added"] == "1.0.0"
    # The options of a login are defaults of the whole group, which a module without them would refuse.
    grouped = {"llmops.user_bridge._login", "llmops.user_bridge._attributes.actiongroup"}
    fragments = set(documentation["extends_documentation_fragment"])
    assert fragments & grouped == (set() if module in OVER_HTTP else grouped)
    assert "llmops.user_bridge._attributes" in fragments
    if module.endswith("_info"):
        assert "llmops.user_bridge._attributes.info_module" in documentation["extends_documentation_fragment"]
    else:
        assert {name: item["support"] for name, item in documentation["attributes"].items()} == {
            "check_mode": "full",
            "diff_mode": "full",
            # What cannot be compared is written again.
            "idempotent": "partial" if module == "bridge_role" else "full",
        }


@pytest.mark.parametrize("module", ALL)
def test_examples_and_returns(module: str) -> None:
    for task in document(module, "EXAMPLES"):
        assert task["name"][0].isupper()
    assert all({"description", "returned", "type"} <= set(item) for item in document(module, "RETURN").values())


FRAGMENTS = {
    f"llmops.user_bridge.{module.__name__.rpartition('.')[2]}": module.ModuleDocFragment.DOCUMENTATION
    for module in (_listing, _litellm, _login, _openwebui_login, _program_roles, _settings)
}
# Options of the login are each exercised with every module, or named in test_modules_login.py, through one helper.
EVERYWHERE = ("test_modules_all.py", "test_modules_login.py", "modules_support.py")


def options_of(module: str) -> set[str]:
    """All of a module's options, those of its fragments and suboptions included; settings are declared elsewhere."""
    documentation = document(module, "DOCUMENTATION")
    found = set(documentation["options"])
    for option in documentation["options"].values():
        found |= set(option.get("suboptions", {}))
    for name in documentation["extends_documentation_fragment"]:
        found |= set(yaml.safe_load(FRAGMENTS.get(name, "options: {}"))["options"])
    return found


def test_types_of_entities_are_those_of_the_registry() -> None:
    registry = ROOT / "roles" / "triggers" / "templates" / "entities" / "registry.yml"
    entities = yaml.safe_load(registry.read_text(encoding="utf-8"))["entities"]
    mapped = {name: entity["mapping"] for name, entity in entities.items() if entity["mapping"]}
    assert sorted(entities) == _types.ENTITY_TYPES
    assert (sorted(mapped), sorted(set(mapped.values()))) == (_types.MAPPED_TYPES, _types.OPENWEBUI_TYPES)
    known = {
        "entity_types": _types.ENTITY_TYPES,
        "litellm_types": _types.MAPPED_TYPES,
        "openwebui_types": _types.OPENWEBUI_TYPES,
    }
    documented = [
        (name, option["choices"])
        for module in MODULES
        for name, option in document(module, "DOCUMENTATION")["options"].items()
        if name in known
    ]
    assert len(documented) == 4 and all(known[name] == choices for name, choices in documented)


@cache
def words(path: Path) -> frozenset[str]:
    """Everything that a test file passes by name: keys of dicts, and names of arguments."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Dict):
            found |= {key.value for key in node.keys if isinstance(key, ast.Constant) and isinstance(key.value, str)}
        elif isinstance(node, ast.Call):
            found |= {keyword.arg for keyword in node.keywords if keyword.arg}
    return frozenset(found)


@pytest.mark.parametrize("module", ALL)
def test_every_option_is_used_by_an_integration_test(module: str) -> None:
    files = [
        path
        for path in (ROOT / "tests" / "integration").glob("*.py")
        if path.name in EVERYWHERE or f'"{module}"' in path.read_text(encoding="utf-8")
    ]
    used = set().union(*(words(path) for path in files))
    assert sorted(options_of(module) - used) == []
