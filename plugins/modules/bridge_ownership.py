#!/usr/bin/python
# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: bridge_ownership
short_description: Make LiteLLM's database the owner of Open WebUI's
version_added: 1.0.0
author:
  - llmops.user_bridge contributors (@llmops)
description:
  - An Open WebUI takes the requests of one installation of the bridge only. That is a database of LiteLLM's, known by
    its server's system identifier, its oid and a random id, and by a key that only the owner roles of both sides can
    read.
  - Makes LiteLLM's database that installation, gives both sides a new key, and changes nothing where they agree.
  - A restored or moved database that takes the place of the installation's becomes the installation. The database that
    was it before is refused from then on.
  - Fails and changes nothing where another installation owns Open WebUI's database, or where LiteLLM's database is a
    copy and its original is still on the same server. O(take_ownership) overrules that.
  - Both sides of the bridge must be installed. The key is never part of a statement, a message or a result.
options:
  owner:
    description:
      - Role that owns the schema C(user_bridge) on both sides.
    type: str
    default: user_bridge_owner
  take_ownership:
    description:
      - Whether to take an Open WebUI that another installation owns. Everything in it then follows this LiteLLM.
    type: bool
    default: false
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
      - The key is not shown.
  idempotent:
    support: full
extends_documentation_fragment:
  - llmops.user_bridge._login
  - llmops.user_bridge._openwebui_login
  - llmops.user_bridge._attributes
  - llmops.user_bridge._attributes.actiongroup
seealso:
  - module: llmops.user_bridge.bridge_install
  - module: llmops.user_bridge.bridge_target
"""

EXAMPLES = r"""
- name: Make LiteLLM's database the owner of Open WebUI's
  llmops.user_bridge.bridge_ownership:
    login_host: 127.0.0.1
    login_user: postgres
    login_password: "{{ bridge_login_password }}"
    login_db: litellm
    openwebui_login_db: openwebui

- name: Take over an Open WebUI whose LiteLLM is no more
  llmops.user_bridge.bridge_ownership:
    login_host: 127.0.0.1
    login_user: postgres
    login_password: "{{ bridge_login_password }}"
    login_db: litellm
    openwebui_login_db: openwebui
    take_ownership: true
"""

RETURN = r"""
database:
  description: LiteLLM's database.
  returned: success
  type: str
  sample: litellm
openwebui_database:
  description: Open WebUI's database.
  returned: success
  type: str
  sample: openwebui
action:
  description:
    - V(taken) when Open WebUI's database had no owner or another one, V(moved) when the installation has moved to this
      database, V(renewed) when only the keys differed, or V(unchanged).
  returned: success
  type: str
  sample: taken
reason:
  description: Why, empty when unchanged.
  returned: success
  type: str
  sample: it had no owner
id:
  description: The id of the installation, null where only a run outside of check mode makes it.
  returned: success
  type: str
  sample: 0b9f4a54-6a0f-4d0e-9d6c-6f3f2f0f6f3e
previous_id:
  description: The id of the installation that owned Open WebUI's database before the run, null without one.
  returned: success
  type: str
  sample: 0b9f4a54-6a0f-4d0e-9d6c-6f3f2f0f6f3e
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg
from ansible_collections.llmops.user_bridge.plugins.module_utils._ownership.run import Result, Wanted, make_owner


def diff(done: Result) -> dict[str, str]:
    """Owner and place of Open WebUI's database before and after the run."""

    def listed(installation: str | None, system: str, database: int) -> str:
        return f"installation: {installation or '(a new id)'}\nsystem identifier: {system}\ndatabase oid: {database}\n"

    header = f"owner of database {done.target.name}"
    before, place = done.target.owner, done.source.place
    return {
        "before_header": header,
        "after_header": header,
        "before": listed(before.id, before.place.system, before.place.database) if before else "",
        "after": listed(done.id, place.system, place.database),
    }


def action(module: AnsibleModule) -> dict[str, Any]:
    params = module.params
    done = make_owner(
        _pg.connect(params),
        _pg.connect(_pg.second_login(params, "openwebui_"), "openwebui_"),
        Wanted(params["owner"], params["take_ownership"], module.check_mode),
    )
    result: dict[str, Any] = {
        "changed": done.decision.changed,
        "database": done.source.name,
        "openwebui_database": done.target.name,
        "action": done.decision.action,
        "reason": done.decision.reason,
        "id": done.id,
        "previous_id": done.target.owner.id if done.target.owner else None,
    }
    if module._diff:
        result["diff"] = diff(done)
    return result


def main() -> None:
    spec = _pg.both_argument_specs()
    spec.update(
        owner={"type": "str", "default": "user_bridge_owner"},
        take_ownership={"type": "bool", "default": False},
    )
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    _pg.run(module, action)


if __name__ == "__main__":
    main()
