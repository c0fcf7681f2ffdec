# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Doc fragment for the roles whose functions touch the programs' tables.

This doc fragment is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  reader:
    description:
      - Role that owns the functions that read LiteLLM's tables.
    type: str
    default: user_bridge_reader
  writer:
    description:
      - Role that owns the functions that read and write Open WebUI's tables.
    type: str
    default: user_bridge_writer
"""
