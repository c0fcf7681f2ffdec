# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Doc fragment for the second login of modules that work on both databases.

This doc fragment is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  openwebui_login_db:
    description:
      - Open WebUI's database.
    type: str
  openwebui_login_host:
    description:
      - Host of Open WebUI's server.
    type: str
  openwebui_login_port:
    description:
      - Port of Open WebUI's server.
    type: int
  openwebui_login_user:
    description:
      - User to log in to Open WebUI's database as.
    type: str
  openwebui_login_password:
    description:
      - Password of O(openwebui_login_user).
    type: str
  openwebui_login_unix_socket:
    description:
      - Directory of the Unix socket of Open WebUI's server.
    type: str
  openwebui_ssl_mode:
    description:
      - Whether and how a TLS connection to Open WebUI's server is negotiated.
    type: str
    choices: [allow, disable, prefer, require, verify-ca, verify-full]
  openwebui_ca_cert:
    description:
      - File with the certificates of the authorities that Open WebUI's server is checked against.
    type: str
  openwebui_ssl_cert:
    description:
      - File with the client certificate for Open WebUI's server.
    type: path
  openwebui_ssl_key:
    description:
      - File with the key of the client certificate for Open WebUI's server.
    type: path
  openwebui_connect_params:
    description:
      - Further connection parameters for Open WebUI's server.
    type: dict
notes:
  - What is not given of the C(openwebui_*) options is taken from the login to LiteLLM's database.
"""
