# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What all modules have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[4]
MODULES = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("[!_]*.py"))


def document(module: str, name: str) -> Any:
    source = (ROOT / "plugins" / "modules" / f"{module}.py").read_text(encoding="utf-8")
    return yaml.safe_load(source.split(f'{name} = r"""\n', 1)[1].split('\n"""', 1)[0])


def test_every_module_is_in_the_action_group() -> None:
    runtime = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text(encoding="utf-8"))
    assert sorted(runtime["action_groups"]["all"]) == MODULES


@pytest.mark.parametrize("module", MODULES)
def test_documentation(module: str) -> None:
    documentation = document(module, "DOCUMENTATION")
    assert documentation["module"] == module and documentation["version_added"] == "1.0.0"
    assert set(documentation["extends_documentation_fragment"]) >= {
        "llmops.user_bridge._login",
        "llmops.user_bridge._attributes",
        "llmops.user_bridge._attributes.actiongroup",
    }
    if module.endswith("_info"):
        assert "llmops.user_bridge._attributes.info_module" in documentation["extends_documentation_fragment"]
    else:
        assert {name: item["support"] for name, item in documentation["attributes"].items()} == {
            "check_mode": "full",
            "diff_mode": "full",
            "idempotent": "full",
        }


@pytest.mark.parametrize("module", MODULES)
def test_examples_and_returns(module: str) -> None:
    for task in document(module, "EXAMPLES"):
        assert task["name"][0].isupper()
    assert all({"description", "returned", "type"} <= set(item) for item in document(module, "RETURN").values())
