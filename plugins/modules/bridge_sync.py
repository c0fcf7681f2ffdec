#!/usr/bin/python
# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: bridge_sync
short_description: Deliver what waits, compare both sides, decide about held changes, pause and resume
version_added: 1.0.0
author:
  - llmops.user_bridge contributors (@llmops)
description:
  - Drains the queue of the bridge, or compares Open WebUI with LiteLLM and repairs what differs, or decides about the
    changes that the bridge holds until a person has seen them, such as removals that are too many at once.
  - Everything goes through the installed bridge in LiteLLM's database, by its rules. Open WebUI's database is reached
    from there.
  - Needs a login that is a superuser or a member of O(owner).
  - In a playbook it shows how many entities have been delivered, once soon and then every ten seconds, with Ansible's
    default output.
options:
  action:
    description:
      - V(drain) delivers what is queued until nothing moves any more. What failed before is tried again, whether its
        pause is over or not.
      - V(reconcile) compares both sides. With O(repair=true) it also queues what differs and drains the queue.
      - V(approve_removals) lets held changes happen, and drains the queue. What has grown since it was listed is held
        again.
      - V(reject_removals) drops them from the queue. The accounts stay as they are until LiteLLM changes them again or
        somebody repairs the difference.
      - V(pause) has the bridge queue only, until V(resume) or O(until). V(resume) also drains the queue.
      - What is held is in RV(removals) whatever the action, also in check mode.
    type: str
    choices: [approve_removals, drain, pause, reconcile, reject_removals, resume]
    default: drain
  until:
    description:
      - When O(action=pause) ends by itself. A time in ISO 8601, in UTC unless it names another offset, or an age such
        as V(30m) or V(2h), which is counted from now and does not move the end of a pause by less than a minute.
      - Without it nothing but V(resume) ends a pause, and one that there is stays as it is.
    type: str
  ids:
    description:
      - Which held changes to approve or reject, by RV(removals[].id). Without it all that the module finds.
      - An id that is not held is refused, and nothing is changed, unless it was decided in the same way before.
    type: list
    elements: int
  backfill:
    description:
      - Whether O(action=drain) first queues everything that exists in LiteLLM, where that has not been done yet for the
        installed version and the settings that shape Open WebUI's rows.
    type: bool
    default: false
  while_paused:
    description:
      - What to do where the bridge is paused, which delivers nothing then.
      - V(refuse) fails before anything is changed. V(queue) queues what O(action) and O(backfill) have to deliver, and
        leaves it to the playbook that resumes the bridge.
    type: str
    choices: [queue, refuse]
    default: refuse
  repair:
    description:
      - Whether O(action=reconcile) makes Open WebUI what LiteLLM is where they differ.
    type: bool
    default: false
  entity_types:
    description:
      - Compare entities of these types only. All by default.
      - The drain that follows with O(repair=true) delivers whatever is queued.
    type: list
    elements: str
    choices: [api_key, model, model_set, organization, organization_member, team, team_member, team_models, user,
              user_key, user_models]
  limit:
    description:
      - Most entities to deliver. What is left stays queued. Without it all are delivered.
    type: int
  max_seconds:
    description:
      - Seconds after which no further batch is begun. What is left stays queued. Without it there is no limit.
    type: int
  owner:
    description:
      - Role that owns the bridge's schema.
    type: str
    default: user_bridge_owner
  report:
    description:
      - Whether to return RV(report) after the run, unless in check mode or RV(more).
    type: bool
    default: false
  openwebui_login_db:
    description:
      - Open WebUI's database, for RV(report) only. Without it the report has nothing of that side.
attributes:
  check_mode:
    support: full
    details:
      - Says what is queued, what differs or what is held back, in read-only transactions.
  diff_mode:
    support: full
    details:
      - Shows for each entity and field what Open WebUI has now and what LiteLLM says it must have; with O(action=drain)
        of what is queued, at most 1000 entities.
  idempotent:
    support: full
extends_documentation_fragment:
  - llmops.user_bridge._login
  - llmops.user_bridge._openwebui_login
  - llmops.user_bridge._program_roles
  - llmops.user_bridge._attributes
  - llmops.user_bridge._attributes.actiongroup
seealso:
  - module: llmops.user_bridge.bridge_info
  - module: llmops.user_bridge.bridge_migration
"""

EXAMPLES = r"""
- name: Deliver what waits, for at most five minutes
  llmops.user_bridge.bridge_sync:
    login_host: 127.0.0.1
    login_user: postgres
    login_password: "{{ bridge_login_password }}"
    login_db: litellm
    max_seconds: 300
  register: bridge_drained

- name: Fail when something could not be delivered
  ansible.builtin.assert:
    that: bridge_drained.failures | length == 0
    fail_msg: "{{ bridge_drained.failures }}"

- name: Pause it for an upgrade, for two hours at most
  llmops.user_bridge.bridge_sync:
    login_unix_socket: /var/run/postgresql
    login_db: litellm
    action: pause
    until: 2h

- name: Resume it
  llmops.user_bridge.bridge_sync:
    login_unix_socket: /var/run/postgresql
    login_db: litellm
    action: resume

- name: Show what differs between both sides, run with --diff
  llmops.user_bridge.bridge_sync:
    login_unix_socket: /var/run/postgresql
    login_db: litellm
    action: reconcile

- name: Repair organizations and teams
  llmops.user_bridge.bridge_sync:
    login_unix_socket: /var/run/postgresql
    login_db: litellm
    action: reconcile
    repair: true
    entity_types: [organization, team]
"""

RETURN = r"""
database:
  description: The database that was logged in to.
  returned: success
  type: str
  sample: litellm
drained:
  description: What was delivered. An entity that was tried more than once in vain counts once.
  returned: success
  type: dict
  contains:
    delivered:
      description: Number of deliveries that are done with, in whichever way.
      type: int
      sample: 12
    results:
      description:
        - Number of entities by result. V(SUCCESS), V(WARNING) and V(SKIPPED) are done with, V(FAILED), V(DEFERRED) and
          V(PARKED) are still queued.
      type: dict
      sample: {SUCCESS: 11, SKIPPED: 1}
    by_type:
      description: The same by type of entity.
      type: dict
      sample: {user: {SUCCESS: 11, SKIPPED: 1}}
more:
  description: Whether O(max_seconds) were over before everything had been tried.
  returned: success
  type: bool
  sample: false
paused:
  description: Whether the bridge is paused, after the run, or in check mode would be.
  returned: success
  type: bool
  sample: false
paused_until:
  description: When the pause ends by itself, in UTC. Null without one, and where nothing but V(resume) ends it.
  returned: success
  type: str
  sample: '2026-11-23T10:00:00Z'
queued:
  description: How many entities O(backfill=true) has queued.
  returned: success
  type: int
  sample: 1200
queue:
  description: What is queued after the run, or now in check mode.
  returned: success
  type: dict
  contains:
    entities:
      description: Number of entities.
      type: int
      sample: 2
    failing:
      description: Number of those that could not be delivered so far.
      type: int
      sample: 2
    parked:
      description: Number of those that wait for a decision.
      type: int
      sample: 0
    by_type:
      description: Number of entities by type.
      type: dict
      sample: {user: 2}
failures:
  description: The entities in the queue that could not be delivered so far, at most 1000.
  returned: success
  type: list
  elements: dict
  contains:
    entity_type:
      description: Type of the entity.
      type: str
      sample: user
    entity_id:
      description: Id of the entity in LiteLLM.
      type: str
      sample: u1
    attempts:
      description: Number of attempts.
      type: int
      sample: 3
    next_attempt_at:
      description: When it is tried again by itself, in UTC, null for at once.
      type: str
      sample: '2026-11-23T08:00:00.123456Z'
    message:
      description: What Open WebUI's side said.
      type: str
      sample: value too long for type character varying(255)
    cause:
      description: The kind of problem.
      type: str
      sample: too long
    remedy:
      description: What to do about it.
      type: str
      sample: shorten the value in LiteLLM, or upgrade Open WebUI
differences:
  description: What differed before the run, at most 1000 fields. Empty unless O(action=reconcile).
  returned: success
  type: list
  elements: dict
  contains:
    entity_type:
      description: Type of the entity.
      type: str
      sample: user
    entity_id:
      description: Id of the entity in LiteLLM.
      type: str
      sample: u1
    field:
      description:
        - What differs. V(exists) when one side lacks it altogether, V(enforced) of what LiteLLM refuses a person.
        - V(unlinked) of the row by which LiteLLM serves an account of Open WebUI that is no LiteLLM user's. The id is
          then the name of the row, and a repair leaves writing it to the drainer.
      type: str
      sample: name
    before:
      description: What Open WebUI has.
      type: raw
      sample: Ann
    after:
      description: What it must have by LiteLLM's data.
      type: raw
      sample: Blue-Ann
differences_total:
  description: Number of fields that differed, also those beyond the first 1000.
  returned: success
  type: int
  sample: 1
report:
  description:
    - Who sees models for which reasons, what LiteLLM itself refuses, and on whom it books, as
      M(llmops.user_bridge.bridge_info) returns C(models), C(settings), C(enforcement) and C(attribution).
  returned: with O(report=true)
  type: dict
  sample: {models: {litellm: {models: 12, unassigned: 2}, openwebui: {grants: 40}}}
removals:
  description: The changes that are held, at most 1000; with an O(action) that decides, those that were held before it.
  returned: success
  type: list
  elements: dict
  contains: &held
    id:
      description: By what it is approved or rejected (O(ids)).
      type: int
      sample: 17
    incident:
      description: What belongs together has the same number.
      type: int
      sample: 3
    kind:
      description:
        - What would happen. V(deletion) or V(disabling) of an account, or loss of a V(membership), more than
          C(bridge_removal_limit) allows; V(email), an adopted account's address would move; V(last_admin), what was
          refused to the last admin would happen now; V(adoption), an account in which somebody else may have a session
          would become an admin's.
      type: str
      sample: deletion
    entity_type:
      description: Type of the entity.
      type: str
      sample: user
    entity_id:
      description: Id of the entity in LiteLLM.
      type: str
      sample: u1
    openwebui_id:
      description: Id of the row in Open WebUI.
      type: str
      sample: usr_u1
    accounts:
      description: Every account in Open WebUI that it concerns, with C(id), C(email) and C(name).
      type: list
      elements: dict
      sample: [{id: usr_u1, email: ann@example.com, name: Ann}]
    reason:
      description: Why it is held.
      type: str
      sample: too many accounts deleted within ten minutes
    parked_at:
      description: Since when it is held, in UTC.
      type: str
      sample: '2026-11-23T08:00:00.123456Z'
decided:
  description: Those of RV(removals) that were approved or rejected, at most 1000.
  returned: success
  type: list
  elements: dict
  contains: *held
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg
from ansible_collections.llmops.user_bridge.plugins.module_utils._bridge import MAX_LISTED, program_roles_spec
from ansible_collections.llmops.user_bridge.plugins.module_utils._info.rights import look_at_rights
from ansible_collections.llmops.user_bridge.plugins.module_utils._session import Session
from ansible_collections.llmops.user_bridge.plugins.module_utils._sync.differences import difference_lines
from ansible_collections.llmops.user_bridge.plugins.module_utils._sync.held import held_lines
from ansible_collections.llmops.user_bridge.plugins.module_utils._sync.pause import pause_line
from ansible_collections.llmops.user_bridge.plugins.module_utils._sync.queue import failures, queue
from ansible_collections.llmops.user_bridge.plugins.module_utils._sync.run import PAUSING, Outcome, check, execute
from ansible_collections.llmops.user_bridge.plugins.module_utils._types import ENTITY_TYPES


def diff(action: str, done: Outcome, database: str) -> dict[str, str]:
    """What the action changes, as C(--diff) shows it."""
    if action in ("drain", "reconcile"):
        differences = done.preview if action == "drain" else done.differences
        return {
            "before_header": f"Open WebUI as it is (through {database})",
            "after_header": f"as LiteLLM says ({database})",
            "before": difference_lines(differences, "before"),
            "after": difference_lines(differences, "after"),
        }
    if action in PAUSING:
        return {"before": pause_line(done.paused_before), "after": pause_line(done.pause)}
    header = f"held changes ({database})"
    left = [row for row in done.held if row not in done.decided]
    return {
        "before_header": header,
        "after_header": header,
        "before": held_lines(done.held),
        "after": held_lines(left),
    }


def action(module: AnsibleModule) -> dict[str, Any]:
    check(module.params)
    session = Session(module.params, module.params["owner"])
    done = execute(session, module.params, module.check_mode, module._diff)
    result: dict[str, Any] = {
        "changed": done.changed,
        "database": session.database,
        "drained": done.drained.summary(),
        "more": done.drained.more,
        "paused": done.pause is not None,
        "paused_until": done.pause["until"] if done.pause else None,
        "queued": done.queued,
        "queue": queue(session),
        "failures": failures(session),
        "differences": list(done.differences),
        "differences_total": done.differences_total,
        "removals": list(done.held[:MAX_LISTED]),
        "decided": list(done.decided[:MAX_LISTED]),
    }
    if module.params["report"] and not module.check_mode and not done.drained.more:
        result["report"] = look_at_rights(module.params)
    if module._diff:
        result["diff"] = diff(module.params["action"], done, session.database)
    return result


def main() -> None:
    spec = {**_pg.argument_spec(), **_pg.argument_spec("openwebui_"), **program_roles_spec()}
    spec.update(
        action={
            "type": "str",
            "choices": ["approve_removals", "drain", "pause", "reconcile", "reject_removals", "resume"],
            "default": "drain",
        },
        until={"type": "str"},
        ids={"type": "list", "elements": "int"},
        backfill={"type": "bool", "default": False},
        while_paused={"type": "str", "choices": ["queue", "refuse"], "default": "refuse"},
        repair={"type": "bool", "default": False},
        entity_types={"type": "list", "elements": "str", "choices": ENTITY_TYPES},
        limit={"type": "int"},
        max_seconds={"type": "int"},
        owner={"type": "str", "default": "user_bridge_owner"},
        report={"type": "bool", "default": False},
    )
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    _pg.run(module, action)


if __name__ == "__main__":
    main()
