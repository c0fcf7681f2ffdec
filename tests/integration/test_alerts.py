# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The alert rules, as Prometheus evaluates them: promtool runs each case, and notices rules that are wrong."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from kit.common import REPO
from kit.prepare import apt_install

RULES = REPO / "roles" / "monitoring" / "files" / "user_bridge.rules.yml"
WHERE = 'instance="db:9100",job="node",bridge="litellm"'
# A bridge that is well, minute by minute, for five hours.
HEALTHY: Mapping[str, str] = {
    'info{version="1.0.0"}': "1x300",
    "collected_timestamp_seconds": "0+60x300",
    "paused": "0x300",
    "target_up": "1x300",
    "drainer_up": "1x300",
    'queue_entities{state="failing"}': "0x300",
    'queue_entities{state="held"}': "0x300",
    "queue_oldest_seconds": "0x300",
    "lookout_differences": "0x300",
    "accounts_without_sign_in": "0x300",
    'upkeep_failures{task="lookout"}': "0x300",
    'drain_delay_seconds_bucket{le="0.5"}': "0+10x300",
    'drain_delay_seconds_bucket{le="30"}': "0+10x300",
    'drain_delay_seconds_bucket{le="+Inf"}': "0+10x300",
}
OLD = {"queue_oldest_seconds": "400x300"}
NO_TARGET = {"target_up": "0x300"}
# What is not well, minutes after which to look, and the alerts that go off by then.
CASES: list[tuple[Mapping[str, str], int, list[str]]] = [
    ({}, 250, []),
    ({"collected_timestamp_seconds": "0x300"}, 17, ["UserBridgeMetricsStale"]),
    ({"collected_timestamp_seconds": "0x300"}, 9, []),
    (dict.fromkeys(HEALTHY, "_x300"), 16, ["UserBridgeMetricsMissing"]),
    ({"drainer_up": "0x300"}, 6, ["UserBridgeNoDrainer"]),
    ({"drainer_up": "0x300"}, 3, []),
    (NO_TARGET, 6, ["UserBridgeTargetDown"]),
    # Who has paused the bridge for an upgrade of Open WebUI expects that.
    ({**NO_TARGET, "paused": "1x300"}, 30, []),
    (OLD, 6, ["UserBridgeQueueOld"]),
    ({**OLD, "paused": "1x300"}, 30, []),
    # One alert for one thing.
    ({**OLD, **NO_TARGET}, 6, ["UserBridgeTargetDown"]),
    ({**OLD, 'queue_entities{state="failing"}': "2x300"}, 61, ["UserBridgeFailing"]),
    ({'queue_entities{state="failing"}': "2x300"}, 50, []),
    ({'queue_entities{state="held"}': "3x300"}, 16, ["UserBridgeHeld"]),
    ({"paused": "1x300"}, 241, ["UserBridgePaused"]),
    ({'drain_delay_seconds_bucket{le="0.5"}': "0+9x300"}, 40, ["UserBridgeSlow"]),
    ({'upkeep_failures{task="lookout"}': "3x300"}, 31, ["UserBridgeUpkeepFailing"]),
    ({'upkeep_failures{task="lookout"}': "1x300"}, 60, []),
    ({"lookout_differences": "4x300"}, 61, ["UserBridgeChangedInOpenWebUI"]),
    ({"accounts_without_sign_in": "1x300"}, 241, ["UserBridgeNoSignIn"]),
]


def series(name: str) -> str:
    """A series by its name and labels, with those of the scrape."""
    metric, _, labels = name.rstrip("}").partition("{")
    return f"user_bridge_{metric}{{{WHERE}{',' if labels else ''}{labels}}}"


def run(tmp_path: Path, rules: str) -> subprocess.CompletedProcess[str]:
    """promtool's verdict on all cases."""
    apt_install("prometheus")
    (tmp_path / "rules.yml").write_text(rules, encoding="utf-8")
    tests = [
        {
            "interval": "1m",
            "input_series": [
                {"series": series(name), "values": values} for name, values in {**HEALTHY, **wrong}.items()
            ],
            "promql_expr_test": [
                {
                    "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
                    "eval_time": f"{minutes}m",
                    "exp_samples": [{"labels": f'{{alertname="{alert}"}}', "value": 1} for alert in alerts],
                }
            ],
        }
        for wrong, minutes, alerts in CASES
    ]
    given = {"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": tests}
    (tmp_path / "tests.yml").write_text(yaml.safe_dump(given), encoding="utf-8")
    command = ["promtool", "test", "rules", "tests.yml"]
    return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)


def test_each_alert_goes_off_when_it_should_and_not_else(tmp_path: Path) -> None:
    done = run(tmp_path, RULES.read_text(encoding="utf-8"))
    assert done.returncode == 0, done.stdout + done.stderr
    alerts = {
        rule["alert"]
        for group in yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
        for rule in group["rules"]
    }
    assert alerts == {alert for _wrong, _minutes, fired in CASES for alert in fired}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("expr: user_bridge_drainer_up == 0\n        for: 5m", "expr: user_bridge_drainer_up == 0\n        for: 1m"),
        (
            "user_bridge_target_up == 0 and on (instance, job, bridge) user_bridge_paused == 0",
            "user_bridge_target_up == 0",
        ),
        ("absent(user_bridge_info)", "absent(user_bridge_paused == 2)"),
    ],
)
def test_a_wrong_rule_is_noticed(tmp_path: Path, old: str, new: str) -> None:
    rules = RULES.read_text(encoding="utf-8")
    assert old in rules
    assert run(tmp_path, rules.replace(old, new)).returncode != 0
