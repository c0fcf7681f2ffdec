# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A play without hosts is green, although nothing was done."""

from __future__ import annotations

DOCUMENTATION = r"""
name: hosts
short_description: A pattern of hosts that matches at least one
version_added: 1.0.0
description:
  - Returns the pattern as it is, for the C(hosts) of a play. Fails where no host of the inventory matches it, or none
    that C(--limit) leaves. With C(--syntax-check), as linters have it, nobody need have the inventory.
options:
  _terms:
    description: The pattern, one only.
    type: list
    elements: str
    required: true
author:
  - llmops.user_bridge contributors (@llmops)
"""

EXAMPLES = r"""
- name: Bridge LiteLLM's users to Open WebUI
  hosts: "{{ lookup('llmops.user_bridge.hosts', 'databases') }}"
  roles:
    - role: llmops.user_bridge.bridge
"""

RETURN = r"""
_raw:
  description: The pattern.
  type: list
  elements: str
"""

from typing import Any

from ansible import context
from ansible.errors import AnsibleLookupError
from ansible.inventory.manager import InventoryManager
from ansible.plugins.lookup import LookupBase


class LookupModule(LookupBase):
    """Asks an inventory that has the groups and hosts of the play's."""

    def run(self, terms: list[Any], variables: dict[str, Any] | None = None, **dummy: Any) -> list[Any]:
        known = variables or {}
        pattern, limit = terms[0], known.get("ansible_limit")
        inventory = InventoryManager(self._loader, parse=False)
        for group, hosts in known.get("groups", {}).items():
            inventory.add_group(group)
            for host in hosts:
                inventory.add_host(host, group=group)
        inventory.subset(limit)
        if not context.CLIARGS.get("syntax") and not inventory.get_hosts(pattern):
            left = f" that --limit {limit} leaves" if limit else ""
            raise AnsibleLookupError(
                f"No host{left} matches {pattern!r}. Set bridge_hosts to hosts or a group of the inventory, for "
                f"example with -e bridge_hosts={limit or 'databases'}; without it the play runs on localhost."
            )
        return [pattern]
