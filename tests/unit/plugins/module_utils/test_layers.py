# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Imports between the modules' utilities go one way."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4] / "plugins" / "module_utils"
PREFIX = "ansible_collections.llmops.user_bridge.plugins."

# Each imports only what stands above it. The single files are what packages have in common.
ORDER = (
    "_errors",
    "_moments",
    "_names",
    "_remedies",
    "_types",
    "_version",
    "_http",
    "_models",
    "_access",
    "_pg",
    "_plain",
    "_secret",
    "_statements",
    "_verifier",
    "_role",
    "_causes",
    "_lock",
    "_session",
    "_bridge",
    "_listing",
    "_settings",
    "_ownership",
    "_catalog",
    "_target",
    "_sync",
    "_install",
    "_migration",
    "_takeover",
    "_info",
    "_preflight",
)
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): path
    for path in ROOT.rglob("*.py")
    if path.name != "__init__.py"
}


@cache
def imported(module: str) -> frozenset[str]:
    """The modules of the collection's module_utils that a module imports."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PREFIX):
            assert node.module and node.module.startswith(f"{PREFIX}module_utils"), f"{module} imports {node.module}"
            base = node.module.removeprefix(f"{PREFIX}module_utils").lstrip(".")
            names = {f"{base}.{alias.name}".lstrip(".") for alias in node.names}
            found |= {name if name in MODULES else base for name in names}
    assert found <= MODULES.keys()
    return frozenset(found)


def reachable(module: str, path: tuple[str, ...] = ()) -> set[str]:
    """Everything that a module imports, also by way of others; a cycle is an error."""
    assert module not in path, " → ".join((*path, module))
    return {module}.union(*(reachable(each, (*path, module)) for each in imported(module)))


def test_the_order_names_every_package() -> None:
    assert sorted(ORDER) == sorted({module.split(".")[0] for module in MODULES})
    assert all((path / "__init__.py").exists() for path in ROOT.iterdir() if path.is_dir() and path.name[:2] != "__")


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_go_one_way(module: str) -> None:
    package = module.split(".")[0]
    known = set(ORDER[: ORDER.index(package) + 1])
    assert {name.split(".")[0] for name in imported(module)} <= known
    assert reachable(module)


def test_what_only_looks_does_not_import_what_changes() -> None:
    writers = {"_install.apply", "_install.remove", "_target.server", "_sync.drain", "_takeover.run"}
    assert writers < MODULES.keys() and not writers & reachable("_info.gather")
