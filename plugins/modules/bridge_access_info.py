#!/usr/bin/python
# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: bridge_access_info
short_description: Try as a person what Open WebUI shows and what LiteLLM refuses
version_added: 1.0.0
author:
  - llmops.user_bridge contributors (@llmops)
description:
  - Signs in to Open WebUI as a person, compares the models that it shows with what the bridge says, and tries a model
    that is granted and one that is not, in Open WebUI and in LiteLLM.
  - Each try is one question of two letters with C(max_tokens) 1. No chat is saved. What is served costs a few tokens,
    and LiteLLM books it as any other request of that person.
  - In check mode it only signs in and lists.
  - A check that fails does not fail the module. The playbook C(verify_access) reads O(rights) from the bridge, and
    fails then.
  - It needs no login to a database, so it is not in the action group.
options:
  openwebui_url:
    description:
      - Address of Open WebUI.
    type: str
    required: true
  openwebui_ca_path:
    description:
      - File on the host with certificates of authorities, for an address with C(https). Without one, those of the
        system count.
    type: str
    default: ""
  openwebui_email:
    description:
      - Email of the person's account.
    type: str
    required: true
  openwebui_password:
    description:
      - Password of the account. One of it and O(openwebui_token) is required.
    type: str
  openwebui_token:
    description:
      - Token of a session of the person's, for accounts that sign in by other means. It is not ended.
    type: str
  granted_model:
    description:
      - LiteLLM's name of a granted model to try. Without one it is the first that Open WebUI shows.
    type: str
    default: ""
  refused_model:
    description:
      - LiteLLM's name of a model to try that is not granted. Without one it is the first that Open WebUI does not show.
    type: str
    default: ""
  rights:
    description:
      - What the bridge says about the person.
    type: dict
    required: true
    suboptions:
      account:
        description: Id of the account in Open WebUI that the bridge keeps for the person.
        type: str
        required: true
      enforced:
        description: Whether LiteLLM itself must refuse, as the setting C(enforce_models) says.
        type: bool
        required: true
      user:
        description: Id of the person's user in LiteLLM.
        type: str
        default: ""
      attribution:
        description: By what LiteLLM is to find the user on whom it books, as the setting C(attribution) says.
        type: str
        choices: [user_id, email, none]
        default: none
      models:
        description: Every model that LiteLLM serves.
        type: list
        elements: dict
        required: true
        suboptions:
          model:
            description: LiteLLM's name of it.
            type: str
            required: true
          openwebui_id:
            description: Id of it in Open WebUI.
            type: str
            required: true
          granted:
            description: Whether LiteLLM grants it to the person.
            type: bool
            required: true
          switched_off:
            description: Whether an administrator of Open WebUI has switched it off there.
            type: bool
            default: false
          reason:
            description: Why it is granted or not, for messages.
            type: str
            default: ""
extends_documentation_fragment:
  - llmops.user_bridge._litellm
  - llmops.user_bridge._attributes
  - llmops.user_bridge._attributes.info_module
seealso:
  - module: llmops.user_bridge.bridge_info
  - module: llmops.user_bridge.bridge_models_info
"""

EXAMPLES = r"""
- name: See whether Ann may use what LiteLLM grants her, and nothing else
  llmops.user_bridge.bridge_access_info:
    openwebui_url: http://127.0.0.1:8080
    openwebui_email: ann@example.com
    openwebui_password: "{{ bridge_openwebui_password }}"
    litellm_url: http://127.0.0.1:4000
    litellm_key: "{{ bridge_litellm_key }}"
    rights:
      account: usr_ann
      enforced: true
      models:
        - model: gpt-4o
          openwebui_id: gpt-4o
          granted: true
        - model: house-model
          openwebui_id: house-model
          granted: false
  register: access

- name: Fail when something is not as LiteLLM says
  ansible.builtin.assert:
    that: access.checks | selectattr('status', '==', 'failed') | length == 0
    fail_msg: "{{ access.checks | selectattr('status', '==', 'failed') | map(attribute='message') | join('; ') }}"
"""

RETURN = r"""
account:
  description: Who was signed in.
  returned: success
  type: dict
  contains:
    id:
      description: Id of the account.
      type: str
      sample: usr_ann
    email:
      description: Its email.
      type: str
      sample: ann@example.com
    role:
      description: Its role in Open WebUI.
      type: str
      sample: user
checks:
  description: What was looked at, in this order.
  returned: success
  type: list
  elements: dict
  contains:
    check:
      description:
        - V(sign_in); V(models), what Open WebUI shows; V(granted_chat) and V(refused_chat), what it lets the person
          ask; V(enforcement), whether LiteLLM itself refuses; if it must, V(granted_by_litellm), whether it serves what
          is granted; and, if the setting C(attribution) says so, V(attribution), whether Open WebUI sends the id of the
          user on whom LiteLLM is to book. What LiteLLM does with it is not seen.
      type: str
      sample: enforcement
    status:
      description: V(ok), V(failed), or V(skipped) where it could not be tried.
      type: str
      sample: ok
    message:
      description: What was found, and for a failure what to do about it.
      type: str
      sample: LiteLLM itself refuses house-model when it is told that ann@example.com asks (HTTP 403)
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg
from ansible_collections.llmops.user_bridge.plugins.module_utils._access.openwebui import openwebui
from ansible_collections.llmops.user_bridge.plugins.module_utils._access.verify import verify
from ansible_collections.llmops.user_bridge.plugins.module_utils._models.litellm import OPTIONS, litellm

MODEL = {
    "model": {"type": "str", "required": True},
    "openwebui_id": {"type": "str", "required": True},
    "granted": {"type": "bool", "required": True},
    "switched_off": {"type": "bool", "default": False},
    "reason": {"type": "str", "default": ""},
}
RIGHTS = {
    "account": {"type": "str", "required": True},
    "enforced": {"type": "bool", "required": True},
    "user": {"type": "str", "default": ""},
    "attribution": {"type": "str", "choices": ["user_id", "email", "none"], "default": "none"},
    "models": {"type": "list", "elements": "dict", "required": True, "options": MODEL},
}


def action(module: AnsibleModule) -> dict[str, Any]:
    params = module.params
    person = {name: params[f"openwebui_{name}"] or "" for name in ("email", "password", "token")}
    said = {**params["rights"], **{name: params[name] for name in ("granted_model", "refused_model")}}
    found = verify(
        openwebui(params["openwebui_url"], params["openwebui_ca_path"]),
        litellm(params),
        person,
        said,
        module.check_mode,
    )
    return {"changed": False, **found}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "openwebui_url": {"type": "str", "required": True},
            "openwebui_ca_path": {"type": "str", "default": ""},
            "openwebui_email": {"type": "str", "required": True},
            "openwebui_password": {"type": "str", "no_log": True},
            "openwebui_token": {"type": "str", "no_log": True},
            **OPTIONS,
            "granted_model": {"type": "str", "default": ""},
            "refused_model": {"type": "str", "default": ""},
            "rights": {"type": "dict", "required": True, "options": RIGHTS},
        },
        mutually_exclusive=[["openwebui_password", "openwebui_token"]],
        required_one_of=[["openwebui_password", "openwebui_token"]],
        supports_check_mode=True,
    )
    _pg.run(module, action, needs_driver=False)


if __name__ == "__main__":
    main()
