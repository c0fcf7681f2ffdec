# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An entity is one folder and one entry in the registry: a toy that is added so, as CONTRIBUTING.md says, works."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from kit import bridge, entity_types
from kit.cluster import Cluster
from kit.pairs import Pair, Side
from kit.pairs import pair as new_pair

TOY = Path(__file__).with_name("toy_entity")
TABLES = {
    "litellm": 'CREATE TABLE "LiteLLM_ToyTable" (toy_id text PRIMARY KEY, label text, note text)',
    "openwebui": "CREATE TABLE toy (id text PRIMARY KEY, label text NOT NULL)",
}


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The role's templates with the toy's folder and its entry, and nothing else changed."""
    root = tmp_path_factory.mktemp("toy") / "templates"
    shutil.copytree(bridge.TEMPLATES, root)
    shutil.copytree(TOY / "toy", root / "entities" / "toy")
    path = root / "entities" / "registry.yml"
    registry, entry = (yaml.safe_load(each.read_text(encoding="utf-8")) for each in (path, TOY / "entry.yml"))
    path.write_text(yaml.safe_dump(_merged(registry, entry), sort_keys=False), encoding="utf-8")
    return root


def _merged(base: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    added = {
        key: _merged(base[key], value) if key in base and isinstance(value, dict) else value
        for key, value in more.items()
    }
    return {**base, **added}


@pytest.fixture(scope="module")
def toys(server: Cluster, templates: Path) -> Iterator[Pair]:
    """A bridged pair where both programs have a table of toys."""
    with new_pair(server) as pair:
        pair.litellm.run(TABLES["litellm"])
        pair.openwebui.run(TABLES["openwebui"])
        with bridge.templates_from(templates):
            bridge.install_bridge(pair)
        yield pair


def _labels(pair: Pair, toy_id: str) -> list[str]:
    rows = pair.openwebui.rows("SELECT label FROM toy WHERE id = %s", [f"toy_{toy_id}"])
    return [row["label"] for row in rows]


def _audit(pair: Pair, toy_id: str) -> list[tuple[str, str]]:
    query = "SELECT operation, sync_result FROM user_bridge.sync_audit WHERE record_id = %s ORDER BY id"
    return [(row["operation"], row["sync_result"]) for row in pair.litellm_admin.rows(query, [toy_id])]


def _mapping(pair: Pair, toy_id: str) -> list[dict[str, Any]]:
    query = "SELECT litellm_type, openwebui_type, openwebui_id FROM user_bridge.sync_mapping WHERE litellm_id = %s"
    return pair.litellm_admin.rows(query, [toy_id])


def _differences(pair: Pair, toy_id: str, repair: bool = False) -> list[dict[str, Any]]:
    query = "SELECT entity_type, field, openwebui, litellm FROM user_bridge.reconcile(%s) WHERE entity_id = %s"
    return pair.litellm_admin.rows(query, [repair, toy_id])


def test_a_write_arrives_and_goes(toys: Pair) -> None:
    toys.litellm.run("""INSERT INTO "LiteLLM_ToyTable" VALUES ('t1', 'Ball')""")
    assert _labels(toys, "t1") == ["Ball"]
    mapping = {"litellm_type": "toy", "openwebui_type": "toy", "openwebui_id": "toy_t1"}
    assert _mapping(toys, "t1") == [mapping]
    toys.litellm.run("""UPDATE "LiteLLM_ToyTable" SET note = 'red' WHERE toy_id = 't1'""")
    assert _audit(toys, "t1") == [("SYNC_TOY", "SUCCESS")]
    toys.litellm.run("""UPDATE "LiteLLM_ToyTable" SET label = 'Red ball' WHERE toy_id = 't1'""")
    assert _labels(toys, "t1") == ["Red ball"]
    toys.litellm.run("""DELETE FROM "LiteLLM_ToyTable" WHERE toy_id = 't1'""")
    assert _labels(toys, "t1") == [] and _mapping(toys, "t1") == []
    assert _audit(toys, "t1")[1:] == [("SYNC_TOY", "SUCCESS"), ("DELETE_TOY", "SUCCESS")]


def test_what_existed_is_found_and_backfilled(toys: Pair) -> None:
    # As if it had been there before the triggers.
    toys.litellm_admin.run(
        "SET session_replication_role = replica;"
        """INSERT INTO "LiteLLM_ToyTable" VALUES ('old', 'Bear'); RESET session_replication_role"""
    )
    missing = {"entity_type": "toy", "field": "exists", "openwebui": False, "litellm": True}
    assert missing in _differences(toys, "old")
    assert toys.litellm_admin.value("SELECT user_bridge.backfill()") >= 1
    toys.litellm_admin.run("SELECT user_bridge.drain(100)")
    assert _labels(toys, "old") == ["Bear"] and _differences(toys, "old") == []
    states = "SELECT state FROM user_bridge.migration_states(ARRAY['toy'], ARRAY['old'])"
    assert toys.litellm_admin.value(states) == "done"


def test_a_difference_is_found_and_repaired(toys: Pair) -> None:
    toys.litellm.run("""INSERT INTO "LiteLLM_ToyTable" VALUES ('t2', 'Kite')""")
    assert _differences(toys, "t2") == []
    toys.openwebui.run("UPDATE toy SET label = 'Cat' WHERE id = 'toy_t2'")
    difference = {"entity_type": "toy", "field": "label", "openwebui": "Cat", "litellm": "Kite"}
    assert _differences(toys, "t2") == [difference] and _differences(toys, "t2", repair=True) == [difference]
    toys.litellm_admin.run("SELECT user_bridge.drain(100)")
    assert _labels(toys, "t2") == ["Kite"] and _differences(toys, "t2") == []


def test_reports_and_privileges_know_it(toys: Pair, templates: Path) -> None:
    status = toys.litellm_admin.rows("SELECT * FROM user_bridge.check_sync_status()")
    assert "LiteLLM Toys" in [value for row in status for value in row.values()]
    tables: dict[Side, str] = {"litellm": "LiteLLM_ToyTable", "openwebui": "toy"}
    for side, table in tables.items():
        expected = toys.superuser(side).rows("SELECT table_name FROM user_bridge.expected_grants()")
        assert {"table_name": table} in expected
    with bridge.templates_from(templates):
        types = entity_types.of_registry()
    assert all("toy" in types[name] for name in ("ENTITY_TYPES", "MAPPED_TYPES", "OPENWEBUI_TYPES"))


def test_it_goes_with_the_data_of_the_bridge(toys: Pair) -> None:
    toys.litellm.run("""INSERT INTO "LiteLLM_ToyTable" VALUES ('t3', 'Drum')""")
    removed = toys.openwebui_admin.rows("SELECT * FROM user_bridge.remove_data() WHERE kind = 'toys'")
    assert [(row["removed"] >= 1, row["kept"]) for row in removed] == [(True, 0)] and _labels(toys, "t3") == []
