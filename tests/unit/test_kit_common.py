# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of the test kit that need no server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kit import binaries, bridge, common, weekly


def test_versions_sort_as_numbers() -> None:
    assert sorted(["0.12.4", "0.6.30", "0.6.4"], key=common.version_key) == ["0.6.4", "0.6.30", "0.12.4"]


@pytest.mark.parametrize(
    ("program", "wanted", "version"),
    [
        ("open-webui", "old", "0.6.30"),
        ("open-webui", "new", "0.12.4"),
        ("litellm", "old", "1.77.3"),
        ("litellm", "1.77.3", "1.77.3"),
    ],
)
def test_pick_version_knows_what_requirements_pins(program: str, wanted: str, version: str) -> None:
    assert common.pick_version(program, wanted) == version


def test_pick_version_names_what_there_is() -> None:
    with pytest.raises(common.KitError, match=r"open-webui 0\.6\.31: there are 0\.6\.30, 0\.12\.4"):
        common.pick_version("open-webui", "0.6.31")


def test_every_supported_major_has_a_pinned_server() -> None:
    assert tuple(sorted(binaries.npm_pins())) == binaries.SUPPORTED_MAJORS


def test_every_schema_list_is_covered_by_its_constraints() -> None:
    for version in common.pinned_versions("open-webui"):
        pins = {
            line.partition("==")[0].lower() for line in common.required_lines(f"open-webui-{version}-constraints.txt")
        }
        for name in (f"open-webui-{version}.txt", f"open-webui-{version}-schema.txt"):
            wanted = (line.partition("[")[0].lower() for line in common.required_lines(name) if "==" not in line)
            assert {each for each in wanted if each.replace("-", "_") not in pins and each not in pins} == set(), name


@pytest.mark.parametrize("age", ["old", "new"])
def test_a_proxy_has_the_migrations_that_its_database_gets(age: str) -> None:
    """What is left between these and a newer LiteLLM, the proxy's schema is completed with."""
    schema, proxy = (
        common.required_lines(f"{program}-{common.pick_version(program, age)}.txt")
        for program in ("litellm", "litellm-proxy")
    )
    assert set(schema) <= set(proxy)


def test_hydrate_makes_relative_links_and_programs(tmp_path: Path) -> None:
    native = tmp_path / "native"
    for folder in ("bin", "lib"):
        (native / folder).mkdir(parents=True)
    (native / "bin" / "postgres").touch(mode=0o644)
    (native / "lib" / "libpq.so.5.13").touch()
    links = [{"source": "native/lib/libpq.so.5.13", "target": "native/lib/libpq.so.5"}]
    (native / "pg-symlinks.json").write_text(json.dumps(links), encoding="utf-8")
    binaries.hydrate(tmp_path)
    binaries.hydrate(tmp_path)
    assert os.readlink(native / "lib" / "libpq.so.5") == "libpq.so.5.13"
    assert os.access(native / "bin" / "postgres", os.X_OK)


def test_a_failed_program_shows_the_end_of_its_log(tmp_path: Path) -> None:
    script = "print('start'); print('the reason'); raise SystemExit(3)"
    with pytest.raises(common.KitError, match=r"(?s)trying failed with exit code 3.*the reason"):
        common.run_logged([sys.executable, "-c", script], tmp_path / "log", "trying")


@pytest.mark.parametrize("side", ["litellm", "openwebui"])
def test_templates_render_to_sql_without_template_marks(side: bridge.Side) -> None:
    rendered = bridge.render_sql(side)
    on_disk = [path.relative_to(bridge.TEMPLATES).as_posix() for path in bridge.TEMPLATES.glob("e*/**/*.sql.j2")]
    assert sorted(rendered) == sorted(path for path in on_disk if path.rpartition("/")[0].endswith(side))
    assert next(iter(rendered)) == f"engine/{side}/state.sql.j2"
    assert not [path for path, sql in rendered.items() if "{{" in sql or "{%" in sql]


def test_the_kit_needs_nothing_but_its_own_folder() -> None:
    """Programs outside of the project import it so."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(common.REPO / "tests")}
    command = [sys.executable, "-c", "import kit.bridge"]
    done = subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_uv_knows_the_certificates_that_the_system_knows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(common, "SYSTEM_CERTIFICATES", tmp_path)
    uv = tmp_path / "uv"
    uv.write_text('#!/bin/sh\necho "$UV_SYSTEM_CERTS"\n', encoding="utf-8")
    uv.chmod(0o755)
    monkeypatch.setattr(common, "_uv", lambda: uv)
    log = tmp_path / "log"
    for given, told in ((None, "1"), ("0", "0")):
        monkeypatch.delenv("UV_SYSTEM_CERTS", raising=False)
        if given:
            monkeypatch.setenv("UV_SYSTEM_CERTS", given)
        log.unlink(missing_ok=True)
        common.install(Path("there"), log, "trying", "one==1")
        assert log.read_text(encoding="utf-8").split() == [told]


def test_pip_installs_where_uv_cannot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(common, "_uv", lambda: Path("/bin/false"))
    monkeypatch.setattr(common, "_PIP", ("/bin/echo",))
    log = tmp_path / "log"
    common.install(Path("there"), log, "trying", "one==1")
    said = log.read_text(encoding="utf-8")
    assert said.startswith("--python there install ") and said.endswith(" one==1\n")


def test_what_runs_on_every_push_is_the_same_in_each_run() -> None:
    names = [f"fault {number}" for number in range(1000)]
    chosen = [name for name in names if not weekly.marks(name, 20)]
    assert 25 < len(chosen) < 100 and chosen[:2] == ["fault 29", "fault 36"]
    assert [mark.name for mark in weekly.marks("fault 0", 20)] == ["weekly"]
    assert all(weekly.is_chosen(name, 1) for name in names)
