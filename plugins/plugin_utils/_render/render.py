# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Renders the SQL of one side from the templates of the role triggers.

By Jinja itself: Ansible's own lookup prepares all variables of the play for each file, which took three times as long.

This plugin_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
from ansible.module_utils.common.yaml import yaml_load


def declarations(templates: Path) -> dict[str, Any]:
    """The entities and the settings, which every template can ask for."""
    return {
        "registry": _read(templates / "entities" / "registry.yml"),
        "settings": _read(templates / "settings.yml")["settings"],
    }


def paths(templates: Path, registry: Mapping[str, Any], side: str) -> list[str]:
    """In the order of installation: tables and types first, triggers on the programs' tables last."""
    first, last = f"engine/{side}/state.sql.j2", f"engine/{side}/triggers.sql.j2"
    folders = [f"entities/{name}/{side}" for name, sides in registry["folders"].items() if side in sides]
    found = [
        path.relative_to(templates).as_posix()
        for folder in (f"engine/{side}", *folders)
        for path in (templates / folder).glob("*.sql.j2")
    ]
    return sorted(found, key=lambda path: (path != first, path == last, path))


def render(templates: Path, side: str, variables: Mapping[str, Any]) -> dict[str, str]:
    """Path below the templates to SQL. A variable that is not there is an error."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
    )
    return {
        path: environment.get_template(path).render(variables) for path in paths(templates, variables["registry"], side)
    }


def _read(path: Path) -> Any:
    return yaml_load(path.read_text(encoding="utf-8"))
