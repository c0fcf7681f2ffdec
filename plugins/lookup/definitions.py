# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The bridge's SQL for bridge_install."""

from __future__ import annotations

DOCUMENTATION = r"""
name: definitions
short_description: The SQL of one side of the bridge
version_added: 1.0.0
description:
  - Renders the SQL of the role P(llmops.user_bridge.triggers#role), file by file, in the order in which
    M(llmops.user_bridge.bridge_install) applies it.
options:
  _terms:
    description: V(litellm) or V(openwebui), one only.
    type: list
    elements: str
    required: true
  names:
    description:
      - What the SQL names differently on each server, that is roles and the schemas of extensions. The role's
        C(vars/main.yml) has them all.
    type: dict
    required: true
author:
  - llmops.user_bridge contributors (@llmops)
"""

EXAMPLES = r"""
- name: Install the side of Open WebUI
  llmops.user_bridge.bridge_install:
    side: openwebui
    login_db: openwebui
    version: 1.0.0
    definitions: "{{ query('llmops.user_bridge.definitions', 'openwebui', names=__triggers_names) }}"
"""

RETURN = r"""
_raw:
  description: The files, as the option O(llmops.user_bridge.bridge_install#module:definitions) takes them.
  type: list
  elements: dict
  contains:
    name:
      description: The path of the template.
      type: str
    sql:
      description: What it is with these names.
      type: str
"""

from pathlib import Path
from typing import Any

from ansible.plugins.lookup import LookupBase
from ansible_collections.llmops.user_bridge.plugins.plugin_utils._render.render import declarations, render

_TEMPLATES = Path(__file__).parents[2] / "roles" / "triggers" / "templates"


class LookupModule(LookupBase):
    """Renders without the variables of the play."""

    def run(self, terms: list[Any], variables: dict[str, Any] | None = None, **options: Any) -> list[Any]:
        # ansible-core marks each text with where it came from, which every use of it would look at.
        names = {name: str(value) for name, value in options.get("names", {}).items()}
        rendered = render(_TEMPLATES, str(terms[0]), {**declarations(_TEMPLATES), **names})
        return [{"name": path, "sql": text} for path, text in rendered.items()]
