# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""As AWX has it: every variable is text and an extra variable, and ansible-runner prints the output.

Extra variables beat whatever a role or a playbook sets.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from kit import litellm
from kit.common import REPO
from kit.pairs import PASSWORDS, Pair
from playbooks_support import READ_ONLY, Run, environment, forget_roles, play, snapshot, variables


def as_text(value: Any) -> str:
    """As a survey hands it on."""
    if isinstance(value, (list, dict)):
        return json.dumps(value)
    return str(value)


def survey(pair: Pair) -> dict[str, str]:
    """Every variable that has a plain default, with it."""
    defaults = yaml.safe_load((REPO / "roles" / "bridge" / "defaults" / "main.yml").read_text(encoding="utf-8"))
    plain: Mapping[str, Any] = {name: value for name, value in defaults.items() if "{{" not in json.dumps(value)}
    values = {**plain, **variables(pair), "bridge_monitoring": True}
    return {name: as_text(value) for name, value in values.items()}


def test_everything_is_text(pair: Pair, tmp_path: Path) -> None:
    forget_roles(pair)
    before, given = snapshot(pair), survey(pair)
    assert {"True", "False", "30", "[]", '{"proxy_admin": "admin"}'} <= {*given.values()}

    def run(playbook: str, **more: Any) -> Run:
        done = play(f"llmops.user_bridge.{playbook}", {**given, **more.pop("values", {})}, tmp_path, **more)
        assert done.failed == 0, done.output
        return done

    litellm.new_user(pair.litellm, "ann", "ann@example.com")
    assert run("deploy_bridge").changed > 0
    assert pair.openwebui.value("SELECT count(*) FROM \"user\" WHERE id = 'usr_ann'") == 1
    again = ("deploy_bridge", "migrate_users", "rotate_sync_password", "bridge_audit")
    plays = [{"ansible.builtin.import_playbook": f"llmops.user_bridge.{playbook}"} for playbook in again]
    done = play(plays, given, tmp_path, env=READ_ONLY)
    assert (done.changed, done.failed) == (0, 0), done.output
    pair.litellm_admin.run("SELECT user_bridge.pause()")
    check_runner(given, tmp_path / "runner")
    assert run("remove_bridge", values={"bridge_remove_data": "True"}).changed > 0
    assert snapshot(pair) == before


def check_runner(given: Mapping[str, str], folder: Path) -> None:
    """Exit codes come through, and neither its output nor its files of events have a secret, nor HOME anything."""
    (folder / "env").mkdir(parents=True)
    values = {**given, "bridge_status_exit": "nagios", "ansible_python_interpreter": sys.executable}
    (folder / "env" / "extravars").write_text(json.dumps(values), encoding="utf-8")
    program = Path(sys.executable).with_name("ansible-runner")
    done = subprocess.run(
        [program, "run", folder, "-p", "llmops.user_bridge.bridge_status", "--ident", "one"],
        capture_output=True,
        text=True,
        check=False,
        env={**environment(folder, READ_ONLY), "HOME": "/proc"},
    )
    assert (done.returncode, "the bridge is paused" in done.stdout) == (1, True), done.stdout + done.stderr
    events = [path.read_text(encoding="utf-8") for path in (folder / "artifacts" / "one").rglob("*") if path.is_file()]
    assert len(events) > 10
    for secret in PASSWORDS.values():
        assert secret not in done.stdout + "".join(events)
