# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures for tests that need a real PostgreSQL with the real schemas; the work is in tests/kit."""

from __future__ import annotations

import functools
import math
import os
import signal
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import pytest

from kit import binaries, bridge, clear, cluster, common, durations, pairs, tidy


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--pg",
        default=os.environ.get("USER_BRIDGE_PG", "default"),
        help="PostgreSQL major versions, e.g. 15 or 13,18 or all, or others: all but the default, the newest installed",
    )
    parser.addoption("--record-durations", action="store_true", help=f"write what each file took to {durations.PATH}")
    parser.addoption("--weekly", action="store_true", help="also the tests that only repeat what cheaper ones prove")
    parser.addoption("--schemas", help="versions of the pair fixture for every test, instead of its own marker's")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "schemas(litellm, openwebui, older): versions of the pair fixture: new, old, all, a version, or a list of them,"
        " of which only the newest is for every push where older is weekly",
    )
    config.addinivalue_line("markers", "weekly: only with --weekly, as it repeats what cheaper tests prove")
    if config.getoption("--record-durations") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(durations.Recorder())
    # A terminated run must still unwind its fixtures.
    signal.signal(signal.SIGTERM, lambda *_: pytest.exit("terminated"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--weekly"):
        # A planted fault that is asked for by its name is meant.
        named = config.getoption("keyword")
        left_out = [
            item
            for item in items
            if item.get_closest_marker("weekly") and not (named and "fault" in getattr(item, "fixturenames", ()))
        ]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
    # The longest file first: side by side, one worker would else end long after the other. An unknown one may be long.
    known = durations.read()
    items.sort(key=lambda item: known.get(item.path.name, math.inf), reverse=True)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "pg_major" in metafunc.fixturenames:
        majors = _majors(metafunc.config.getoption("--pg"))
        metafunc.parametrize("pg_major", majors, ids=[f"pg{major}" for major in majors], scope="session")
    if "schema_versions" in metafunc.fixturenames:
        marker = metafunc.definition.get_closest_marker("schemas")
        wanted = marker.kwargs if marker else {}
        every = metafunc.config.getoption("--schemas")
        litellm = _versions("litellm", every or wanted.get("litellm", "new"))
        openwebui = _versions("open-webui", every or wanted.get("openwebui", "new"))
        newest = (litellm[-1], openwebui[-1])
        versions = [
            # Of all, both oldest and both newest on every push.
            pytest.param((one, two), id=f"{one}-{two}", marks=[pytest.mark.weekly] if across or repeats else [])
            for (number, one), (other, two) in product(enumerate(litellm), enumerate(openwebui))
            for across in [len(litellm) == len(openwebui) > 1 and number != other]
            for repeats in [wanted.get("older") == "weekly" and (one, two) != newest]
        ]
        metafunc.parametrize("schema_versions", versions)


@pytest.fixture(scope="session")
def server(pg_major: int) -> Iterator[cluster.Cluster]:
    """One throw-away server for the whole run, for each PostgreSQL version asked for."""
    try:
        programs = binaries.find(pg_major)
    except common.KitError as error:
        missing(str(error))
    with cluster.running(programs) as made:
        _servers.append(made)
        yield made
        _servers.remove(made)


_servers: list[cluster.Cluster] = []


@pytest.fixture(scope="module", autouse=True)
def tidied(request: pytest.FixtureRequest) -> Iterator[None]:
    """No file of the integration tests sees what another one has left on the server."""
    yield
    if request.path.parent.name == "integration":
        for each in _servers:
            tidy.tidy(each)


@pytest.fixture
def pair(server: cluster.Cluster, schema_versions: tuple[str, str]) -> Iterator[pairs.Pair]:
    """Fresh LiteLLM and Open WebUI databases; see the `schemas` marker for their versions."""
    with pairs.pair(server, *schema_versions) as made:
        yield made


Prepare = Callable[[pairs.Pair], object]
Kind = tuple[tuple[str, str], Prepare | None]


class Kept:
    """Bridged pairs that the tests of a module share, one for each pair of versions. Each finds its pair as new."""

    def __init__(self, server: cluster.Cluster) -> None:
        self.server = server
        self.pairs: dict[Kind, clear.Clearable] = {}

    def lend(self, session: pytest.Session, versions: tuple[str, str], prepare: Prepare | None) -> Iterator[pairs.Pair]:
        failed = session.testsfailed
        yield self.take(versions, prepare)
        if session.testsfailed != failed:
            self.drop((versions, prepare))

    def take(self, versions: tuple[str, str], prepare: Prepare | None) -> pairs.Pair:
        kept = self.pairs.get((versions, prepare))
        if kept is None or not kept.clear():
            self.drop((versions, prepare))
            made = pairs.Pair(self.server, None, None, *versions, pairs.Admin())
            kept = clear.Clearable(made, {"initial_password": "none"}, prepare)
            self.pairs[versions, prepare] = kept
        return kept.pair

    def drop(self, kind: Kind) -> None:
        if kind in self.pairs:
            self.pairs.pop(kind).pair.drop()


@pytest.fixture(scope="module")
def kept(server: cluster.Cluster) -> Iterator[Kept]:
    """Where `quick` and `prepared` take their pairs from."""
    made = Kept(server)
    yield made
    for kind in list(made.pairs):
        made.drop(kind)


@pytest.fixture
def quick(kept: Kept, schema_versions: tuple[str, str], request: pytest.FixtureRequest) -> Iterator[pairs.Pair]:
    """A bridged pair that other tests of the module had before; see write_settings for other settings."""
    yield from kept.lend(request.session, schema_versions, None)


@pytest.fixture
def prepared(kept: Kept, schema_versions: tuple[str, str], request: pytest.FixtureRequest) -> Iterator[pairs.Pair]:
    """As `quick`, and as the module's function `prepare` leaves it."""
    yield from kept.lend(request.session, schema_versions, request.module.prepare)


@pytest.fixture
def bridged(pair: pairs.Pair) -> pairs.Pair:
    """A pair with the bridge installed and its default settings."""
    bridge.install_bridge(pair)
    return pair


def missing(reason: str) -> Any:
    """A prerequisite is missing: skip on a person's machine, fail in CI, where nothing may be skipped silently."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


# Asked for each of a thousand tests; it starts three programs.
_default_major = functools.cache(binaries.default_major)


def _majors(option: str) -> list[int]:
    if option == "default":
        return [_default_major()]
    if option in ("all", "others"):
        left_out = [] if option == "all" else [_default_major()]
        return [major for major in binaries.SUPPORTED_MAJORS if major not in left_out]
    return [int(part) for part in option.split(",")]


def _versions(program: str, wanted: str | list[str]) -> list[str]:
    if wanted == "all":
        return common.pinned_versions(program)
    return [common.pick_version(program, each) for each in ([wanted] if isinstance(wanted, str) else wanted)]
