# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write what follows from settings.yml, registry.yml and Unicode into roles and modules, and the READMEs' tables.

Usage: python -m kit.generate
"""

from __future__ import annotations

import re
from pathlib import Path

from kit import causes, entity_types, letters, proof_query, role_readmes, settings
from kit.common import REPO, say

_REGION = re.compile(r"(?ms)^(?P<begin> *# BEGIN settings\b[^\n]*\n).*?(?=^ *# END settings$)")


def generated() -> dict[Path, str]:
    """Each file that is written from a declaration, whole or in part, with its text as it should be."""
    declaration = settings.declared()
    plugins, roles = REPO / "plugins", REPO / "roles"
    texts = {
        plugins / "doc_fragments" / "_settings.py": settings.doc_fragment(declaration),
        plugins / "module_utils" / "_settings" / "declared.py": settings.module_spec(declaration),
        roles / "triggers" / "vars" / "main.yml": settings.role_values(declaration),
    }
    for role in settings.ROLES:
        texts[roles / role / "defaults" / "main.yml"] = settings.role_defaults(declaration, role)
        texts[roles / role / "meta" / "argument_specs.yml"] = settings.argument_spec(declaration, role)
    placed = {path: _placed(path, text) if path.suffix == ".yml" else text for path, text in texts.items()}
    types = entity_types.of_registry()
    modules = {path: path.read_text(encoding="utf-8") for path in (plugins / "modules").glob("*.py")}
    bridge = roles / "bridge" / "meta" / "argument_specs.yml"
    documented = {**modules, bridge: placed[bridge]}
    choices = {path: entity_types.with_choices(text, types) for path, text in documented.items()}
    return {
        **placed,
        plugins / "module_utils" / "_types.py": entity_types.module(types),
        roles / "triggers" / "templates" / "entities" / "user" / "litellm" / "letters.sql.j2": letters.template(),
        plugins / "module_utils" / "_plain" / "query.py": proof_query.module(),
        **{path: text for path, text in choices.items() if text is not None},
    }


def readmes() -> dict[Path, str]:
    """Pages with tables: the roles' READMEs show what generated() has written, another one causes and remedies."""
    roles = {path: role_readmes.readme(path.parent.name) for path in sorted(role_readmes.ROLES.glob("*/README.md"))}
    return {**roles, causes.PAGE: causes.page()}


def _placed(path: Path, text: str) -> str:
    """The file with this text between its marks."""
    written, count = _REGION.subn(lambda match: match["begin"] + text, path.read_text(encoding="utf-8"))
    if count != 1:
        raise ValueError(f"{path.relative_to(REPO)} has {count} regions marked settings, not one")
    return written


def main() -> None:
    for texts in (generated, readmes):
        for path, text in texts().items():
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                say(f"  {path.relative_to(REPO)}")
                path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
