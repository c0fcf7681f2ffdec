# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the scenarios take for granted of each other, looked at without an engine."""

from __future__ import annotations

import re

import pytest
import yaml

from kit import engine, faulty, scenarios
from kit.common import REPO, KitError


def test_every_scenario_has_hosts_and_a_place_in_the_order() -> None:
    inventory = yaml.safe_load((REPO / "molecule/inventory/hosts.yml").read_text(encoding="utf-8"))
    groups = inventory["molecule"]["children"]
    assert {*scenarios.available(), "example"} == {*groups, "example"}
    hosts = [host for group in groups.values() for host in group["hosts"]]
    assert len(hosts) == len(set(hosts))


@pytest.mark.parametrize("name", faulty.FAULTS)
def test_a_planted_fault_still_finds_its_place_and_its_test(name: str) -> None:
    fault = faulty.FAULTS[name]
    assert (REPO / fault.path).read_text(encoding="utf-8").count(fault.old) == 1
    tests = "".join(
        path.read_text(encoding="utf-8") for path in (REPO / "molecule" / faulty.SCENARIO / "tests").glob("*.py")
    )
    assert re.search(rf"^def {fault.caught_by}\(", tests, re.MULTILINE)


def test_without_an_engine_it_says_so_and_in_ci_it_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(engine, "is_ready", lambda: False)
    monkeypatch.delenv("CI", raising=False)
    scenarios.run([])
    assert "SKIPPED: Molecule needs a Docker engine" in capsys.readouterr().err
    monkeypatch.setenv("CI", "true")
    with pytest.raises(KitError, match="make docker"):
        scenarios.run([])


def test_an_unknown_scenario_and_distribution_are_refused_by_name() -> None:
    with pytest.raises(KitError, match=r"no scenario defualt: there are default, "):
        scenarios.run(["defualt"])
    with pytest.raises(KitError, match="no image of debian9"):
        engine.images("debian9")


def test_an_image_is_named_by_what_it_is_made_of() -> None:
    names = [image.name for suite in engine.SUITES for image in engine.images(suite)]
    assert len(names) == len(set(names)) == 3 * len(engine.SUITES)
    assert engine.images("debian12") == engine.images("debian12")
