# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a deployment and bridge_status say of who sees a model for another reason than a list of LiteLLM's."""

from __future__ import annotations

from typing import Any

import jinja2
import pytest
from ansible_collections.llmops.user_bridge.plugins.filter.table import table

from kit import reported
from kit.common import REPO

FACTS = reported.info()
LINES = [
    "Models:      12 in LiteLLM, 1 named by bridge_extra_models or read from LiteLLM, 40 grants in Open WebUI",
    "2 people see all of them only because no list says anything about them (bridge_model_unassigned)",
    "somebody has made public in Open WebUI, so that everybody sees (bridge_model_takeover): llama3",
    f'somebody else has put 2 people into the bridge\'s group "{reported.MARKUP}" in Open WebUI, who see its models',
    "1 person may use the preset poet, but not the model that it is built on, gpt-4o",
    "nobody is granted: gpt-4o-audio",
    "Explained:   u1 is not granted gpt-4o by LiteLLM",
    "- team Blue: no, the team lists other models",
    "- Open WebUI: no grant",
]


def lines(found: dict[str, Any], name: str = "models.txt.j2") -> str:
    loader = jinja2.FileSystemLoader(REPO / "roles" / "bridge" / "templates")
    templates = jinja2.Environment(loader=loader, undefined=jinja2.StrictUndefined, trim_blocks=True)
    templates.filters["llmops.user_bridge.table"] = table
    given = {"bridge_litellm_db": "litellm", "bridge_maintenance_name": "litellm", "bridge_report_path": ""}
    return templates.get_template(name).render(__bridge_info=found, explain_user="u1", **given)


@pytest.mark.parametrize("line", LINES)
def test_each_of_them_is_said(line: str) -> None:
    assert line in lines(FACTS)


def test_where_rights_are_not_followed_nothing_is_said() -> None:
    models = {"litellm": None, "openwebui": None}
    assert lines({**FACTS, "models": models, "enforcement": None, "explanation": None}).strip() == ""


@pytest.mark.parametrize("line", ["- 2 entities, unreachable: ", "- 1 entity, refused by Open WebUI: "])
def test_the_report_counts_entities(line: str) -> None:
    assert line in lines(FACTS, "status.txt.j2")
