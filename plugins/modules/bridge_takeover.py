#!/usr/bin/python
# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: bridge_takeover
short_description: Take over from the upstream SQL scripts
version_added: 1.0.0
author:
  - llmops.user_bridge contributors (@llmops)
description:
  - Finds what the SQL scripts of U(https://github.com/pkusnail/open-webui-litellm-user-bridge) have put into the schema
    C(public) of LiteLLM's database, and takes over from them.
  - Their triggers and functions are removed, their mapping and history become the bridge's, and the rows that they have
    made in Open WebUI are repaired and become the bridge's, too. At the end everything is queued and delivered.
  - A function, trigger or table of the same name that is not theirs is left alone and named in RV(kept).
  - No password, token or hash of one is imported, returned or shown.
  - Only rows that the scripts have made are touched. They are known by their mapping, or by the id of the user or
    organization that the scripts write into each row.
  - Both sides of the bridge must be installed, so that no write of LiteLLM's is missed while their triggers go. A run
    that was cut off is completed by the next one.
options:
  owner:
    description:
      - Role that owns the schema C(user_bridge) on both sides.
    type: str
    default: user_bridge_owner
  drop_tables:
    description:
      - Whether to drop their tables C(public.sync_audit) and C(public.sync_mapping) after the import. Otherwise a
        comment on them says that they have been taken over.
      - The history of the last C(bridge_audit_retention_days) days is imported; what is older is in these tables only.
    type: bool
    default: false
  lock_timeout_ms:
    description:
      - Longest time in milliseconds that one attempt may wait for locks while LiteLLM and Open WebUI wait behind it.
        There are six attempts.
    type: int
    default: 500
  deliver:
    description:
      - Whether to deliver at once what is queued at the end, and to show meanwhile how far that is. V(false) leaves it
        to the drainer.
    type: bool
    default: true
  openwebui_login_db:
    required: true
attributes:
  check_mode:
    support: full
    details:
      - Executes nothing but queries, in read-only transactions.
  diff_mode:
    support: full
    details:
      - Shows each object and each field of a row. Values that could be secret are not shown.
  idempotent:
    support: full
extends_documentation_fragment:
  - llmops.user_bridge._login
  - llmops.user_bridge._openwebui_login
  - llmops.user_bridge._attributes
  - llmops.user_bridge._attributes.actiongroup
seealso:
  - module: llmops.user_bridge.bridge_install
"""

EXAMPLES = r"""
- name: List what there is to take over, and change nothing
  llmops.user_bridge.bridge_takeover:
    login_host: 127.0.0.1
    login_user: postgres
    login_password: "{{ bridge_login_password }}"
    login_db: litellm
    openwebui_login_db: openwebui
  check_mode: true
  diff: true

- name: Take over, and drop the tables of the upstream scripts
  llmops.user_bridge.bridge_takeover:
    login_host: 127.0.0.1
    login_user: postgres
    login_password: "{{ bridge_login_password }}"
    login_db: litellm
    openwebui_login_db: openwebui
    drop_tables: true
"""

RETURN = r"""
database:
  description: LiteLLM's database.
  returned: success
  type: str
  sample: litellm
triggers:
  description: Triggers that were removed.
  returned: success
  type: list
  elements: str
  sample: ['user_sync_trigger on public."LiteLLM_UserTable"']
functions:
  description: Functions that were removed.
  returned: success
  type: list
  elements: str
  sample: [public.sync_user_to_openwebui()]
tables:
  description: Tables of the scripts.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the table.
      type: str
      sample: public.sync_audit
    action:
      description: V(dropped) or V(kept).
      type: str
      sample: kept
kept:
  description: Objects that have a name of the scripts' but are not theirs.
  returned: success
  type: list
  elements: str
  sample: [function public.check_sync_status()]
imported:
  description: Number of rows imported into C(user_bridge.sync_mapping) and C(user_bridge.sync_audit).
  returned: success
  type: dict
  sample: {mappings: 120, audit: 4711}
linked:
  description: Number of Open WebUI's accounts and groups that are the bridge's from now on.
  returned: success
  type: dict
  sample: {accounts: 118, groups: 2}
repaired:
  description: Number of Open WebUI's rows that were set right, by field.
  returned: success
  type: dict
  sample: {group user_id: 2, user settings: 118}
repairs:
  description: The same one by one, at most 1000 of them.
  returned: success
  type: list
  elements: dict
  contains:
    kind:
      description: V(user) or V(group).
      type: str
      sample: user
    id:
      description: Id of the row in Open WebUI.
      type: str
      sample: usr_u1
    field:
      description: The column, with its table when that is another one.
      type: str
      sample: settings
    problem:
      description: What was wrong.
      type: str
      sample: LiteLLM's budget in place of the person's own settings
exposed_logins:
  description: Roles of Open WebUI's server whose password the functions held. Change it.
  returned: success
  type: list
  elements: str
  sample: [webui]
queued:
  description: Number of entities that were queued afterwards, 0 in check mode.
  returned: success
  type: int
  sample: 240
delivered:
  description: Number of deliveries by result, null when nothing was queued or with O(deliver=false).
  returned: success
  type: dict
  sample: {SUCCESS: 238, SKIPPED: 2}
"""

from collections import Counter
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg, _session
from ansible_collections.llmops.user_bridge.plugins.module_utils._bridge import MAX_LISTED
from ansible_collections.llmops.user_bridge.plugins.module_utils._errors import BridgeError
from ansible_collections.llmops.user_bridge.plugins.module_utils._lock import check_timeout
from ansible_collections.llmops.user_bridge.plugins.module_utils._session import Session
from ansible_collections.llmops.user_bridge.plugins.module_utils._sync.drain import Limits, drain
from ansible_collections.llmops.user_bridge.plugins.module_utils._takeover.repair import Plan
from ansible_collections.llmops.user_bridge.plugins.module_utils._takeover.report import diff, warnings
from ansible_collections.llmops.user_bridge.plugins.module_utils._takeover.run import Wanted, take_over


def action(module: AnsibleModule) -> dict[str, Any]:
    params = module.params
    check_timeout(params["lock_timeout_ms"])
    wanted = Wanted(params["owner"], params["drop_tables"], params["lock_timeout_ms"], module.check_mode)

    def deliver() -> dict[str, int]:
        results: dict[str, int] = drain(Session(params, params["owner"]), Limits()).summary()["results"]
        return results

    try:
        done = take_over(
            _pg.connect(params),
            lambda: _pg.connect(_pg.second_login(params, "openwebui_"), "openwebui_"),
            deliver if params["deliver"] else None,
            wanted,
        )
    except _pg.PgError as error:
        if not _session.lacks_objects(error):
            raise
        databases = f"{params['login_db']} or {params['openwebui_login_db']}"
        raise BridgeError(_session.another_version(databases, error)) from None
    for text in warnings(done):
        module.warn(text)
    found, plan = done.found, done.plan or Plan()
    links = Counter(link.type for link in plan.links)
    repaired = Counter(f"{repair.kind} {repair.field}" for repair in plan.repairs)
    result: dict[str, Any] = {
        "changed": done.changed,
        "database": found.database,
        "triggers": [trigger.label for trigger in found.triggers],
        "functions": list(found.functions),
        "tables": [
            {"name": table.identity, "action": "dropped" if done.drop_tables else "kept"} for table in found.tables
        ],
        "kept": list(found.kept),
        "imported": {"mappings": found.mappings, "audit": found.audit},
        "linked": {"accounts": links["user"], "groups": links["organization"]},
        "repaired": dict(sorted(repaired.items())),
        "repairs": [repair.result for repair in plan.repairs[:MAX_LISTED]],
        "exposed_logins": list(done.survey.logins) if done.survey else [],
        "queued": done.queued,
        "delivered": done.delivered,
    }
    if module._diff:
        result["diff"] = diff(done)
    return result


def main() -> None:
    spec = _pg.both_argument_specs()
    spec.update(
        owner={"type": "str", "default": "user_bridge_owner"},
        drop_tables={"type": "bool", "default": False},
        lock_timeout_ms={"type": "int", "default": 500},
        deliver={"type": "bool", "default": True},
    )
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    _pg.run(module, action)


if __name__ == "__main__":
    main()
