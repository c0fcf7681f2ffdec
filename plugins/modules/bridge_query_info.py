#!/usr/bin/python
# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: bridge_query_info
short_description: Ask a server a question by whose answer tasks decide
version_added: 1.0.0
author:
  - llmops.user_bridge contributors (@llmops)
description:
  - Runs one query in a read-only transaction, and returns its rows as the server has them.
  - Ansible masks in the results of other modules whatever contains the login's password, so that a role or database of
    the same name is not recognized.
  - With a connection that cannot be opened it fails, and RV(cause) says why, whatever language the server speaks.
options:
  query:
    description:
      - The query. Names of catalogs, functions and operators are looked up in C(pg_catalog) only.
    type: str
    required: true
  named_args:
    description:
      - Values for places like C(%(name\)s) in the query. With one, every other C(%) has to be doubled.
    type: dict
extends_documentation_fragment:
  - llmops.user_bridge._login
  - llmops.user_bridge._attributes
  - llmops.user_bridge._attributes.info_module
  - llmops.user_bridge._attributes.actiongroup
seealso:
  - module: community.postgresql.postgresql_query
"""

EXAMPLES = r"""
- name: Read which of two databases are there
  llmops.user_bridge.bridge_query_info:
    login_host: 127.0.0.1
    login_user: postgres
    login_password: "{{ bridge_login_password }}"
    login_db: postgres
    query: SELECT datname::text AS name FROM pg_database WHERE datname = ANY (%(names)s)
    named_args:
      names: [litellm, openwebui]
  register: found
"""

RETURN = r"""
rows:
  description: The rows.
  returned: success
  type: list
  elements: dict
  sample: [{name: litellm}]
cause:
  description:
    - Why the connection could not be opened, such as V(unreachable), V(password), V(pg_hba), V(TLS) or V(database).
      V(login) stands for a login that the server refuses in a language that tells no more.
  returned: when the connection could not be opened
  type: str
  sample: unreachable
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg


def action(module: AnsibleModule) -> dict[str, Any]:
    cur = _pg.cursor(_pg.connect(module.params))
    with _pg.transaction(cur, read_only=True):
        return {"changed": False, "rows": _pg.rows(cur, module.params["query"], module.params["named_args"])}


def main() -> None:
    spec = _pg.argument_spec()
    spec.update(query={"type": "str", "required": True}, named_args={"type": "dict"})
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    _pg.run(module, action)


if __name__ == "__main__":
    main()
