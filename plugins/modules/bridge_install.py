#!/usr/bin/python
# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: bridge_install
short_description: Install or remove the SQL objects of the user bridge in one database
version_added: 1.0.0
author:
  - llmops.user_bridge contributors (@llmops)
description:
  - Creates, upgrades, repairs or removes the tables, functions, views, indexes and triggers of the bridge in LiteLLM's
    or Open WebUI's database.
  - Compares every object with the catalog of the server, so that a dropped or disabled trigger, an edited function,
    a lost or an additional grant, another owner and a dropped table are found and repaired.
  - Works in one transaction for each database, of which it takes both where O(openwebui) is given. Without a difference
    it writes nothing at all.
  - Touches nothing outside of schema C(user_bridge) but triggers named C(user_bridge_*).
options:
  state:
    description:
      - V(present) brings all objects to what O(definitions) says. Objects that an earlier run installed and that are no
        longer in O(definitions) are dropped. A bridge that is paused stays paused.
      - V(absent) drops the triggers and the schema with everything in it, its extension included when that lives in the
        schema. The foreign server must be gone before, see M(llmops.user_bridge.bridge_target).
    type: str
    choices: [present, absent]
    default: present
  side:
    description:
      - Which side of the bridge the database is.
    type: str
    choices: [litellm, openwebui]
    required: true
  owner:
    description:
      - Role without login that owns the schema and everything in it but the functions of O(program_role). It must
        exist.
    type: str
    default: user_bridge_owner
  program_role:
    description:
      - Role without login that owns the functions that touch the program's tables, those after C(SET ROLE) in
        O(definitions). It must exist.
      - The default is V(user_bridge_reader) for O(side=litellm) and V(user_bridge_writer) for O(side=openwebui).
    type: str
  program_owner:
    description:
      - Role that owns the program's tables. It may read the bridge's tables and sequences, without which a backup by
        C(pg_dump) as this role would fail. None of them holds a secret.
      - Without it nobody gets that right, and loses it who has it.
    type: str
  version:
    description:
      - Version of the collection, recorded in the database. Required when O(state=present).
      - When the database has a newer one, the module fails and changes nothing.
    type: str
  definitions:
    description:
      - The SQL files in the order in which they are applied. Required when O(state=present).
      - Every statement must be idempotent and name its objects with their schema. A C(CREATE) opens an object;
        the C(ALTER), C(COMMENT), C(GRANT), C(REVOKE) and C(INSERT) statements after it, up to the next C(CREATE),
        belong to that object.
      - C(SET ROLE) with O(owner) or O(program_role) says who owns what is created after it in the file, at first
        O(owner).
      - A function needs a C(COMMENT ON FUNCTION) with its argument types, by which it is found in the catalog.
    type: list
    elements: dict
    suboptions:
      name:
        description:
          - Name of the file, for messages.
        type: str
        required: true
      sql:
        description:
          - The rendered SQL. It must not contain secrets.
        type: str
        required: true
  required_tables:
    description:
      - Tables in schema C(public) by which the program's database is recognized, besides those that have a trigger in
        O(definitions). When one is missing, the module fails and changes nothing.
    type: list
    elements: str
    default: []
  optional_tables:
    description:
      - Tables in schema C(public) that not every version of the program has. A trigger in O(definitions) on one that is
        missing is left out; the next run after the program has been upgraded creates it.
    type: list
    elements: str
    default: []
  openwebui:
    description:
      - Open WebUI's side, which is brought to the same O(state) in the same run. With V(present) it comes before
        LiteLLM's, which delivers to it, with V(absent) after it. O(side) must be V(litellm) then.
      - What is not among these options is for both sides. Open WebUI's database is O(openwebui_login_db).
    type: dict
    suboptions:
      program_role:
        description:
          - As O(program_role).
        type: str
      program_owner:
        description:
          - As O(program_owner).
        type: str
      definitions:
        description:
          - As O(definitions).
        type: list
        elements: dict
        suboptions:
          name:
            description:
              - Name of the file, for messages.
            type: str
            required: true
          sql:
            description:
              - The rendered SQL. It must not contain secrets.
            type: str
            required: true
      required_tables:
        description:
          - As O(required_tables).
        type: list
        elements: str
        default: []
      optional_tables:
        description:
          - As O(optional_tables).
        type: list
        elements: str
        default: []
  sources:
    description:
      - A digest of all that O(definitions) was made from. It is recorded when something is changed, and
        M(llmops.user_bridge.bridge_preflight_info) returns it while everything is as it was installed.
    type: str
  lock_timeout_ms:
    description:
      - Longest time in milliseconds that the module waits for the locks on LiteLLM's tables, and so the longest time
        that LiteLLM may have to wait behind it. When it is over, everything is rolled back and tried again after
        a pause, six times in all.
    type: int
    default: 500
attributes:
  check_mode:
    support: full
    details:
      - Executes nothing but queries, in a read-only transaction.
  diff_mode:
    support: full
  idempotent:
    support: full
extends_documentation_fragment:
  - llmops.user_bridge._login
  - llmops.user_bridge._openwebui_login
  - llmops.user_bridge._settings
  - llmops.user_bridge._attributes
  - llmops.user_bridge._attributes.actiongroup
seealso:
  - module: llmops.user_bridge.bridge_target
  - module: llmops.user_bridge.bridge_info
"""

EXAMPLES = r"""
- name: Install LiteLLM's side
  llmops.user_bridge.bridge_install:
    login_host: 127.0.0.1
    login_user: postgres
    login_password: "{{ bridge_login_password }}"
    login_db: litellm
    side: litellm
    version: 1.0.0
    definitions:
      # The templates of the role triggers read its files entities/registry.yml and settings.yml.
      - name: engine/litellm/state.sql
        sql: "{{ lookup('ansible.builtin.template', 'engine/litellm/state.sql.j2', template_vars=declared) }}"
    settings:
      delivery: commit
      target_timeout_ms: 2000

- name: Remove Open WebUI's side
  llmops.user_bridge.bridge_install:
    login_unix_socket: /var/run/postgresql
    login_db: openwebui
    side: openwebui
    state: absent
"""

RETURN = r"""
database:
  description: The database that was looked at.
  returned: success
  type: str
  sample: litellm
version:
  description: The recorded version of the bridge.
  returned: success
  type: dict
  contains:
    before:
      description: The version before the run, null when the bridge was not installed.
      type: str
      sample: 1.0.0
    after:
      description: The version after the run, null when the bridge is not installed.
      type: str
      sample: 1.0.0
objects:
  description: Every object of the bridge in this database, in the order of the definitions.
  returned: success
  type: list
  elements: dict
  contains:
    kind:
      description:
        - One of schema, table, sequence, index, view, materialized view, function, procedure, trigger, extension,
          bridge.
      type: str
      sample: trigger
    name:
      description: Name of the object. A trigger is named with its table, a function with its argument types.
      type: str
      sample: user_bridge_enqueue on public."LiteLLM_UserTable"
    action:
      description:
        - V(created) when it was never there, V(updated) when its definition is a new one, V(repaired) when it was not
          as it had been left, V(dropped), or V(unchanged).
      type: str
      sample: repaired
    reason:
      description: Why, empty when unchanged.
      type: str
      sample: trigger is disabled
settings:
  description: Names of the settings that were changed.
  returned: success
  type: list
  elements: str
  sample: [delivery]
openwebui:
  description: The same of Open WebUI's side, that is RV(database), RV(version), RV(objects) and RV(settings).
  returned: with O(openwebui)
  type: dict
  sample: {database: openwebui, version: {before: null, after: 1.0.0}, objects: [], settings: []}
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg, _version
from ansible_collections.llmops.user_bridge.plugins.module_utils._errors import BridgeError
from ansible_collections.llmops.user_bridge.plugins.module_utils._install.apply import present
from ansible_collections.llmops.user_bridge.plugins.module_utils._install.definitions import wanted_definitions
from ansible_collections.llmops.user_bridge.plugins.module_utils._install.diff import diff
from ansible_collections.llmops.user_bridge.plugins.module_utils._install.dumpable import dumpable
from ansible_collections.llmops.user_bridge.plugins.module_utils._install.plan import Wanted
from ansible_collections.llmops.user_bridge.plugins.module_utils._install.remove import absent
from ansible_collections.llmops.user_bridge.plugins.module_utils._lock import check_timeout
from ansible_collections.llmops.user_bridge.plugins.module_utils._names import PROGRAM_ROLES, Roles
from ansible_collections.llmops.user_bridge.plugins.module_utils._settings.check import checked
from ansible_collections.llmops.user_bridge.plugins.module_utils._settings.declared import OPENWEBUI, SPEC


def roles(params: dict[str, Any]) -> Roles:
    return Roles(params["owner"], params["program_role"] or PROGRAM_ROLES[params["side"]])


def wanted(params: dict[str, Any], check_mode: bool) -> Wanted:
    """The options of state=present, checked."""
    _version.version_key(params["version"] or "")
    settings = checked(params["settings"])
    if params["side"] == "openwebui":
        settings = {name: value for name, value in settings.items() if name in OPENWEBUI}
    return Wanted(
        side=params["side"],
        roles=roles(params),
        version=params["version"],
        definitions=tuple(
            dumpable(each, params["program_owner"]) for each in wanted_definitions(params["definitions"], roles(params))
        ),
        required_tables=tuple(params["required_tables"]),
        optional_tables=tuple(params["optional_tables"]),
        settings=settings,
        lock_timeout_ms=params["lock_timeout_ms"],
        check_mode=check_mode,
        sources=params["sources"] or "",
    )


def sides(params: dict[str, Any]) -> list[dict[str, Any]]:
    """The options of each side, in the order in which they are dealt with."""
    if params["openwebui"] is None:
        return [params]
    if params["side"] != "litellm":
        raise BridgeError("openwebui goes with side=litellm only; leave it out for side=openwebui")
    login = _pg.second_login(params, "openwebui_")
    other = {**params, **login, **params["openwebui"], "side": "openwebui", "prefix": "openwebui_"}
    return [other, params] if params["state"] == "present" else [params, other]


def action(module: AnsibleModule) -> dict[str, Any]:
    check_timeout(module.params["lock_timeout_ms"])
    todo = sides(module.params)
    targets = [wanted(params, module.check_mode) if params["state"] == "present" else None for params in todo]
    connections = [_pg.connect(params, params.get("prefix", "")) for params in todo]
    done = {
        params["side"]: brought(module, params, target, connection)
        for params, target, connection in zip(todo, targets, connections)
    }
    result = done.pop(module.params["side"])
    for name, other in done.items():
        result["changed"] |= other.pop("changed")
        if module._diff:
            result["diff"] = other.pop("diff") + result["diff"]
        result[name] = other
    return result


def brought(module: AnsibleModule, params: dict[str, Any], target: Wanted | None, connection: Any) -> dict[str, Any]:
    """Bring one side to its state."""
    if target:
        plan = present(connection, target)
    else:
        plan = absent(connection, params["side"], roles(params), params["lock_timeout_ms"], module.check_mode)
    for change in plan.objects:
        if change.warning:
            module.warn(f"database {plan.database}: {change.warning}")
    result = {
        "changed": plan.changed,
        "database": plan.database,
        "version": {"before": plan.version_before, "after": target.version if target else None},
        "objects": [change.result for change in plan.objects],
        "settings": list(plan.settings),
    }
    if module._diff:
        result["diff"] = diff(plan, roles(params))
    return result


def main() -> None:
    of_a_side: dict[str, Any] = {
        "program_role": {"type": "str"},
        "program_owner": {"type": "str"},
        "definitions": {
            "type": "list",
            "elements": "dict",
            "options": {"name": {"type": "str", "required": True}, "sql": {"type": "str", "required": True}},
        },
        "required_tables": {"type": "list", "elements": "str", "default": []},
        "optional_tables": {"type": "list", "elements": "str", "default": []},
    }
    spec = {**_pg.argument_spec(), **_pg.argument_spec("openwebui_"), **of_a_side}
    spec.update(
        state={"type": "str", "choices": ["present", "absent"], "default": "present"},
        side={"type": "str", "choices": ["litellm", "openwebui"], "required": True},
        owner={"type": "str", "default": "user_bridge_owner"},
        version={"type": "str"},
        openwebui={"type": "dict", "options": of_a_side},
        settings={"type": "dict", "options": SPEC},
        sources={"type": "str"},
        lock_timeout_ms={"type": "int", "default": 500},
    )
    module = AnsibleModule(
        argument_spec=spec,
        required_if=[("state", "present", ("version", "definitions"))],
        supports_check_mode=True,
    )
    _pg.run(module, action)


if __name__ == "__main__":
    main()
