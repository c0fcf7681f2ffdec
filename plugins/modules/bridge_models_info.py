#!/usr/bin/python
# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: bridge_models_info
short_description: Read from LiteLLM which models only its configuration file knows
version_added: 1.0.0
author:
  - llmops.user_bridge contributors (@llmops)
description:
  - Asks LiteLLM over HTTP for its models, and returns those that its database does not have, for the setting
    C(extra_models) of M(llmops.user_bridge.bridge_install). These are deployments of the configuration file, its
    aliases, and what deployments serve whose name has a star.
  - Models of the database are left out, for the bridge reads them there, and so are those that belong to a team.
  - What LiteLLM lists depends on the key. Models that the key does not list are not returned.
  - It needs no login to a database, so it is not in the action group.
options:
  extra_models:
    description:
      - Models that were named by hand. Of what is given here and read as well, what is given counts.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name under which LiteLLM serves it.
        type: str
        required: true
      access_groups:
        description: Access groups of its deployments.
        type: list
        elements: str
      provider:
        description: Provider that LiteLLM derives from the bare name.
        type: str
extends_documentation_fragment:
  - llmops.user_bridge._litellm
  - llmops.user_bridge._attributes
  - llmops.user_bridge._attributes.info_module
seealso:
  - module: llmops.user_bridge.bridge_install
"""

EXAMPLES = r"""
- name: Read what LiteLLM's configuration file has of models
  llmops.user_bridge.bridge_models_info:
    litellm_url: http://127.0.0.1:4000
    litellm_key: "{{ bridge_litellm_key }}"
    extra_models:
      - name: gpt-4o
        provider: openai
  register: found
"""

RETURN = r"""
models:
  description: What was given, completed by what was read, and then what was only read, by name.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name under which LiteLLM serves it.
      type: str
      sample: gpt-4o
    access_groups:
      description: Access groups of its deployments; missing where a deployment of the database decides.
      type: list
      elements: str
      sample: [frontier]
    provider:
      description: Provider that LiteLLM derives from the bare name; missing where it derives none.
      type: str
      sample: openai
read:
  description: How many of them LiteLLM has told, those that were given as well among them.
  returned: success
  type: int
  sample: 12
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg
from ansible_collections.llmops.user_bridge.plugins.module_utils._models import catalogue, litellm
from ansible_collections.llmops.user_bridge.plugins.module_utils._settings.declared import SPEC


def action(module: AnsibleModule) -> dict[str, Any]:
    params = module.params
    program = litellm.litellm(params)
    read = litellm.read(program, params["extra_models"])
    return {"changed": False, "models": catalogue.merged(params["extra_models"], read), "read": len(read)}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **litellm.OPTIONS,
            "extra_models": {**SPEC["extra_models"], "default": []},
        },
        supports_check_mode=True,
    )
    _pg.run(module, action, needs_driver=False)


if __name__ == "__main__":
    main()
