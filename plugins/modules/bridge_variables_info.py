#!/usr/bin/python
# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: bridge_variables_info
short_description: Check the variables of the roles of the user bridge
version_added: 1.0.0
author:
  - llmops.user_bridge contributors (@llmops)
description:
  - Reads every variable of the host whose name begins with C(bridge_), and compares it with the options of
    P(llmops.user_bridge.bridge#role). It works on the controller and connects to nothing.
  - Fails when a name is none of theirs, when a value is blank, cannot be read as the type of its option or is out of
    bounds, and when values contradict each other. There is one line for each problem, which names the variable, what is
    wrong with it, and the remedy.
  - It also fails when an extra variable (C(-e)) would be an option but for the prefix C(bridge_), as C(state=absent)
    would, and that option has no other value than its default.
  - Other names are accepted if C(bridge_allow_unknown) lists them, or if a task made them by C(register).
  - Text is read as the type of its option, as surveys and command lines have it.
  - The roles of this collection do this before anything else.
extends_documentation_fragment:
  - llmops.user_bridge._attributes
  - llmops.user_bridge._attributes.info_module
seealso:
  - module: llmops.user_bridge.bridge_preflight_info
"""

EXAMPLES = r"""
- name: Check the variables of the bridge before anything else
  llmops.user_bridge.bridge_variables_info:
"""

RETURN = r"""
problems:
  description: What is wrong, one line for each problem.
  returned: always
  type: list
  elements: str
  sample:
    - bridge_sync_pasword is no variable of this collection; did you mean bridge_sync_password?
check_mode:
  description: Whether the task runs in check mode, by option or by keyword.
  returned: success
  type: bool
  sample: false
become:
  description: Whether tasks become another user by keyword or by a variable of the inventory.
  returned: success
  type: bool
  sample: true
become_user:
  description: Whom they become; empty if nobody.
  returned: success
  type: str
  sample: root
become_method:
  description: The method by which they would.
  returned: success
  type: str
  sample: sudo
"""
