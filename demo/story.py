# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo's story: what an administrator does in LiteLLM, written as LiteLLM writes it, each step timed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from demo.views import Mirror, changes
from kit import litellm, model_rows
from kit.pairs import Session

ORGANIZATION, TEAM = "acme", "platform"
MODELS = ("claude-sonnet", "gpt-4o", "llama-70b")
Write = tuple[str, Callable[[Session], None]]


def _add_models(session: Session) -> None:
    for model in MODELS:
        model_rows.add_model(session, model)


WRITES: tuple[Write, ...] = (
    ("organization Acme Research", lambda s: litellm.new_organization(s, ORGANIZATION, "Acme Research")),
    ("team Platform in it", lambda s: litellm.new_team(s, TEAM, "Platform", ORGANIZATION)),
    ("models " + ", ".join(MODELS), _add_models),
    ("team Platform may use gpt-4o, llama-70b", lambda s: litellm.update_team(s, TEAM, models=["gpt-4o", "llama-70b"])),
    ("user Ann", lambda s: litellm.new_user(s, "ann", "Ann.Lee@Example.com", "Ann Lee")),
    ("user Bob, without an email", lambda s: litellm.new_user(s, "bob", None, "Bob Ross")),
    (
        "user Carol, a proxy_admin",
        lambda s: litellm.new_user(s, "carol", "carol@example.com", "Carol King", "proxy_admin"),
    ),
    ("Ann joins Acme Research", lambda s: litellm.add_organization_member(s, ORGANIZATION, "ann")),
    ("Bob joins Acme Research", lambda s: litellm.add_organization_member(s, ORGANIZATION, "bob")),
    ("Carol joins Acme Research", lambda s: litellm.add_organization_member(s, ORGANIZATION, "carol", "org_admin")),
    ("Ann joins team Platform", lambda s: litellm.add_team_member(s, TEAM, "ann")),
    ("Ann is renamed", lambda s: litellm.update_user(s, "ann", user_alias="Ann Lee-Smith")),
    ("spend of Ann and Carol is booked", lambda s: litellm.flush_spend(s, {"ann": 0.02, "carol": 0.35})),
)
LOSSES: tuple[Write, ...] = (
    ("team Platform loses llama-70b", lambda s: litellm.update_team(s, TEAM, models=["gpt-4o"])),
    ("Carol is no proxy_admin any more", lambda s: litellm.update_user(s, "carol", user_role="internal_user")),
    ("Carol may use claude-sonnet", lambda s: litellm.update_user(s, "carol", models=["claude-sonnet"])),
)
DELETION: tuple[Write, ...] = (("Ann is deleted", lambda s: litellm.delete_user(s, "ann")),)


@dataclass(frozen=True)
class Step:
    """One call of LiteLLM's API: how long its statements took, and what Open WebUI showed right after."""

    what: str
    milliseconds: float
    seen: list[str]


def tell(
    writes: tuple[Write, ...], session: Session, mirror: Callable[[], Mirror], show: Callable[[Step], None]
) -> None:
    """Do each write, and look into Open WebUI as soon as LiteLLM's statements have returned."""
    before = mirror()
    for what, write in writes:
        started = time.perf_counter()
        write(session)
        milliseconds = (time.perf_counter() - started) * 1000
        after = mirror()
        show(Step(what, milliseconds, changes(before, after)))
        before = after
