# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads the variables on the controller, before anything goes to the host."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible.module_utils.common.yaml import yaml_load
from ansible.plugins.action import ActionBase
from ansible.utils.vars import load_extra_vars
from ansible_collections.llmops.user_bridge.plugins.plugin_utils import _variables

_COLLECTION = Path(__file__).parents[2]
_ROLE = _COLLECTION / "roles" / "bridge"


class ActionModule(ActionBase):
    """Fails with a line for each variable that cannot be used."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        self.validate_argument_spec({})
        # YAML reads the names on, no and 1 as something else than text, and none of ours is such a one.
        variables = {name: value for name, value in (task_vars or {}).items() if isinstance(name, str)}
        extra = {name for name in load_extra_vars(self._loader) if isinstance(name, str)}
        options = self._options()
        given = {
            name: value
            for name, value in variables.items()
            if name.startswith(_variables.PREFIX) and not _is_registered(value)
        }
        values: dict[str, Any] = {}
        problems: list[str] = []
        for name in sorted(given.keys() & options.keys()):
            try:
                values[name] = _plain(self._templar.template(given[name]))
            except AnsibleError as error:
                # Nothing but the first line: others quote the source, and with it a secret.
                problems.append(f"{name} cannot be evaluated: {str(error).splitlines()[0]}")
        allowed = values.get("bridge_allow_unknown", [])
        problems += _variables.unknown(given, options, allowed)
        problems += _variables.unprefixed(extra, options, self._chosen(given), allowed)
        problems += _variables.half_a_question(variables)
        problems += _variables.wrong_values(values, options)
        problems += self._delegated(variables)
        if problems:
            return {**result, "failed": True, "msg": "\n".join(problems), "problems": problems}
        return {
            **result,
            "changed": False,
            "problems": [],
            "check_mode": bool(self._task.check_mode),
            **self._become(variables),
        }

    def _options(self) -> dict[str, Any]:
        """Those of every entry point of the role bridge."""
        specs = _read(_ROLE / "meta" / "argument_specs.yml")["argument_specs"]
        return {name: option for spec in specs.values() for name, option in spec.get("options", {}).items()}

    def _chosen(self, given: Mapping[str, Any]) -> set[str]:
        """Those that are not as the role has them."""
        defaults = _read(_ROLE / "defaults" / "main.yml")
        return {name for name, value in given.items() if name not in defaults or value != defaults[name]}

    def _delegated(self, variables: Mapping[str, Any]) -> list[str]:
        """Whom a delegated task becomes is read from the other host's variables, which have nothing of this run."""
        where = self._task.delegate_to
        if not where or where == variables.get("inventory_hostname"):
            return []
        return [
            f"The role runs with delegate_to: {where}, which it cannot: run the play on {where} (hosts: {where},"
            f" or bridge_hosts={where} for the playbooks), or leave delegate_to out and name the servers with "
            "bridge_login_host and bridge_openwebui_login_host."
        ]

    def _become(self, variables: dict[str, Any]) -> dict[str, Any]:
        """As whom a task runs that does not say so itself, whether keywords or variables of the inventory decide it."""
        plugin = self._connection.become
        if plugin is None:
            method = self._templar.template(variables.get("ansible_become_method")) or self._task.become_method
            return {"become": False, "become_user": "", "become_method": str(method)}
        return {
            "become": True,
            "become_user": str(plugin.get_option("become_user") or ""),
            "become_method": plugin.name,
        }


def _read(path: Path) -> Any:
    """Without Ansible's loader, which takes ten times as long to say where in the file each value stands."""
    return yaml_load(path.read_text(encoding="utf-8"))


def _is_registered(value: Any) -> bool:
    """What a task has registered has a name that somebody chose for himself."""
    return isinstance(value, Mapping) and "changed" in value


def _plain(value: Any) -> Any:
    """ansible-core 2.18 keeps a vaulted value as it is until it is used as text."""
    return str(value) if getattr(value, "__ENCRYPTED__", False) else value
