# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Surveys and command lines hand on text where a role wants a list or a dictionary."""

from __future__ import annotations

from typing import Any, Callable

from ansible.errors import AnsibleFilterError
from ansible_collections.llmops.user_bridge.plugins.plugin_utils import _variables

DOCUMENTATION = r"""
name: parsed
short_description: A value, or the text of one, as a list or dictionary
version_added: 1.0.0
description:
  - Reads text as Ansible's modules read their options, so that a variable can come from a survey or from C(-e).
positional: kind
options:
  _input:
    description:
      - A list or dictionary, or text such as C(a,b), C(["a", "b"]), C(name=value,name=value) or JSON.
    type: raw
    required: true
  kind:
    description: What to make of it.
    type: str
    choices: [dict, list]
    required: true
author:
  - llmops.user_bridge contributors (@llmops)
"""

EXAMPLES = r"""
- name: Show the addresses one by one
  ansible.builtin.debug:
    msg: "{{ '10.0.0.5,10.0.0.6' | llmops.user_bridge.parsed('list') }}"
"""

RETURN = r"""
_value:
  description: The list or dictionary.
  type: raw
"""


def parsed(value: Any, kind: str) -> Any:
    try:
        return _variables.parsed(value, kind)
    except ValueError:
        raise AnsibleFilterError(f"parsed: the value is not a {kind}, nor the text of one") from None


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"parsed": parsed}
