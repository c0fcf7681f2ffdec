# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of bridge_status, of a bridge that delivers, fails and holds, and of people whose names are markup."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from kit import pairs, rows
from kit.bridge import install_bridge
from kit.cluster import Cluster
from kit.drains import drain_on
from kit.pairs import PASSWORDS, Pair
from playbooks_support import READ_ONLY, Run, play_hosts, shipped, variables

MARKUP = 'Ann "<script>alert(1)</script> {{ 1 + 1 }}'
ESCAPED = "Ann &#34;&lt;script&gt;alert(1)&lt;/script&gt; {{ 1 + 1 }}"
REFUSED = 'not "<script>" here'


@pytest.fixture(scope="module")
def busy(server: Cluster) -> Iterator[Pair]:
    """Deliveries in the hourly counts, one user whom Open WebUI refuses, and one deletion that is held."""
    with pairs.pair(server) as pair:
        install_bridge(pair, {"initial_password": "none", "removal_accounts": 0, "removal_percent": 0})
        rows.add_team(pair.litellm, "t1", "Blue")
        rows.add_user(pair.litellm, "u1", "ann@example.com", user_alias=MARKUP)
        rows.add_user(pair.litellm, "u2", "bob@example.com")
        rows.delete_user(pair.litellm, "u1")
        pair.openwebui_admin.run(
            f'ALTER TABLE "user" ADD CONSTRAINT "{REFUSED.replace(chr(34), 2 * chr(34))}"'
            " CHECK (email <> 'eve@example.com') NOT VALID"
        )
        rows.add_user(pair.litellm, "u3", "eve@example.com")
        pair.litellm_admin.run("UPDATE user_bridge.sync_queue SET enqueued_at = enqueued_at - interval '100 seconds'")
        pair.litellm_admin.run("SELECT user_bridge.count_the_hour()")
        yield pair


def status(pair: Pair, paths: Mapping[str, str], tmp_path: Path, *arguments: str, times: int = 1) -> Run:
    """The playbook on hosts that write their pages there, over connections that cannot write."""
    own = {**variables(pair), "bridge_maintenance": "none", "bridge_status_exit": "nagios"}
    hosts = {host: {**own, "bridge_report_path": path} for host, path in paths.items()}
    return play_hosts(shipped("bridge_status", "sites") * times, {"sites": hosts}, tmp_path, *arguments, env=READ_ONLY)


@pytest.fixture(scope="module")
def checked(busy: Pair, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("checked")
    paths = {
        "checks": f"{folder}/page.html",
        "astray": f"{folder}/no/page.html",
        "folder": str(folder),
        "one": f"{folder}/twin.html",
        "other": "{{ playbook_dir }}/twin.html",
    }
    run = status(busy, paths, folder, "--check", "--diff")
    assert not list(folder.glob("*.html"))
    return run


def test_check_mode_shows_the_page_and_writes_none(checked: Run) -> None:
    host = checked.hosts["checks"]
    assert (host.changed, host.failed) == (1, 0), checked.output
    assert "+<h1>User bridge</h1>" in checked.output and "Page: /" in checked.words
    assert "<path" not in checked.output


def test_what_is_wrong_with_the_path_is_said_before_anything_else(checked: Run) -> None:
    for host in ("astray", "folder", "one", "other"):
        assert checked.hosts[host].failed == 1, checked.output
    # No database was looked at but one.
    _before, _title, after = checked.output.partition("Databases | Read both databases")
    assert after.partition("TASK [")[0].count("[") == 1, checked.output
    assert (
        "/no/page.html: the folder /" in checked.words
        and "does not exist on the control node: create it." in checked.words
    )
    assert "it is a folder: add the name of a file to it." in checked.words
    assert "bridge_report_path is the same file for one, other: put the name of the host into it" in checked.words


def test_the_page_of_a_bridge(busy: Pair, checked: Run, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    run = status(busy, {"writes": str(path)}, tmp_path)
    assert (run.changed, run.failed) == (1, 0), run.output
    text = path.read_text(encoding="utf-8")
    assert path.stat().st_mode & 0o777 == 0o600 and not list(tmp_path.glob(".page*"))
    assert ESCAPED in text and "not &#34;&lt;script&gt;&#34; here" in text and "<script" not in text
    for part in (
        "DEGRADED",
        "deletion: user <bdi>u1</bdi>",
        "2 waiting, 1 of them failing",
        'class="plot deliveries-day"',
    ):
        assert part in text, part
    assert text.count("<svg") == 6
    assert not [secret for secret in PASSWORDS.values() if secret in text and len(secret) > 12]


def test_a_second_page_of_the_same_stays(busy: Pair, checked: Run, tmp_path: Path) -> None:
    busy.openwebui_admin.run(f'ALTER TABLE "user" DROP CONSTRAINT "{REFUSED.replace(chr(34), 2 * chr(34))}"')
    drain_on(busy)
    busy.litellm_admin.run("SELECT user_bridge.count_the_hour()")
    path = tmp_path / "page.html"
    path.write_text("of somebody else", encoding="utf-8")
    run = status(busy, {"writes": str(path)}, tmp_path, times=2)
    # The first time only.
    assert (run.changed, run.failed) == (1, 0), run.output
    assert "<html" in path.read_text(encoding="utf-8")
