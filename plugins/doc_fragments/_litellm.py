# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Doc fragment for modules that ask LiteLLM's proxy over HTTP.

This doc fragment is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  litellm_url:
    description:
      - Address of LiteLLM's proxy, without a path like C(/v1).
    type: str
    required: true
  litellm_key:
    description:
      - Virtual key of Open WebUI's connection, or another one that may list the same models. Never LiteLLM's master
        key.
    type: str
    required: true
  litellm_ca_path:
    description:
      - File on the host with certificates of authorities, for an address with C(https). Without one, those of the
        system count.
    type: str
    default: ""
"""
