# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be copied from examples/ and docs/ is right without being run; site.yml and Molecule's are run elsewhere."""

from __future__ import annotations

import re
from typing import Any

import kubernetes_validate
import pytest
import yaml

from kit import pages, role_readmes
from kit.common import REPO

EXAMPLES = REPO / "examples"
KNOWN = {*role_readmes.options("bridge"), "bridge_hosts"}
FILES = [path.relative_to(EXAMPLES).as_posix() for path in sorted(EXAMPLES.rglob("*.yml"))]


def keys(value: Any) -> set[str]:
    """Every key of a document, however deep."""
    if isinstance(value, dict):
        return set(value) | {name for each in value.values() for name in keys(each)}
    return {name for each in value for name in keys(each)} if isinstance(value, list) else set()


@pytest.mark.parametrize("name", FILES)
def test_its_variables_are_there(name: str) -> None:
    found = yaml.safe_load((EXAMPLES / name).read_text(encoding="utf-8"))
    assert {key for key in keys(found) if str(key).startswith("bridge_")} <= KNOWN


@pytest.mark.parametrize("page", pages.pages())
def test_the_variables_of_a_page_are_there(page: str) -> None:
    for block in pages.blocks(page, "yaml"):
        assert {key for key in keys(yaml.safe_load(block)) if str(key).startswith("bridge_")} <= KNOWN


def test_manifests_are_as_kubernetes_has_them() -> None:
    version = kubernetes_validate.latest_version()
    blocks = [yaml.safe_load(block) for page in pages.pages() for block in pages.blocks(page, "yaml")]
    found = [block for block in blocks if "kind" in block]
    assert [manifest["kind"] for manifest in found] == ["Deployment"]
    for manifest in found:
        kubernetes_validate.validate(manifest, version, strict=True)
        with pytest.raises(kubernetes_validate.ValidationError, match="replica"):
            kubernetes_validate.validate({**manifest, "spec": {**manifest["spec"], "replica": 1}}, version, strict=True)


def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((EXAMPLES / "compose" / "compose.yml").read_text(encoding="utf-8"))
    return found


def test_images_are_named_by_tag_or_by_whoever_runs_them() -> None:
    for name, service in compose()["services"].items():
        assert re.fullmatch(r"[a-z]+:\d+|\$\{[A-Z_]+:\?.*\}", service["image"]), name


def test_nothing_in_compose_is_reached_from_elsewhere() -> None:
    for service in compose()["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])


def test_composes_programs_and_variables_mean_the_same_databases() -> None:
    """The defaults of the role, and a server that asks the bridge's login for its password and has room for it."""
    services = compose()["services"]
    defaults = role_readmes.load("bridge", "defaults")
    for program in ("litellm", "openwebui"):
        url = services[program]["environment"]["DATABASE_URL"]
        assert url.startswith(f"postgresql://{defaults[f'bridge_{program}_owner']}:")
        assert url.endswith(f"@postgres:5432/{defaults[f'bridge_{program}_db']}")
    server = services["postgres"]
    assert server["environment"]["POSTGRES_HOST_AUTH_METHOD"] == "scram-sha-256"
    assert "--auth=scram-sha-256" in server["environment"]["POSTGRES_INITDB_ARGS"]
    pools = [defaults[f"bridge_postgres_{program}_connections"] for program in ("litellm", "openwebui")]
    assert server["command"][-1] == f"max_connections={2 * pools[0] + pools[1] + 20}"


def test_what_stops_everything_names_every_trigger() -> None:
    """docs/removal.md, for when nothing else helps."""
    registry = REPO / "roles" / "triggers" / "templates" / "entities" / "registry.yml"
    tables = yaml.safe_load(registry.read_text(encoding="utf-8"))["sides"]["litellm"]["tables"]
    (block,) = pages.blocks("docs/removal.md", "sql")
    assert block.splitlines() == [f'DROP TRIGGER IF EXISTS user_bridge_enqueue ON "{name}";' for name in tables]
