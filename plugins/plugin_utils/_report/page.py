# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The page: what bridge_info found, in the sections of bridge_status, and the plots.

Names of people and groups and messages of errors are anybody's text: the template escapes whatever is not ours.

This plugin_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ansible_collections.llmops.user_bridge.plugins.module_utils._info.health import number
from ansible_collections.llmops.user_bridge.plugins.plugin_utils._report import plots, series
from ansible_collections.llmops.user_bridge.plugins.plugin_utils._report.plots import Plot
from ansible_collections.llmops.user_bridge.plugins.plugin_utils._report.words import duration, instant, share
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

TEMPLATES = Path(__file__).parents[3] / "roles" / "bridge" / "templates"
_MADE = re.compile(r'<time id="made".*?</time>', re.DOTALL)
_PLOT = re.compile(r"<svg\b.*?</svg>", re.DOTALL)


def page(info: Mapping[str, Any], host: str, now: datetime) -> str:
    """HTML that needs nothing but itself."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(duration=duration, instant=instant, number=number)
    return environment.get_template("report.html.j2").render(
        info=info,
        host=host,
        made=now.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        counts=_counts(info),
        share=share,
        plots={each.name: each._replace(svg=each.svg and Markup(each.svg)) for each in _plots(info, now)},
    )


def is_same(one: str, other: str) -> bool:
    """Whether two pages differ in nothing but when they were made."""
    return _MADE.sub("", one) == _MADE.sub("", other)


def for_a_diff(text: str) -> str:
    """A page with its plots left out."""
    return _PLOT.sub("<svg>", text)


def _plots(info: Mapping[str, Any], now: datetime) -> list[Plot]:
    found = [plots.causes("causes", "Changes that fail, by cause", info["causes"])]
    if info["history"] is not None:
        day, month = series.last_day(info["history"], now), series.last_month(info["history"], now)
        found += [
            plots.deliveries("deliveries-day", "Deliveries in the last 24 hours", day),
            plots.deliveries("deliveries-month", "Deliveries in the last 30 days", month),
            plots.delay("delay-day", "Longest wait for the drainer in the last 24 hours", day),
            plots.delay("delay-month", "Longest wait for the drainer in the last 30 days", month),
            plots.levels("levels", "People and groups in Open WebUI, in the last 30 days", month),
        ]
    return found


def _counts(info: Mapping[str, Any]) -> list[tuple[str, Any, Any, Any]]:
    """What is counted, in LiteLLM, of that bridged, and in Open WebUI; None where a side has no such thing."""
    here = info["litellm"]["counts"] or {}
    there = (info["openwebui"] or {}).get("counts") or {}
    mapped = info["mapped"]

    def bridged(kind: str) -> int | None:
        return None if mapped is None else mapped.get(kind, 0)

    return [
        ("users", here.get("users"), bridged("user"), there.get("users")),
        ("users with an email", here.get("users_with_email"), None, None),
        ("admins", None, None, there.get("admins")),
        ("pending", None, None, there.get("pending")),
        ("organizations", here.get("organizations"), bridged("organization"), None),
        ("teams", here.get("teams"), bridged("team"), None),
        ("groups", None, None, there.get("groups")),
        ("members of organizations", here.get("organization_members"), None, None),
        ("members of teams", here.get("team_members"), None, None),
        ("members of groups", None, None, there.get("group_members")),
        ("API keys", here.get("api_keys"), bridged("api_key"), None),
    ]
