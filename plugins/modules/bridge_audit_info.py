#!/usr/bin/python
# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: bridge_audit_info
short_description: List what the user bridge did
version_added: 1.0.0
author:
  - llmops.user_bridge contributors (@llmops)
description:
  - Lists entries of C(user_bridge.sync_audit) in LiteLLM's database, filtered, ordered and in pages.
  - Every filter that is given must match. A filter that is an empty list matches nothing.
  - Needs a login that may read that table, which only superusers and members of the bridge's owner role may unless
    somebody granted it to others.
options:
  entity_types:
    description:
      - Only operations on entities of these types. Memberships of organizations and of teams are the same operations.
      - Needs a login that may execute C(user_bridge.operation).
    type: list
    elements: str
    choices: [api_key, model, model_set, organization, organization_member, team, team_member, team_models, user,
              user_key, user_models]
  entity_ids:
    description:
      - Only operations on the entities with these ids in LiteLLM. A membership's id is the JSON array of the id of the
        organization or team and the id of the user, for example V(["o1", "u1"]).
    type: list
    elements: str
  operations:
    description:
      - Only these operations, for example V(SYNC_USER) or V(DELETE_ORG).
    type: list
    elements: str
  results:
    description:
      - Only these results.
    type: list
    elements: str
    choices: [SUCCESS, FAILED, SKIPPED, WARNING]
  text:
    description:
      - Only entries that contain this text in the id, the message or the data, in upper or lower case. It is not a
        pattern.
extends_documentation_fragment:
  - llmops.user_bridge._login
  - llmops.user_bridge._listing
  - llmops.user_bridge._attributes
  - llmops.user_bridge._attributes.info_module
  - llmops.user_bridge._attributes.actiongroup
seealso:
  - module: llmops.user_bridge.bridge_info
  - module: llmops.user_bridge.bridge_mapping_info
"""

EXAMPLES = r"""
- name: What went wrong with users since yesterday
  llmops.user_bridge.bridge_audit_info:
    login_host: 127.0.0.1
    login_user: postgres
    login_password: "{{ bridge_login_password }}"
    login_db: litellm
    entity_types: [user]
    results: [FAILED, WARNING]
    since: 24h
  register: bridge_failures

- name: The history of one user, the oldest first
  llmops.user_bridge.bridge_audit_info:
    login_unix_socket: /var/run/postgresql
    login_db: litellm
    entity_ids: [u1]
    order: oldest
    limit: 20
  register: bridge_first_page

- name: The next page of it
  llmops.user_bridge.bridge_audit_info:
    login_unix_socket: /var/run/postgresql
    login_db: litellm
    entity_ids: [u1]
    order: oldest
    limit: 20
    after_id: "{{ bridge_first_page.next_after_id }}"
  when: bridge_first_page.next_after_id is not none
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
      sample: 4711
    operation:
      description: What was done.
      type: str
      sample: SYNC_USER
    entity_id:
      description: Id of the entity in LiteLLM; of what a person decided, the login.
      type: str
      sample: u1
    by:
      description: The login of the person who decided it, null for what followed from LiteLLM's data or a setting.
      type: str
      sample: postgres
    result:
      description: How it ended, one of V(SUCCESS), V(FAILED), V(SKIPPED) and V(WARNING).
      type: str
      sample: SUCCESS
    message:
      description: Why it failed, was skipped or needs attention, otherwise null.
      type: str
      sample: no email
    before:
      description: What was known of the entity that went, otherwise null. Holds no secrets.
      type: dict
    after:
      description: What Open WebUI was to hold, null for an entity that went. Holds no secrets.
      type: dict
      sample: {email: ann@example.com, name: Ann, role: user}
    at:
      description: When, in UTC, as ISO 8601.
      type: str
      sample: '2026-11-23T08:00:00.123456Z'
total:
  description: Number of entries that match, on all pages.
  returned: success
  type: int
  sample: 1234
next_after_id:
  description: What to give as O(after_id) for the next page, null on the last one.
  returned: success
  type: int
  sample: 4612
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.llmops.user_bridge.plugins.module_utils import _listing, _pg
from ansible_collections.llmops.user_bridge.plugins.module_utils._types import ENTITY_TYPES

# What a person decides is recorded under the login. A pause that ends by itself is a warning.
DECISIONS = "('APPROVE_CHANGES', 'REJECT_CHANGES', 'PAUSE', 'RESUME') AND r.sync_result = 'SUCCESS'"
# SYNC_USER, DELETE_USER and MIGRATE_USER are about the same entity; the names themselves are the bridge's to know.
SUBJECT = "regexp_replace({}, '^(SYNC|DELETE|MIGRATE)_', '')"
LISTING = _listing.Listing(
    table="user_bridge.sync_audit",
    columns="r.id, r.operation, r.record_id AS entity_id, r.sync_result AS result, r.error_message AS message,"
    f" CASE WHEN r.operation IN {DECISIONS} THEN r.record_id END AS by,"
    f" r.old_data AS before, r.new_data AS after, {_listing.utc('r.created_at')} AS at",
    conditions={
        "entity_types": f"{SUBJECT.format('r.operation')} IN"
        f" (SELECT {SUBJECT.format('user_bridge.operation(t, false)')} FROM unnest(%(entity_types)s::text[]) AS t)",
        "entity_ids": "r.record_id = ANY (%(entity_ids)s::text[])",
        "operations": "r.operation = ANY (%(operations)s::text[])",
        "results": "r.sync_result = ANY (%(results)s::text[])",
        "since": f"r.created_at >= {_listing.moment('since')}",
        "until": f"r.created_at <= {_listing.moment('until')}",
        "text": _listing.contains("r.record_id", "r.error_message", "r.old_data::text", "r.new_data::text"),
    },
)


def action(module: AnsibleModule) -> dict[str, Any]:
    return {"changed": False, **_listing.fetch(LISTING, module.params)}


def main() -> None:
    spec = {**_pg.argument_spec(), **_listing.SPEC}
    spec.update(
        entity_types={"type": "list", "elements": "str", "choices": ENTITY_TYPES},
        entity_ids={"type": "list", "elements": "str"},
        operations={"type": "list", "elements": "str"},
        results={"type": "list", "elements": "str", "choices": ["SUCCESS", "FAILED", "SKIPPED", "WARNING"]},
    )
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    _pg.run(module, action)


if __name__ == "__main__":
    main()
