# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/operations.md quotes what integration tests produce, and has every reason that bridge_info can give."""

from __future__ import annotations

import ast
import re

import jinja2
import pytest
import yaml
from ansible_collections.llmops.user_bridge.plugins.filter.table import table

from kit import pages, symptoms
from kit.common import REPO

HEALTH = REPO / "plugins" / "module_utils" / "_info" / "health.py"
QUOTED = [*symptoms.quoted(symptoms.REPORT), *symptoms.quoted(symptoms.STOP)]
PRODUCED = symptoms.produced()


def parts(message: str) -> list[str]:
    return [part.strip(" ();:,") for part in message.split("…") if part.strip(" ();:,")]


@pytest.mark.parametrize("message", QUOTED)
def test_every_message_is_produced_by_a_test(message: str) -> None:
    """On a real server. tests/integration/test_symptoms.py produces the causes, and says so itself."""
    assert message in PRODUCED


def test_a_message_is_compared_as_the_page_has_it() -> None:
    assert symptoms.said("could not see …", ["could not see queue: permission denied"])
    assert not symptoms.said("could not see …", ["could not look"])
    with pytest.raises(AssertionError, match="does not quote"):
        symptoms.said("nobody has ever seen this", "nobody has ever seen this")


def reasons() -> list[str]:
    """Every text that health() appends, with nothing for the values in it."""
    found = []
    for node in ast.walk(ast.parse(HEALTH.read_text(encoding="utf-8"))):
        is_append = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "append"
        for value in ast.walk(node) if is_append else ():
            if isinstance(value, ast.JoinedStr) or (isinstance(value, ast.Constant) and isinstance(value.value, str)):
                pieces = value.values if isinstance(value, ast.JoinedStr) else [value]
                found.append("".join(str(each.value) for each in pieces if isinstance(each, ast.Constant)))
                break
    return found


def test_every_reason_is_on_the_page() -> None:
    known = [parts(message.replace("user_bridge.apply", ".apply")) for message in symptoms.quoted(symptoms.REPORT)]
    texts = [text for text in reasons() if len(text) > 12]
    assert len(texts) > 15
    for text in texts:
        assert any(message and all(part in text for part in message) for message in known), text


# What bridge_info may return of a healthy bridge; the report in README is made of it.
HEALTHY = """
health: {status: ok, reasons: []}
litellm: &side
  {installed: true, version: 1.0.0, database: litellm, server_version: "17.5", objects: [{state: ok}, {state: ok}],
   counts: {users: 120, users_with_email: 118, organizations: 2, teams: 14, organization_members: 118, team_members: 96,
            api_keys: 87}}
openwebui:
  {<<: *side, database: openwebui, counts: {users: 119, admins: 2, pending: 0, groups: 16, group_members: 214}}
connection: {state: ok, user: sync_user}
settings: {delivery: commit, model_access: true}
pause: null
recent: {entries: 341, delivered: 341, since: "2026-11-25T08:02:11Z", last_success: "2026-11-26T10:01:54Z"}
day: {entries: 58, delivered: 58, most_waiting: 3, longest_seconds: 0}
models:
  litellm: {models: 24, unassigned: 0, unseen: []}
  openwebui: {grants: 61, public: [], owned: [], added: [], wider_presets: []}
explanation: null
drainer: {lives: true, since: "2026-11-26 09:14:07+00", runs: pg_cron}
last_comparison: "2026-11-26T10:04:08Z"
mapped: {user: 118, organization: 2, team: 14, api_key: 87}
not_linked: {total: 0, first: []}
queue: {depth: 0, failed: 0, oldest_seconds: null}
causes: []
removals: {total: 0, first: []}
skipped_users: [{users: 2, reason: no email}]
no_sign_in: {total: 0, first: []}
drift: null
"""


def test_the_report_in_readme_is_what_the_role_prints() -> None:
    environment = jinja2.Environment(trim_blocks=True, loader=jinja2.FileSystemLoader(REPO / "roles/bridge/templates"))
    environment.filters["llmops.user_bridge.table"] = table
    template = environment.get_template("status.txt.j2")
    info = yaml.safe_load(HEALTHY)
    shown, _demo = pages.blocks("README.md", "text")
    printed = template.render(__bridge_info=info, bridge_maintenance_name="litellm", bridge_litellm_db="litellm")
    assert shown.strip() == re.sub(r"\b2 objects", "… objects", printed).strip()
