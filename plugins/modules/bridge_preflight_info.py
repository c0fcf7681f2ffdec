#!/usr/bin/python
# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: bridge_preflight_info
short_description: Read both databases before a run of the user bridge, and plan the run
version_added: 1.0.0
author:
  - llmops.user_bridge contributors (@llmops)
description:
  - Reads the catalogs of LiteLLM's and of Open WebUI's database, over one connection to each, in read-only
    transactions.
  - Returns what would stop a deployment as sentences that name the variable of the roles, what is wrong with it, and
    the remedy.
  - Returns which parts of a deployment have something to do. The roles of this collection include only these.
  - Does not fail when a server cannot be reached or the driver is missing. That is one of the RV(problems).
options:
  depth:
    description:
      - V(reach) checks whether both servers can be used at all.
      - V(server) also checks whether they have the extensions.
      - V(bridge) also checks the databases, the roles and the rights of the login, and makes the RV(plan).
    type: str
    choices: [reach, server, bridge]
    default: bridge
  registry:
    description:
      - The tables of the programs that the bridge uses, and its privileges on them. The entry C(sides) of the
        collection's C(registry.yml).
    type: dict
    required: true
    suboptions:
      litellm:
        description:
          - LiteLLM's tables.
        type: dict
        required: true
        suboptions: &side
          privileges:
            description:
              - Privileges that the reader or writer needs on each of the tables.
            type: list
            elements: str
            required: true
          tables:
            description:
              - The names of the tables as keys. One with C(since) does not exist in every version of the program.
            type: dict
            required: true
          enforced:
            description:
              - Privileges that the reader needs beside these where O(settings) has C(enforce_models), as a list for
                each table. Otherwise they are taken away when no row is left that needs them.
            type: dict
      openwebui:
        description:
          - Open WebUI's tables.
        type: dict
        required: true
        suboptions: *side
  litellm_owner:
    description:
      - Role that owns LiteLLM's tables.
    type: str
    default: litellm
  openwebui_owner:
    description:
      - Role that owns Open WebUI's tables.
    type: str
    default: openwebui
  openwebui_login_db:
    description:
      - Open WebUI's database. Required.
    required: true
  maintenance_db:
    description:
      - Database to log in to while the two databases may not exist. RV(sides) then says whether they do.
    type: str
  owner:
    description:
      - Role that owns the bridge's schema.
    type: str
    default: user_bridge_owner
  sync_user:
    description:
      - Role that LiteLLM's server logs in to Open WebUI's database as.
    type: str
    default: sync_user
  sync_password:
    description:
      - Password of O(sync_user). Without it the plan always has the sync user and the connection.
    type: str
  timer_user:
    description:
      - Role that the timer logs in to LiteLLM's database as, where it has one of its own.
    type: str
  timer_password:
    description:
      - Password of O(timer_user).
    type: str
  timer_peer:
    description:
      - Whether a service on the host of the task can log in as O(timer_user) without a password, at the socket.
    type: bool
    default: false
  monitor_user:
    description:
      - Role that reads the metrics in LiteLLM's database, for RV(sides).
    type: str
  timer_files:
    description:
      - Files of the timer on the target. RV(plan.timer) says whether any of them exists.
    type: list
    elements: path
  maintenance:
    description:
      - What will run the drainer. V(pg_cron) has to be loaded by LiteLLM's server.
      - V(auto) is V(pg_cron) where it is loaded, else V(systemd) where the host of the task has it, else V(none).
        RV(maintenance) says what was chosen.
    type: str
    choices: [auto, none, pg_cron, systemd]
    default: none
  litellm_connections:
    description:
      - Size of all LiteLLM connection pools together.
    type: int
    default: 40
  openwebui_connections:
    description:
      - Size of all Open WebUI connection pools together.
    type: int
    default: 40
  planned_max_connections:
    description:
      - What C(max_connections) is going to be, where a check mode run has only announced it.
    type: int
    default: 0
  sync_connection_limit:
    description:
      - Connection limit of O(sync_user). V(0) computes the largest that leaves both programs their pools, but not more
        than LiteLLM's pool can use. Without it, connections are not looked at.
      - With O(depth=bridge), connections that do not fit into C(max_connections) are one of the RV(problems).
    type: int
  allow_no_admin:
    description:
      - Whether an Open WebUI without an admin is accepted.
    type: bool
    default: false
  settings:
    description:
      - Settings of the bridge whose values are checked, see O(llmops.user_bridge.bridge_install#module:settings).
    type: dict
  takeover:
    description:
      - Whether to look for what the upstream SQL scripts have installed, see M(llmops.user_bridge.bridge_takeover).
    type: bool
    default: true
  takeover_drop_tables:
    description:
      - Whether their tables are to be dropped, too.
    type: bool
    default: false
  take_ownership:
    description:
      - Whether an Open WebUI that another installation of the bridge owns is taken, see
        M(llmops.user_bridge.bridge_ownership). Otherwise that is RV(owner_problem).
    type: bool
    default: false
extends_documentation_fragment:
  - llmops.user_bridge._login
  - llmops.user_bridge._target
  - llmops.user_bridge._openwebui_login
  - llmops.user_bridge._program_roles
  - llmops.user_bridge._attributes
  - llmops.user_bridge._attributes.info_module
  - llmops.user_bridge._attributes.actiongroup
notes:
  - Without O(target_host) the connection is not looked at, and RV(plan.connection) is true.
  - A server answers a login that it refuses in its own C(lc_messages) and libpq does not pass on its SQLSTATE. In other
    languages than English the remedy goes by the names that the message quotes.
seealso:
  - module: llmops.user_bridge.bridge_install
  - module: llmops.user_bridge.bridge_target
  - module: llmops.user_bridge.bridge_info
"""

EXAMPLES = r"""
- name: Read both databases on one server
  llmops.user_bridge.bridge_preflight_info:
    login_host: 127.0.0.1
    login_user: postgres
    login_password: "{{ bridge_login_password }}"
    login_db: litellm
    openwebui_login_db: openwebui
    registry:
      litellm:
        privileges: [SELECT]
        tables:
          LiteLLM_UserTable: {}
      openwebui:
        privileges: [SELECT, INSERT, UPDATE, DELETE]
        tables:
          user: {}
          group_member: {since: 0.6.37}
    sync_password: "{{ bridge_sync_password }}"
    target_host: 127.0.0.1
    target_db: openwebui
  register: preflight

- name: Stop before anything is changed
  ansible.builtin.assert:
    that: preflight.problems | length == 0
    fail_msg: "{{ preflight.problems | join(' ') }}"
"""

RETURN = r"""
problems:
  description: What has to be set right before a deployment, one sentence or more for each problem.
  returned: success
  type: list
  elements: str
  sample:
    - >-
      bridge_login_host: the server of LiteLLM's database "litellm" (bridge_litellm_db) is a read-only standby. Name the
      primary server.
owner_problem:
  description:
    - Why LiteLLM's database must not touch Open WebUI's side, because another installation owns it or LiteLLM's
      database is a copy beside its original. Null without a reason. With O(depth=bridge) one of the RV(problems), too.
  returned: success
  type: str
sides:
  description: The facts of C(litellm) and C(openwebui). A side that could not be reached is missing.
  returned: success
  type: dict
  contains:
    database_exists:
      description: Whether the database exists.
      type: bool
      sample: true
    is_superuser:
      description: Whether the login is a superuser.
      type: bool
      sample: true
    reads_passwords:
      description: Whether the login can compare passwords with the stored ones.
      type: bool
      sample: true
    schema_public_is_open:
      description: Whether every login may create objects in the schema C(public); then the module warns.
      type: bool
      sample: false
    cron_database:
      description: The database that pg_cron works in, null where it is not loaded.
      type: str
      sample: postgres
    extension_schema:
      description: The schema of the extension that this side needs, null where it is not installed.
      type: str
      sample: user_bridge
    extension_schema_stranger:
      description: Who owns that schema and is neither a superuser nor the login nor O(owner), null if nobody.
      type: str
      sample: null
    extension_users:
      description: The program's role and the reader or writer, as far as they may execute the extension's functions.
      type: list
      elements: str
      sample: [litellm]
    schema_owner:
      description: The owner of the schema C(user_bridge), null where there is none.
      type: str
      sample: user_bridge_owner
    restored_by:
      description: Whom the bridge belongs to that was restored from a dump without its owners, null where none was.
      type: str
    paused:
      description:
        - Of LiteLLM's side, whether delivery is paused; null without a bridge, or where the login may not see it.
      type: bool
      sample: false
    lost_models:
      description:
        - Of LiteLLM's side, what people would lose by C(extra_models) of O(settings), which the module warns of; null
          without a bridge that can tell, or where rights on models are not followed.
      type: dict
      contains:
        models:
          description: The models that neither the new list nor LiteLLM's database names.
          type: list
          elements: str
        people:
          description: How many people see one of them now; null where Open WebUI cannot be asked.
          type: int
      sample: {models: [gpt-4o], people: 12}
    foreign_objects:
      description: What somebody else has put into the schema C(user_bridge).
      type: list
      elements: str
      sample: [function user_bridge.mine() of litellm]
    roles:
      description: The roles of the bridge that exist on the server, with their attributes.
      type: dict
    enforcement:
      description:
        - Of LiteLLM's side, whether its table of end users has models (C(is_supported)), which C(rights) on it the
          reader was granted, and whether there are rows to give back (C(has_rows)).
      type: dict
    tables:
      description: The tables of the program that exist, with their owners and the privileges that the reader or writer
        holds.
      type: dict
maintenance:
  description: What runs the drainer.
  returned: success
  type: dict
  contains:
    method:
      description: The value of O(maintenance), or what V(auto) has chosen.
      type: str
      sample: systemd
    reason:
      description: Why.
      type: str
      sample: this host has it, and LiteLLM's server has not loaded pg_cron
one_server:
  description: Whether both databases are on one server.
  returned: success
  type: bool
  sample: true
plan:
  description: Which parts of a deployment have something to do.
  returned: success
  type: dict
  contains:
    statements:
      description: For each side the statements that create roles, schema and extension and grant what is missing.
      returned: with O(depth=bridge), when both sides were reached
      type: dict
      sample:
        litellm: [GRANT SELECT ON TABLE public."LiteLLM_UserTable" TO "user_bridge_reader"]
        openwebui: []
    revocations:
      description: For each side the statements that take rights on the program's tables from the owner role, or from
        the reader those that O(registry.litellm.enforced) names and nothing needs any more.
      returned: with O(depth=bridge), when both sides were reached
      type: dict
      sample:
        litellm: [REVOKE ALL ON TABLE public."LiteLLM_UserTable" FROM "user_bridge_owner" CASCADE]
        openwebui: []
    sync_user:
      description: Whether the sync user has to be created or altered, or its password set.
      returned: with O(depth=bridge), when Open WebUI's side was reached
      type: bool
      sample: false
    timer_user:
      description: The same for the login of the timer.
      returned: with O(depth=bridge), when LiteLLM's side was reached
      type: bool
      sample: false
    connection:
      description: Whether the foreign server or the user mapping differ, or the connection does not work.
      returned: with O(depth=bridge), when both sides were reached
      type: bool
      sample: false
    ownership:
      description: Whether LiteLLM's database has to become the owner of Open WebUI's, or that could not be seen.
      returned: with O(depth=bridge), when both sides were reached
      type: bool
      sample: false
    takeover:
      description: Whether there is something to take over from the upstream SQL scripts.
      returned: with O(depth=bridge), when LiteLLM's side was reached
      type: bool
      sample: false
    backfill:
      description: Whether existing entities have to be queued, or something in the queue waits.
      returned: with O(depth=bridge), when LiteLLM's side was reached
      type: bool
      sample: false
    installed:
      description:
        - For each side the O(llmops.user_bridge.bridge_install#module:sources) that all objects were made from, if all
          are as they were installed and O(settings) are stored. Otherwise it is empty.
      returned: with O(depth=bridge), when both sides were reached
      type: dict
      sample: {litellm: 9f2c6a3e, openwebui: ""}
    timer:
      description: Whether a file of the timer exists.
      returned: success
      type: bool
      sample: false
    connection_limit:
      description: The connection limit of the sync user, as asked for or computed.
      returned: with O(depth=bridge) and O(sync_connection_limit), when both sides were reached
      type: int
      sample: 12
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg
from ansible_collections.llmops.user_bridge.plugins.module_utils._bridge import program_roles_spec
from ansible_collections.llmops.user_bridge.plugins.module_utils._preflight.look import gather
from ansible_collections.llmops.user_bridge.plugins.module_utils._preflight.maintenance import METHODS
from ansible_collections.llmops.user_bridge.plugins.module_utils._preflight.problems import DEPTHS
from ansible_collections.llmops.user_bridge.plugins.module_utils._target.options import (
    argument_spec as target_argument_spec,
)


def action(module: AnsibleModule) -> dict[str, Any]:
    result = gather(module.params)
    for notice in result.pop("notices"):
        module.warn(notice)
    return result


def main() -> None:
    side = {
        "type": "dict",
        "required": True,
        "options": {
            "privileges": {"type": "list", "elements": "str", "required": True},
            "tables": {"type": "dict", "required": True},
            "enforced": {"type": "dict"},
        },
    }
    spec = {**_pg.both_argument_specs(), **program_roles_spec(), **target_argument_spec()}
    spec.update(
        depth={"type": "str", "choices": list(DEPTHS), "default": "bridge"},
        registry={"type": "dict", "required": True, "options": {"litellm": side, "openwebui": side}},
        litellm_owner={"type": "str", "default": "litellm"},
        openwebui_owner={"type": "str", "default": "openwebui"},
        maintenance_db={"type": "str"},
        owner={"type": "str", "default": "user_bridge_owner"},
        sync_user={"type": "str", "default": "sync_user"},
        sync_password={"type": "str", "no_log": True},
        timer_user={"type": "str"},
        timer_password={"type": "str", "no_log": True},
        monitor_user={"type": "str"},
        timer_files={"type": "list", "elements": "path"},
        timer_peer={"type": "bool", "default": False},
        maintenance={"type": "str", "choices": list(METHODS), "default": "none"},
        litellm_connections={"type": "int", "default": 40},
        openwebui_connections={"type": "int", "default": 40},
        planned_max_connections={"type": "int", "default": 0},
        sync_connection_limit={"type": "int"},
        allow_no_admin={"type": "bool", "default": False},
        settings={"type": "dict"},
        takeover={"type": "bool", "default": True},
        takeover_drop_tables={"type": "bool", "default": False},
        take_ownership={"type": "bool", "default": False},
    )
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    _pg.run(module, action, needs_driver=False)


if __name__ == "__main__":
    main()
