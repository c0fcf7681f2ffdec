# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Doc fragment for the options of every module that logs in to PostgreSQL.

This doc fragment is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  login_host:
    description:
      - Host of the server. Empty means the local Unix socket.
    type: str
    default: ''
  login_port:
    description:
      - Port of the server. The environment variable E(PGPORT) of the target changes the default.
    type: int
    default: 5432
  login_user:
    description:
      - User to log in as. The environment variable E(PGUSER) of the target changes the default.
    type: str
    default: postgres
  login_password:
    description:
      - Password of O(login_user).
    type: str
    default: ''
  login_unix_socket:
    description:
      - Directory of the server's Unix socket. Used only when O(login_host) is empty or V(localhost).
    type: str
    default: ''
  login_db:
    description:
      - Database to log in to.
    type: str
  ssl_mode:
    description:
      - Whether and how a TLS connection is negotiated, as C(sslmode) of libpq.
    type: str
    choices: [allow, disable, prefer, require, verify-ca, verify-full]
    default: prefer
  ca_cert:
    description:
      - File with the certificates of the authorities that the server's certificate is checked against.
    type: str
  ssl_cert:
    description:
      - File with the client certificate.
    type: path
  ssl_key:
    description:
      - File with the key of the client certificate.
    type: path
  connect_params:
    description:
      - Further connection parameters of libpq. They take precedence over the other options.
    type: dict
    default: {}
requirements:
  - psycopg 3.1 or newer, or psycopg2 2.5.1 or newer, on the target
notes:
  - The environment variable E(PGOPTIONS) of the target is honoured.
  - A login as V(postgres) over the local socket usually needs C(become_user=postgres).
"""
