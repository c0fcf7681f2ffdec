# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is shipped for Prometheus and Grafana names only metrics that the view has, and all of them are documented."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from ansible_collections.llmops.user_bridge.plugins.plugin_utils import _variables
from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from kit import role_readmes
from kit.bridge import render_sql
from kit.common import REPO

FILES = REPO / "roles" / "monitoring" / "files"
VIEW = render_sql("litellm")["engine/litellm/metrics.sql.j2"]
# Name to type and help.
METRICS = {
    name: (kind, text)
    for name, kind, text in re.findall(
        r"SELECT '(user_bridge_\w+)'::text AS name, '(\w+)'::text AS type,\s+'([^']*)'::text AS help", VIEW
    )
}
DASHBOARD: dict[str, Any] = json.loads((FILES / "user_bridge.json").read_text(encoding="utf-8"))
PANELS: list[dict[str, Any]] = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
every_panel = pytest.mark.parametrize("panel", PANELS, ids=lambda panel: str(panel["title"]))


def named(text: str) -> set[str]:
    return set(re.findall(r"\buser_bridge_[a-z_]+\b", text))


def test_names_follow_the_conventions() -> None:
    assert len(METRICS) == 21
    for name, (kind, text) in METRICS.items():
        assert name.endswith("_total") == (kind == "counter"), name
        assert text.endswith(".") and "\\" not in text, name


def test_rules_name_metrics_that_are_there() -> None:
    groups = yaml.safe_load((FILES / "user_bridge.rules.yml").read_text(encoding="utf-8"))["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules) >= 10
    for rule in rules:
        assert named(rule["expr"]) <= set(METRICS), rule["alert"]
        assert rule["for"] and rule["labels"]["severity"] in ("info", "warning", "critical"), rule["alert"]
        assert set(rule["annotations"]) == {"summary", "description"}, rule["alert"]


def test_the_collector_has_every_metric_of_the_view() -> None:
    collector = yaml.safe_load((FILES / "user_bridge.collector.yml").read_text(encoding="utf-8"))
    assert set(collector) == {"collector_name", "metrics"}
    found = {metric["metric_name"]: metric for metric in collector["metrics"]}
    assert list(found) == list(METRICS)
    for name, (kind, text) in METRICS.items():
        metric = found[name]
        assert set(metric) - {"key_labels"} == {"metric_name", "type", "help", "values", "query"}, name
        # sql_exporter knows no histograms; Prometheus takes their parts from counters as well.
        assert (metric["type"], metric["help"]) == ("gauge" if kind == "gauge" else "counter", text), name
        assert metric["query"].endswith(f"WHERE name = '{name}'"), name


def test_the_dashboard_is_one_by_grafanas_schema() -> None:
    """Whatever its models do not know is lost on the way through them."""
    plugins.register_default_plugins()
    read = Dashboard.from_json(DASHBOARD)
    assert list(differences(DASHBOARD, json.loads(json.dumps(read, cls=JSONEncoder)))) == []
    misspelt = json.loads(json.dumps(DASHBOARD).replace('"unit"', '"units"'))
    assert list(differences(misspelt, json.loads(json.dumps(Dashboard.from_json(misspelt), cls=JSONEncoder))))


def differences(given: Any, read: Any, place: str = "") -> Iterator[str]:
    if isinstance(given, dict) and isinstance(read, dict):
        for key, value in given.items():
            yield from differences(value, read.get(key), f"{place}/{key}")
    elif isinstance(given, list) and isinstance(read, list) and len(given) == len(read):
        for number, (one, other) in enumerate(zip(given, read, strict=True)):
            yield from differences(one, other, f"{place}/{number}")
    elif given != read:
        yield place


@every_panel
def test_a_panel_says_what_it_shows(panel: dict[str, Any]) -> None:
    assert panel["description"].endswith(".") and panel["fieldConfig"]["defaults"]["unit"]
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    refs = [target["refId"] for target in panel["targets"]]
    assert len(set(refs)) == len(refs) > 0
    for target in panel["targets"]:
        names = named(target["expr"])
        assert names and names <= set(METRICS), target["expr"]
        assert target["expr"].count('{instance=~"$instance"') == len(re.findall(r"\buser_bridge_", target["expr"]))


def test_panels_have_ids_and_places_of_their_own() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        cells = {
            (column, line)
            for column in range(place["x"], place["x"] + place["w"])
            for line in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
    shown = {name for panel in PANELS for target in panel["targets"] for name in named(target["expr"])}
    assert set(METRICS) - shown == {"user_bridge_drain_delay_seconds_sum"}


def test_every_metric_and_every_alert_is_documented() -> None:
    page = (REPO / "docs" / "monitoring.md").read_text(encoding="utf-8")
    families = {
        re.sub(r"_(bucket|sum|count)$", "", name) if kind == "histogram" else name
        for name, (kind, _) in METRICS.items()
    }
    assert {name for name in families if f"| `{name}`" not in page} == set()
    groups = yaml.safe_load((FILES / "user_bridge.rules.yml").read_text(encoding="utf-8"))["groups"]
    assert [rule["alert"] for group in groups for rule in group["rules"] if f"| `{rule['alert']}` |" not in page] == []


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"bridge_monitoring_textfile_dir": "textfiles"}, 'is "textfiles": give the directory by its whole path'),
        ({"bridge_monitoring_rules_dir": "/etc/my rules"}, 'is "/etc/my rules": give the directory by its whole path'),
        ({"bridge_monitoring_interval": "1"}, "is 1: it must be from 5 to 3600"),
        ({"bridge_monitoring_user": 'a"b'}, "a name must not have"),
        ({"bridge_monitoring_user": ""}, "is empty: give it a name"),
        ({"bridge_monitoring_user": "sync_user", "bridge_sync_user": "sync_user"}, "as is bridge_sync_user"),
        ({"bridge_monitoring_user": "postgres", "bridge_login_user": "postgres"}, "as is bridge_login_user"),
        ({"bridge_monitoring_textfile_dir": "/srv/text"}, "set bridge_monitoring_password, or run the"),
    ],
)
def test_values_that_cannot_be_used(values: dict[str, Any], problem: str) -> None:
    options = role_readmes.options("bridge")
    on = {"bridge_monitoring": "true", "bridge_monitoring_user": "monitor", "bridge_login_become_user": ""}
    (found,) = _variables.wrong_values({**on, **values}, options)
    assert problem in found and next(iter(values)) in found
    # Of what is not used nothing is asked; text is checked all the same.
    off = _variables.wrong_values({**on, **values, "bridge_monitoring": False}, options)
    assert off == ([] if "as is" in problem or "set bridge" in problem else [found])
