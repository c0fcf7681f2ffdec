#!/usr/bin/python
# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: bridge_migration
short_description: Bring what existed before the user bridge
version_added: 1.0.0
author:
  - llmops.user_bridge contributors (@llmops)
description:
  - Brings the organizations, teams, users, memberships and keys of LiteLLM that Open WebUI does not have yet, by the
    rules of the installed bridge.
  - Works in batches with a COMMIT after each, while both programs run. It can be interrupted at any point; the next run
    goes on with what is left. What is in sync already is left alone, and nothing is removed.
  - An entity that cannot be delivered holds up none of the others. It stays queued and is tried again by the drain.
  - One migration runs at a time in a database. Another one waits for O(wait_seconds).
  - Shows its progress on the controller's terminal, see O(progress). So it cannot run with C(async), which it does not
    need, because no single call takes longer than O(chunk_seconds) and a batch.
  - Needs a login that is a superuser or a member of O(owner).
options:
  organizations:
    description:
      - Only these organizations, by id or alias, with their teams and members.
      - With O(teams) as well, what either of them names is migrated.
    type: list
    elements: str
  teams:
    description:
      - Only these teams, by id or alias, with their members.
    type: list
    elements: str
  email_pattern:
    description:
      - Only users whose email matches, in upper or lower case, and the groups that they are in. C(*) stands for any
        text, C(?) for any character.
    type: str
  batch_size:
    description:
      - Most entities in one transaction, between 1 and 2000. Each user takes two of the server's locks, so fewer are
        taken at once where C(max_locks_per_transaction) times C(max_connections) is less than 6 times as many.
    type: int
    default: 1000
  parallel:
    description:
      - Batches to bring at a time, between 1 and 16, each over a connection of its own. Each keeps up to one of the
        server's cores busy, and they share the locks that O(batch_size) speaks of. V(1) leaves LiteLLM the most of its
        server, more than there are cores gains nothing. In check mode it is always one.
    type: int
    default: 2
  return_users:
    description:
      - Which users to list in RV(users). V(all) lists all that were not in sync, V(problems) those whose result is not
        V(SUCCESS).
    type: str
    choices: [all, problems, none]
    default: all
  wait_seconds:
    description:
      - Seconds to wait while another migration runs in the same database. With V(0) it is refused at once.
    type: int
    default: 60
  progress:
    description:
      - Whether to show how far the migration is, how fast and how long it still takes.
      - V(auto) shows it with Ansible's default output only, every few seconds on a terminal, elsewhere once soon and
        then every half minute. V(never) shows nothing, V(always) shows every step whatever the output is.
    type: str
    choices: [auto, always, never]
    default: auto
  chunk_seconds:
    description:
      - Seconds between two reports of the progress. The module is called once for each. With V(0) it is called for
        each batch. Without it the first report comes after a second.
    type: int
    default: 10
  resume_from:
    description:
      - Where to go on, as an earlier call returned it in RV(next). Not needed for going on after an interruption; it
        only spares looking at what has been dealt with.
    type: str
  owner:
    description:
      - Role that owns the bridge's schema.
    type: str
    default: user_bridge_owner
attributes:
  check_mode:
    support: full
    details:
      - Says what would happen to whom, by asking Open WebUI's side and taking it back there. Nothing is written.
  diff_mode:
    support: full
    details:
      - In check mode shows for each account and group what Open WebUI has now and what it would have.
        At most 1000 fields a call of the module.
      - Otherwise shows how many entities of each type were delivered.
  idempotent:
    support: full
extends_documentation_fragment:
  - llmops.user_bridge._login
  - llmops.user_bridge._attributes
  - llmops.user_bridge._attributes.actiongroup
seealso:
  - module: llmops.user_bridge.bridge_sync
  - module: llmops.user_bridge.bridge_info
"""

EXAMPLES = r"""
- name: Bring everything that existed before the bridge
  llmops.user_bridge.bridge_migration:
    login_host: 127.0.0.1
    login_user: postgres
    login_password: "{{ bridge_login_password }}"
    login_db: litellm
  register: bridge_migrated

- name: Fail when a user could not be migrated
  ansible.builtin.assert:
    that: failed_users | length == 0
    fail_msg: "{{ failed_users }}"
  vars:
    failed_users: "{{ bridge_migrated.users | selectattr('result', 'equalto', 'FAILED') }}"

- name: Bring one organization's users of one domain, and list only those with a problem
  llmops.user_bridge.bridge_migration:
    login_unix_socket: /var/run/postgresql
    login_db: litellm
    organizations: [Acme]
    email_pattern: "*@example.com"
    return_users: problems
"""

RETURN = r"""
users:
  description: The users that were not in sync, or are skipped. See O(return_users).
  returned: success
  type: list
  elements: dict
  contains:
    user_id:
      description: Id in LiteLLM.
      type: str
      sample: u1
    email:
      description: Email in LiteLLM.
      type: str
      sample: ann@example.com
    result:
      description:
        - V(SUCCESS), V(SKIPPED), V(WARNING) when something of it was refused, or V(FAILED).
      type: str
      sample: SUCCESS
    reason:
      description: Why it was skipped or failed, or what was refused, otherwise null.
      type: str
      sample: no email
    action:
      description: What would be done, in check mode only. One of V(create), V(link), V(update) and V(none).
      type: str
      sample: create
by_type:
  description:
    - Number of entities by type and result. V(UNCHANGED) was in sync before.
  returned: success
  type: dict
  sample: {user: {SUCCESS: 118, SKIPPED: 2}, organization: {UNCHANGED: 3}}
counts:
  description: The users after the run. In check mode, now.
  returned: success
  type: dict
  contains:
    total:
      description: Users in LiteLLM.
      type: int
      sample: 120
    with_email:
      description: Those with a usable email.
      type: int
      sample: 118
    without_email:
      description: Those without.
      type: int
      sample: 2
    already_synced:
      description: Those that an Open WebUI account stands for, as far as LiteLLM's side knows.
      type: int
      sample: 118
    in_openwebui:
      description: Accounts in Open WebUI that stand for a user, null when it does not answer.
      type: int
      sample: 118
progress:
  description: How far the run got.
  returned: success
  type: dict
  contains:
    done:
      description: Entities that were dealt with.
      type: int
      sample: 340
    total:
      description: Entities that there were to deal with when it began.
      type: int
      sample: 340
    users_done:
      description: Users among those.
      type: int
      sample: 120
    users_total:
      description: Users among those.
      type: int
      sample: 120
next:
  description: What to give as O(resume_from) for the rest. Always null in a playbook, which ends when all is done.
  returned: success
  type: str
database:
  description: The database that was logged in to.
  returned: success
  type: str
  sample: litellm
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg
from ansible_collections.llmops.user_bridge.plugins.module_utils._migration import run as _migration
from ansible_collections.llmops.user_bridge.plugins.module_utils._sync.differences import difference_lines


def diff(migration: _migration.Migration) -> dict[str, str]:
    """Check mode shows each field that differs; a run is summed up by the action plugin."""
    found = migration.found
    where = migration.session.database
    if migration.check_mode:
        return {
            "before_header": f"Open WebUI as it is (through {where})",
            "after_header": f"after the migration ({where})",
            "before": difference_lines(found.differences, "before"),
            "after": difference_lines(found.differences, "after"),
        }
    # The action plugin puts together what the chunks have delivered.
    return {"before_header": where, "after_header": where, "before": "", "after": ""}


def action(module: AnsibleModule) -> dict[str, Any]:
    migration = _migration.Migration(module.params, module.check_mode)
    rest = migration.run()
    result = {
        "changed": migration.found.changed,
        "database": migration.session.database,
        "users": migration.found.users,
        "by_type": migration.found.summary(),
        "counts": migration.counts() if rest is None else {},
        "progress": migration.progress(),
        "next": rest,
    }
    if module._diff:
        result["diff"] = diff(migration)
    return result


def main() -> None:
    spec = _pg.argument_spec()
    spec.update(
        organizations={"type": "list", "elements": "str"},
        teams={"type": "list", "elements": "str"},
        email_pattern={"type": "str"},
        batch_size={"type": "int", "default": 1000},
        parallel={"type": "int", "default": 2},
        return_users={"type": "str", "choices": ["all", "problems", "none"], "default": "all"},
        wait_seconds={"type": "int", "default": 60},
        progress={"type": "str", "choices": ["auto", "always", "never"], "default": "auto"},
        chunk_seconds={"type": "int", "default": 10},
        resume_from={"type": "str"},
        owner={"type": "str", "default": "user_bridge_owner"},
    )
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    _pg.run(module, action)


if __name__ == "__main__":
    main()
