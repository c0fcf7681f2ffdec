# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Defaults and argument specs say the same about every variable."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.llmops.user_bridge.plugins.plugin_utils._variables import is_secret

from kit import role_readmes as readmes

ROOT = Path(__file__).resolve().parents[2]
ROLES = sorted(path.parent.parent.name for path in (ROOT / "roles").glob("*/meta/argument_specs.yml"))
# Composed of other variables, not set by users, so not in the spec.
COMPOSED = {"bridge_litellm", "bridge_openwebui"}


def variable_names(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w.])bridge_[a-z_]+\b", text))


def test_every_role_is_covered() -> None:
    assert sorted(path.name for path in (ROOT / "roles").iterdir()) == ROLES
    assert ROLES == ["bridge", "maintenance", "migration", "monitoring", "postgres", "sync_user", "triggers"]


@pytest.mark.parametrize("role", ROLES)
def test_spec_and_defaults_have_the_same_variables(role: str) -> None:
    optional = {"bridge_sync_password", "bridge_postgres_dir"} if role == "bridge" else set()
    assert set(readmes.options(role)) - optional == set(readmes.load(role, "defaults")) - COMPOSED


@pytest.mark.parametrize("role", ROLES)
def test_spec_and_defaults_have_the_same_values(role: str) -> None:
    """A spec can hold literal defaults only; a default that is a template has none in the spec."""
    defaults = readmes.load(role, "defaults")
    literal = {name: value for name, value in defaults.items() if "{{" not in json.dumps(value)}
    assert {name: option["default"] for name, option in readmes.options(role).items() if "default" in option} == literal


@pytest.mark.parametrize("role", [role for role in ROLES if role != "bridge"])
def test_defaults_come_from_the_role_bridge(role: str) -> None:
    """One fact in one place: a role's variable is a bridge_* variable, with the same type, choices and secrecy."""
    shared = {**readmes.options("bridge"), **{name: {"type": "dict"} for name in COMPOSED}}
    options = readmes.options(role)
    for name, default in readmes.load(role, "defaults").items():
        source = readmes.reference(default)
        assert source in shared, name
        for part in ("type", "choices", "options"):
            assert options[name].get(part) == shared[source].get(part), (name, part)


def test_no_option_of_a_role_has_no_log() -> None:
    """ansible-core 2.18 cannot validate a vaulted value then; no result of a validation has a value in it."""
    for path in ROOT.glob("roles/*/meta/argument_specs.yml"):
        assert "no_log" not in path.read_text(encoding="utf-8"), path


def test_a_secret_stays_text() -> None:
    """With jinja2_native, which ansible-core 2.18 has as a choice, a template makes a number of digits."""
    for role in ROLES:
        for part in ("defaults", "vars"):
            if (ROOT / "roles" / role / part / "main.yml").exists():
                for name, value in leaves(readmes.load(role, part)):
                    if isinstance(value, str) and "{{" in value and is_secret(name):
                        assert value.endswith("| string }}") or "__bridge_embedded_password if" in value, (role, name)


def leaves(values: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Names and values, those of dictionaries too."""
    for name, value in values.items():
        yield from leaves(value) if isinstance(value, dict) else [(name, value)]


def test_messages_name_variables_that_exist() -> None:
    """Nobody can set a variable that a message or a README has made up."""
    known = {*readmes.load("bridge", "defaults"), "bridge_sync_password", "bridge_postgres_dir", "bridge_hosts"}
    modules = {path.stem for path in (ROOT / "plugins" / "modules").glob("bridge_*.py")}
    modules |= {path.stem for path in (ROOT / "playbooks").glob("bridge_*.yml")}
    tags = {f"bridge_{role}" for role in ROLES}
    prefixes = {"bridge_", "bridge_login_", "bridge_openwebui_login_"}
    for path in [*ROOT.glob("roles/*/README.md"), *ROOT.glob("roles/*/t*/*.*"), ROOT / "README.md"]:
        unknown = variable_names(path.read_text(encoding="utf-8")) - known - modules - tags - prefixes
        assert not unknown, (path, unknown)


def test_tags_are_prefixed_and_documented() -> None:
    """Each part of the bridge has its tag, documented; "always" is for what no choice of tags may skip."""
    names = ("postgres", "sync_user", "triggers", "migration", "maintenance", "monitoring")
    parts = [f"bridge_{role}" for role in names]
    main = yaml.safe_load((ROOT / "roles" / "bridge" / "tasks" / "main.yml").read_text(encoding="utf-8"))
    named = [tag for task in main for text in task["tags"] for tag in re.findall(r"\bbridge_\w+", text)]
    assert set(named) == set(parts)
    # What has several would be left out with any of them.
    assert all(len(task["tags"]) == 1 for task in main)
    assert all("difference(ansible_skip_tags)" in text for task in main for text in task["tags"] if "," in text)
    for page in ("roles/bridge/README.md", "examples/site.yml"):
        text = (ROOT / page).read_text(encoding="utf-8")
        assert [tag for tag in parts if f"{tag} (" not in text and f"`{tag}` (" not in text] == [], page
    for path in ROOT.glob("roles/*/*s/*.yml"):
        if path.parent.name in ("tasks", "handlers") and path.parent.parent.name + path.stem != "bridgemain":
            used = re.findall(r"tags: (.*?)[,}]*$", path.read_text(encoding="utf-8"), re.MULTILINE)
            assert set(used) <= {"[always]"}, path


def test_the_version_is_one() -> None:
    galaxy = yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))
    assert readmes.load("bridge", "vars")["__bridge_version"] == galaxy["version"]


def test_action_group_has_every_module() -> None:
    runtime = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text(encoding="utf-8"))
    modules = {path.stem for path in (ROOT / "plugins/modules").glob("*.py")}
    without_login = {"bridge_report", "bridge_variables_info", "bridge_models_info", "bridge_access_info"}
    assert runtime["action_groups"]["all"] == sorted(modules - without_login)
