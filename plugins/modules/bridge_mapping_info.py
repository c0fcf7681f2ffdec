#!/usr/bin/python
# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: bridge_mapping_info
short_description: List which Open WebUI row stands for which LiteLLM entity
version_added: 1.0.0
author:
  - llmops.user_bridge contributors (@llmops)
description:
  - Lists entries of C(user_bridge.sync_mapping) in LiteLLM's database, filtered, ordered and in pages.
  - Every filter that is given must match. A filter that is an empty list matches nothing.
  - Needs a login that may read that table, which only superusers and members of the bridge's owner role may unless
    somebody granted it to others.
options:
  litellm_types:
    description:
      - Only LiteLLM's entities of these types.
    type: list
    elements: str
    choices: [api_key, model, model_set, organization, team, user, user_key]
  litellm_ids:
    description:
      - Only the entities with these ids in LiteLLM. An API key's id is the JSON array of its user's id and a
        fingerprint.
    type: list
    elements: str
  openwebui_types:
    description:
      - Only entries for Open WebUI's rows of these types.
    type: list
    elements: str
    choices: [group, model, user, user_api_key]
  openwebui_ids:
    description:
      - Only entries for the rows with these ids in Open WebUI.
    type: list
    elements: str
  since:
    description:
      - Only entries that were changed from this time on. A time in ISO 8601, in UTC unless it names another offset, or
        an age such as V(90s), V(30m), V(24h), V(7d) or V(2w), which the server counts back from its own clock.
  until:
    description:
      - Only entries that were last changed up to and including this time. Takes what O(since) takes.
  text:
    description:
      - Only entries that contain this text in one of the ids or the data, in upper or lower case. It is not a pattern.
  order:
    description:
      - Whether the entries that were made last or first come first.
extends_documentation_fragment:
  - llmops.user_bridge._login
  - llmops.user_bridge._listing
  - llmops.user_bridge._attributes
  - llmops.user_bridge._attributes.info_module
  - llmops.user_bridge._attributes.actiongroup
seealso:
  - module: llmops.user_bridge.bridge_info
  - module: llmops.user_bridge.bridge_audit_info
"""

EXAMPLES = r"""
- name: Which Open WebUI account stands for a LiteLLM user
  llmops.user_bridge.bridge_mapping_info:
    login_host: 127.0.0.1
    login_user: postgres
    login_password: "{{ bridge_login_password }}"
    login_db: litellm
    litellm_types: [user]
    litellm_ids: [u1]
  register: bridge_account

- name: Which groups of Open WebUI were changed within the last hour
  llmops.user_bridge.bridge_mapping_info:
    login_unix_socket: /var/run/postgresql
    login_db: litellm
    openwebui_types: [group]
    since: 1h
"""

RETURN = r"""
entries:
  description: The entries of this page.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: Number of the entry. Later ones are higher.
      type: int
      sample: 12
    litellm_type:
      description: Type of LiteLLM's entity.
      type: str
      sample: user
    litellm_id:
      description: Id of LiteLLM's entity.
      type: str
      sample: u1
    openwebui_type:
      description: Type of Open WebUI's row.
      type: str
      sample: user
    openwebui_id:
      description: Id of Open WebUI's row.
      type: str
      sample: usr_u1
    data:
      description: What was delivered last. Holds no secrets.
      type: dict
      sample: {email: ann@example.com, name: Ann, role: user}
    created_at:
      description: When the entry was made, in UTC, as ISO 8601.
      type: str
      sample: '2026-11-23T08:00:00.123456Z'
    updated_at:
      description: When the entry was last changed, in UTC, as ISO 8601.
      type: str
      sample: '2026-11-23T08:00:00.123456Z'
total:
  description: Number of entries that match, on all pages.
  returned: success
  type: int
  sample: 120
next_after_id:
  description: What to give as O(after_id) for the next page, null on the last one.
  returned: success
  type: int
  sample: 21
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.llmops.user_bridge.plugins.module_utils import _listing, _pg
from ansible_collections.llmops.user_bridge.plugins.module_utils._types import MAPPED_TYPES, OPENWEBUI_TYPES

LISTING = _listing.Listing(
    table="user_bridge.sync_mapping",
    columns="r.id, r.litellm_type, r.litellm_id, r.openwebui_type, r.openwebui_id, r.sync_data AS data,"
    f" {_listing.utc('r.created_at')} AS created_at, {_listing.utc('r.updated_at')} AS updated_at",
    conditions={
        "litellm_types": "r.litellm_type = ANY (%(litellm_types)s::text[])",
        "litellm_ids": "r.litellm_id = ANY (%(litellm_ids)s::text[])",
        "openwebui_types": "r.openwebui_type = ANY (%(openwebui_types)s::text[])",
        "openwebui_ids": "r.openwebui_id = ANY (%(openwebui_ids)s::text[])",
        "since": f"r.updated_at >= {_listing.moment('since')}",
        "until": f"r.updated_at <= {_listing.moment('until')}",
        "text": _listing.contains("r.litellm_id", "r.openwebui_id", "r.sync_data::text"),
    },
)


def action(module: AnsibleModule) -> dict[str, Any]:
    return {"changed": False, **_listing.fetch(LISTING, module.params)}


def main() -> None:
    spec = {**_pg.argument_spec(), **_listing.SPEC}
    spec.update(
        litellm_types={"type": "list", "elements": "str", "choices": MAPPED_TYPES},
        litellm_ids={"type": "list", "elements": "str"},
        openwebui_types={"type": "list", "elements": "str", "choices": OPENWEBUI_TYPES},
        openwebui_ids={"type": "list", "elements": "str"},
    )
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    _pg.run(module, action)


if __name__ == "__main__":
    main()
