# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a playbook lists is easier to read in columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Callable

from ansible.errors import AnsibleFilterError

DOCUMENTATION = r"""
name: table
short_description: Dictionaries as the lines of a table
version_added: 1.0.0
description:
  - One line for each dictionary, in columns as wide as their widest value, below a line with the names of the columns.
  - What is missing or null is shown as a hyphen. Line breaks and other control characters become spaces.
positional: columns
options:
  _input:
    description:
      - The dictionaries.
    type: list
    elements: dict
    required: true
  columns:
    description:
      - The keys to show, in this order.
    type: list
    elements: str
    required: true
author:
  - llmops.user_bridge contributors (@llmops)
"""

EXAMPLES = r"""
- name: Show what was done
  ansible.builtin.debug:
    msg: "{{ bridge_audit.entries | llmops.user_bridge.table(['at', 'operation', 'entity_id', 'result']) }}"
"""

RETURN = r"""
_value:
  description: The lines, none where there is no dictionary.
  type: list
  elements: str
"""


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> list[str]:
    if isinstance(rows, (str, Mapping)) or not all(isinstance(row, Mapping) for row in rows):
        raise AnsibleFilterError("table: the value is not a list of dictionaries")
    if not rows:
        return []
    cells = [list(columns), *([_cell(row.get(column)) for column in columns] for row in rows)]
    widths = [max(len(line[place]) for line in cells) for place in range(len(columns))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in cells]


def _cell(value: Any) -> str:
    text = "-" if value is None or value == "" else str(value)
    return "".join(each if each.isprintable() else " " for each in text)


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"table": table}
