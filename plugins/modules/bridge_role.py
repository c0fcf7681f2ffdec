#!/usr/bin/python
# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: bridge_role
short_description: Manage a role that logs in, with its password out of the server's sight, or remove a role
version_added: 1.0.0
author:
  - llmops.user_bridge contributors (@llmops)
description:
  - Creates a role that may log in, or sets what differs in its attributes and its password.
  - With O(state=absent) it drops what a role owns and was granted in the database, and the role itself unless another
    database of the server uses it.
  - Neither the password nor its verifier is part of a statement that the server logs or keeps in statistics, whatever
    its settings (C(log_statement), C(pg_stat_statements), C(auto_explain), C(pgaudit)). Where the login may not switch
    off what would show it, the module fails before anything is changed and names the setting.
  - The server gets a verifier, made as its C(password_encryption) says, and never the password itself.
options:
  name:
    description:
      - The role.
    type: str
    required: true
  state:
    description:
      - Whether the role is to be there.
    type: str
    choices: [absent, present]
    default: present
  password:
    description:
      - Its password. Without it no password is set.
    type: str
  restricted:
    description:
      - Whether the role loses C(SUPERUSER), C(CREATEDB), C(CREATEROLE), C(REPLICATION) and C(BYPASSRLS).
    type: bool
    default: false
  blind:
    description:
      - Whether the password of an existing role is set even where the login cannot read the stored verifier to compare.
    type: bool
    default: true
  connection_limit:
    description:
      - How many connections the role may have at a time, V(-1) any number. Without it the limit stays as it is.
      - A change ends sessions of the role that wait for work where it has more than that, if the login may.
    type: int
  statements:
    description:
      - What is executed once the role is there, in one transaction, such as grants to it. It must not contain secrets.
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
    support: partial
    details:
      - With O(blind=true) a login that cannot read C(pg_authid) sets the password on every run.
extends_documentation_fragment:
  - llmops.user_bridge._login
  - llmops.user_bridge._attributes
  - llmops.user_bridge._attributes.actiongroup
seealso:
  - module: llmops.user_bridge.bridge_target
  - module: community.postgresql.postgresql_user
"""

EXAMPLES = r"""
- name: Create the user that LiteLLM's server logs in to Open WebUI's database as
  llmops.user_bridge.bridge_role:
    login_host: 127.0.0.1
    login_user: postgres
    login_password: "{{ bridge_login_password }}"
    login_db: openwebui
    name: sync_user
    password: "{{ bridge_sync_password }}"
    restricted: true
"""

RETURN = r"""
role:
  description:
    - What was done to the role, one of V(created), V(updated), V(dropped), V(kept) and V(unchanged). V(kept) has lost
      what it had in this database.
  returned: success
  type: str
  sample: created
password:
  description: Whether the stored password is another one now, V(changed) or V(unchanged).
  returned: success
  type: str
  sample: changed
used_by:
  description: The other databases of the server that use the role, and so keep it.
  returned: with O(state=absent)
  type: list
  elements: str
  sample: [another]
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg, _role, _statements


def action(module: AnsibleModule) -> dict[str, Any]:
    params = module.params
    if params["state"] == "absent":
        return remove(module)
    wanted = _role.Wanted(
        params["name"], params["password"] or "", params["restricted"], params["blind"], params["connection_limit"]
    )
    connection = _pg.connect(params)
    plan = _role.ensure(connection, wanted, module.check_mode)
    if not module.check_mode:
        _statements.execute(connection, params["statements"])
    done = "created" if not plan.exists else "updated" if plan.changed else "unchanged"
    result: dict[str, Any] = {
        "changed": plan.changed or bool(params["statements"]),
        "role": done,
        "password": "changed" if plan.sets_password else "unchanged",
    }
    if module._diff:
        header = f"role {wanted.name}"
        result["diff"] = {"before_header": header, "after_header": header, **_role.shown(wanted, plan)}
    return result


def remove(module: AnsibleModule) -> dict[str, Any]:
    name = module.params["name"]
    found = _role.absent(_pg.connect(module.params), name, module.check_mode)
    result: dict[str, Any] = {
        "changed": found.changed,
        "role": found.done,
        "password": "unchanged",
        "used_by": list(found.used_by),
    }
    if module._diff:
        lines = (["what it owns and was granted here"] if found.used_here else []) + (
            ["the role itself"] if found.done == "dropped" else []
        )
        before = "".join(f"{line}\n" for line in lines)
        result["diff"] = {
            "before_header": f"role {name}",
            "after_header": f"role {name}",
            "before": before,
            "after": "",
        }
    return result


def main() -> None:
    spec = _pg.argument_spec()
    spec.update(
        name={"type": "str", "required": True},
        state={"type": "str", "choices": ["absent", "present"], "default": "present"},
        password={"type": "str", "no_log": True},
        restricted={"type": "bool", "default": False},
        blind={"type": "bool", "default": True},
        connection_limit={"type": "int"},
        statements=_statements.SPEC,
    )
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    _pg.run(module, action)


if __name__ == "__main__":
    main()
