# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Doc fragment for the way from LiteLLM's server to Open WebUI's database.

This doc fragment is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  target_host:
    description:
      - Host of Open WebUI's server as LiteLLM's server reaches it.
      - Several hosts, separated by commas, are tried in turn until one is not a read-only standby.
    type: str
  target_port:
    description:
      - Port of Open WebUI's server as LiteLLM's server reaches it. Of several hosts one for all, or a list with one for
        each.
    type: str
    default: '5432'
  target_db:
    description:
      - Open WebUI's database as LiteLLM's server reaches it.
    type: str
  target_sslmode:
    description:
      - Whether and how the connection between the servers uses TLS, as C(sslmode) of libpq.
    type: str
    choices: [disable, allow, prefer, require, verify-ca, verify-full]
    default: prefer
  target_sslrootcert:
    description:
      - File with the certificates of the authorities that Open WebUI's server is checked against. It is read by
        LiteLLM's server.
    type: str
  target_timeout_ms:
    description:
      - Time in milliseconds after which Open WebUI's server gives up a statement of the bridge.
    type: int
    default: 2000
"""
