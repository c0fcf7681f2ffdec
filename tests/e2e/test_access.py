# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""verify_access proves from outside what a person is shown and refused, by the real Open WebUI and the real LiteLLM."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from e2e import webui_api as api
from e2e.company import MODEL, OTHER_MODEL, Company
from e2e.site import Person
from kit.bridge import change_settings
from kit.drains import drain_on
from kit.recap import Run
from playbooks_support import READ_ONLY, play, variables


def verify(company: Company, key: str, person: Person, tmp_path: Path, **given: Any) -> Run:
    values = {
        "bridge_openwebui_url": company.site.server.url,
        "bridge_openwebui_email": person.email,
        "bridge_openwebui_password": person.email,
        "bridge_litellm_url": company.litellm.url,
        "bridge_litellm_key": key,
        "bridge_verify_granted_model": MODEL,
        "bridge_verify_refused_model": OTHER_MODEL,
        **given,
    }
    run = play("llmops.user_bridge.verify_access", variables(company.site.pair, **values), tmp_path, env=READ_ONLY)
    assert run.changed == 0 and key not in run.output, run.output
    return run


@contextmanager
def enforced(company: Company) -> Iterator[None]:
    """LiteLLM refuses what it must; afterwards the rows are given back."""
    change_settings(company.site.pair, enforce_models=True)
    try:
        enforce(company)
        yield
    finally:
        change_settings(company.site.pair, enforce_models=False)
        enforce(company)


def enforce(company: Company) -> None:
    """As the drainer does, until nothing is left to do."""
    query = "SELECT user_bridge.enforce_rights(s) FROM user_bridge.settings AS s"
    assert any(not company.site.pair.litellm_admin.value(query) for _turn in range(100))
    # LiteLLM reads its end users again, for which it would take a minute.
    company.litellm.post("/customer/new", user_id="nobody")
    company.litellm.post("/customer/delete", user_ids=["nobody"])


@pytest.mark.parametrize("site", ["new", pytest.param("old", marks=pytest.mark.weekly)], indirect=True, scope="session")
def test_a_person_tries_both_programs(company: Company, tmp_path: Path) -> None:
    ann, bob, eve = (company.hire(f"{name} Access", models=[MODEL]) for name in ("Ann", "Bob", "Eve"))
    drain_on(company.site.pair)
    key = company.litellm.post("/key/generate", key_alias="as Open WebUI's")["key"]
    live = company.site.sign_in(ann)
    for given in ({}, {"bridge_openwebui_password": None, "bridge_openwebui_token": live.token}):
        run = verify(company, key, ann, tmp_path, **given)
        assert run.failed == 0, run.output
        for line in (
            f"Open WebUI shows {ann.email} the 1 models that LiteLLM grants, and none of the ",
            f"Open WebUI lets {ann.email} ask {MODEL}",
            f"Open WebUI refuses {ann.email} the model {OTHER_MODEL} (HTTP 4",
            f"LiteLLM serves {OTHER_MODEL} when it is told that {ann.email} asks: Open WebUI alone hides it",
        ):
            assert line in run.words, run.output
    # Nothing is left behind, and a session that somebody has goes on.
    assert api.chats(live) == {}
    run = verify(company, key, ann, tmp_path, bridge_openwebui_password="of nobody")
    assert run.failed == 1 and "refuses the email and password (bridge_openwebui_email" in run.words
    if company.site.age == "old":
        return
    with enforced(company):
        run = verify(company, key, bob, tmp_path)
        assert run.failed == 0, run.output
        assert f"LiteLLM itself refuses {OTHER_MODEL} when it is told that {bob.email} asks (HTTP 403)" in run.words
        assert f"LiteLLM serves {MODEL} when it is told that {bob.email} asks" in run.words
        # Somebody has taken the row away.
        company.site.pair.litellm.run('DELETE FROM "LiteLLM_EndUserTable" WHERE user_id = %s', [eve.email])
        run = verify(company, key, eve, tmp_path)
        assert run.failed == 1 and f"told that {eve.email} asks, although bridge_enforce_models is true" in run.words
