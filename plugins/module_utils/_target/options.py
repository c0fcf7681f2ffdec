# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of the foreign server.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

from typing import Any

from ansible_collections.llmops.user_bridge.plugins.module_utils._errors import BridgeError
from ansible_collections.llmops.user_bridge.plugins.module_utils._names import SCHEMA, literal, quote


def argument_spec() -> dict[str, Any]:
    """The options of the doc fragment _target."""
    return {
        "target_host": {"type": "str"},
        "target_port": {"type": "str", "default": "5432"},
        "target_db": {"type": "str"},
        "target_sslmode": {
            "type": "str",
            "choices": ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"],
            "default": "prefer",
        },
        "target_sslrootcert": {"type": "str"},
        "target_timeout_ms": {"type": "int", "default": 2000},
    }


def server_options(params: dict[str, Any]) -> dict[str, str]:
    """The options of the foreign server, all but the credentials."""
    if "" in _listed(params["target_host"] or "host"):
        raise BridgeError("target_host (bridge_target_host) has an empty host in its list")
    for name, variable in (("target_host", "bridge_target_host"), ("target_db", "bridge_openwebui_db")):
        if not params[name]:
            raise BridgeError(f"{name} ({variable}) is empty; give what LiteLLM's server reaches Open WebUI's with")
    hosts = _listed(params["target_host"])
    ports = _ports(str(params["target_port"]), len(hosts))
    timeout = params["target_timeout_ms"]
    if not 100 <= timeout <= 60000:
        raise BridgeError(f"target_timeout_ms (bridge_target_timeout_ms) must be from 100 to 60000, not {timeout}")
    session = [
        f"-c statement_timeout={timeout}",
        f"-c lock_timeout={timeout}",
        "-c idle_in_transaction_session_timeout=60000",
        # Whatever that database or the sync user has as default.
        r"-c default_transaction_isolation=read\ committed",
        "-c default_transaction_read_only=off",
        "-c search_path=pg_catalog",
    ]
    # Of several hosts the one that is found may be another server than LiteLLM's.
    if params["synchronous_commit_off"] and len(hosts) == 1:
        session.append("-c synchronous_commit=off")
    options = {
        "host": ",".join(hosts),
        "port": ",".join(ports),
        # A standby, and of several hosts any but the primary, is not connected to.
        "target_session_attrs": "read-write",
        "dbname": params["target_db"],
        "sslmode": params["target_sslmode"],
        "connect_timeout": "2",
        "tcp_user_timeout": str(timeout),
        "application_name": SCHEMA,
        "options": " ".join(session),
    }
    if params["target_sslrootcert"]:
        options["sslrootcert"] = params["target_sslrootcert"]
    return options


def _listed(text: str) -> list[str]:
    """The parts of a list as libpq takes it."""
    return [part.strip() for part in text.split(",")]


def _ports(text: str, hosts: int) -> list[str]:
    ports = _listed(text)
    for port in ports:
        if not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65535):
            raise BridgeError(f"target_port (bridge_target_port) must be from 1 to 65535, not {port}")
    if len(ports) not in (1, hosts):
        raise BridgeError(
            f"target_port (bridge_target_port) has {len(ports)} ports and target_host (bridge_target_host) {hosts} "
            "hosts; give one port for all, or one for each"
        )
    return ports


def option_clause(current: dict[str, str], wanted: dict[str, str]) -> str:
    """The changes as ALTER ... OPTIONS wants them, empty without any."""
    parts = [
        f"{'SET' if name in current else 'ADD'} {quote(name)} {literal(value)}"
        for name, value in wanted.items()
        if current.get(name) != value
    ]
    parts += [f"DROP {quote(name)}" for name in current if name not in wanted]
    return ", ".join(parts)
