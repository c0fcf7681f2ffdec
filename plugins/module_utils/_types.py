# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The types of entities.

Written by "make generate" from roles/triggers/templates/entities/registry.yml.
This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

ENTITY_TYPES = [
    "api_key",
    "model",
    "model_set",
    "organization",
    "organization_member",
    "team",
    "team_member",
    "team_models",
    "user",
    "user_key",
    "user_models",
]
# Those that sync_mapping has rows of, and what they are mapped to in Open WebUI.
MAPPED_TYPES = [
    "api_key",
    "model",
    "model_set",
    "organization",
    "team",
    "user",
    "user_key",
]
OPENWEBUI_TYPES = [
    "group",
    "model",
    "user",
    "user_api_key",
]
