#!/usr/bin/python
# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: bridge_report
short_description: Write the state of the user bridge as a page
version_added: 1.0.0
author:
  - llmops.user_bridge contributors (@llmops)
description:
  - Writes what M(llmops.user_bridge.bridge_info) found as one HTML page, which needs neither a network nor a script. It
    works on the controller and connects to nothing.
  - The page has names and addresses of people in it, so nobody but its owner can read it, mode C(0600).
  - A page that differs in nothing but when it was made stays as it is. The plots end with the hour of the task, so that
    a page is renewed once an hour at least.
  - With C(--check) nothing is written. C(--diff) shows the page without its plots.
requirements:
  - pygal >= 3.0.4 in the Python that runs Ansible
options:
  path:
    description:
      - The file, from the folder in which Ansible was started. Its folder must exist.
    type: str
    required: true
  info:
    description:
      - What M(llmops.user_bridge.bridge_info) returned, with O(llmops.user_bridge.bridge_info#module:history). Without
        it, the task only finds out whether the page could be written, and fails with what is in the way.
    type: dict
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
extends_documentation_fragment:
  - llmops.user_bridge._attributes
seealso:
  - module: llmops.user_bridge.bridge_info
"""

EXAMPLES = r"""
- name: Look at both sides
  llmops.user_bridge.bridge_info:
    login_host: 127.0.0.1
    login_user: postgres
    login_password: "{{ bridge_login_password }}"
    login_db: litellm
    openwebui_login_db: openwebui
    history: true
  register: bridge

- name: Write it as a page
  llmops.user_bridge.bridge_report:
    path: bridge.html
    info: "{{ bridge }}"
"""

RETURN = r"""
path:
  description: The file, from the root of the file system.
  returned: success
  type: str
  sample: /srv/reports/bridge.html
"""
