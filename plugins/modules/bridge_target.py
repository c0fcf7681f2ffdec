#!/usr/bin/python
# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: bridge_target
short_description: Manage how LiteLLM's database reaches Open WebUI's database
version_added: 1.0.0
author:
  - llmops.user_bridge contributors (@llmops)
description:
  - Manages the foreign server C(user_bridge_target) and the user mapping of the bridge's owner role in LiteLLM's
    database.
  - The user mapping is the only place that holds the password of the sync user. Only the owner role and superusers can
    read it. The module compares it without ever returning it, and keeps it out of the server's log.
  - Can test the connection the way the bridge uses it, from LiteLLM's server and with the owner role's rights.
options:
  state:
    description:
      - V(present) creates the foreign server and the user mapping or changes what differs. It needs O(target_host),
        O(target_db), O(sync_user) and O(sync_password).
      - V(absent) drops both.
    type: str
    choices: [present, absent]
    default: present
  owner:
    description:
      - Role without login that owns the foreign server and that the user mapping is for. It must exist.
    type: str
    default: user_bridge_owner
  synchronous_commit_off:
    description:
      - Whether Open WebUI's server may answer before its commit is on disk. Safe only when both databases are on one
        server, because LiteLLM's own commit then flushes the same log; never set it between two servers.
    type: bool
    default: false
  sync_user:
    description:
      - User that the bridge logs in to Open WebUI's database as. Required when O(state=present).
    type: str
  sync_password:
    description:
      - Password of O(sync_user). Required when O(state=present).
    type: str
  verify:
    description:
      - V(connection) connects to Open WebUI's database as the bridge does and fails if that does not work.
      - V(apply) also fails if O(sync_user) cannot execute C(user_bridge.apply) there.
      - The test is made before anything is committed, so that a change that does not work is not kept.
      - In check mode the test is made only when nothing would change.
    type: str
    choices: [skip, connection, apply]
    default: skip
  statements:
    description:
      - What is executed before anything else, in a transaction of its own, such as the grants without which the
        connection cannot be made. It must not contain secrets.
      - With O(state=present) only. Each statement counts as a change, so hand over only those that are needed.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    support: full
    details:
      - Executes nothing but queries, in a read-only transaction.
  diff_mode:
    support: full
    details:
      - The password is not shown.
  idempotent:
    support: full
extends_documentation_fragment:
  - llmops.user_bridge._login
  - llmops.user_bridge._target
  - llmops.user_bridge._attributes
  - llmops.user_bridge._attributes.actiongroup
seealso:
  - module: llmops.user_bridge.bridge_install
"""

EXAMPLES = r"""
- name: Let LiteLLM's server reach Open WebUI's database on the same server
  llmops.user_bridge.bridge_target:
    login_host: 127.0.0.1
    login_user: postgres
    login_password: "{{ bridge_login_password }}"
    login_db: litellm
    target_host: 127.0.0.1
    target_db: openwebui
    synchronous_commit_off: true
    sync_user: sync_user
    sync_password: "{{ bridge_sync_password }}"
    verify: connection

- name: Remove the foreign server and the user mapping
  llmops.user_bridge.bridge_target:
    login_unix_socket: /var/run/postgresql
    login_db: litellm
    state: absent
"""

RETURN = r"""
database:
  description: The database that was looked at.
  returned: success
  type: str
  sample: litellm
server:
  description: What was done to the foreign server, one of V(created), V(updated), V(dropped) and V(unchanged).
  returned: success
  type: str
  sample: updated
user_mapping:
  description: What was done to the user mapping, one of V(created), V(updated), V(dropped) and V(unchanged).
  returned: success
  type: str
  sample: unchanged
password:
  description: Whether the stored password is another one now, V(changed) or V(unchanged).
  returned: success
  type: str
  sample: unchanged
options:
  description: The options of the foreign server after the run. They hold no credentials.
  returned: success
  type: dict
  sample:
    host: 127.0.0.1
    port: '5432'
    dbname: openwebui
verified:
  description: What Open WebUI's server answered, null when O(verify=skip) or nothing was tested.
  returned: success
  type: dict
  contains:
    user:
      description: The user that the bridge is logged in as there.
      type: str
      sample: sync_user
    database:
      description: The database that the bridge is connected to.
      type: str
      sample: openwebui
    server_version:
      description: Version of that server.
      type: str
      sample: '17.6'
    apply:
      description: Whether the user can execute C(user_bridge.apply).
      type: bool
      sample: true
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg, _statements
from ansible_collections.llmops.user_bridge.plugins.module_utils._target import options as _options
from ansible_collections.llmops.user_bridge.plugins.module_utils._target import server as _target
from ansible_collections.llmops.user_bridge.plugins.module_utils._target.state import SERVER


def listed(options: dict[str, str]) -> str:
    """One line for each option."""
    return "".join(f"{name}: {value}\n" for name, value in sorted(options.items()))


def action(module: AnsibleModule) -> dict[str, Any]:
    params = module.params
    if params["state"] == "present":
        wanted = _target.Wanted(
            owner=params["owner"],
            options=_options.server_options(params),
            user=params["sync_user"],
            password=params["sync_password"],
            verify=params["verify"],
            check_mode=module.check_mode,
        )
        connection = _pg.connect(params)
        if not module.check_mode:
            _statements.execute(connection, params["statements"])
        done = _target.present(connection, wanted)
    else:
        done = _target.absent(_pg.connect(params), params["owner"], module.check_mode)
    result: dict[str, Any] = {
        "changed": done.changed or bool(params["statements"] and params["state"] == "present"),
        "database": done.database,
        "server": done.server,
        "user_mapping": done.user_mapping,
        "password": done.password,
        "options": done.options,
        "verified": done.verified,
    }
    if module._diff:
        header = f"server {SERVER} ({done.database})"
        result["diff"] = {
            "before_header": header,
            "after_header": header,
            "before": listed(done.before),
            "after": listed(done.after),
        }
    return result


def main() -> None:
    spec = _pg.argument_spec()
    spec.update(_options.argument_spec())
    spec.update(
        state={"type": "str", "choices": ["present", "absent"], "default": "present"},
        owner={"type": "str", "default": "user_bridge_owner"},
        synchronous_commit_off={"type": "bool", "default": False},
        sync_user={"type": "str"},
        sync_password={"type": "str", "no_log": True},
        verify={"type": "str", "choices": ["skip", "connection", "apply"], "default": "skip"},
        statements=_statements.SPEC,
    )
    module = AnsibleModule(
        argument_spec=spec,
        required_if=[("state", "present", ("target_host", "target_db", "sync_user", "sync_password"))],
        supports_check_mode=True,
    )
    _pg.run(module, action)


if __name__ == "__main__":
    main()
