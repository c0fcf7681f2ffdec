# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo itself, from nothing to a second run of the playbook that changes nothing."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg2

from demo import place, playbook, story, views
from kit import binaries, schemas
from kit.common import KitError, pick_version
from kit.pairs import Session

_STARTED = time.monotonic()
# The bridge must not be able to write on its second run, so that "changed=0" is a fact and not a claim.
READ_ONLY = {"PGOPTIONS": "-c default_transaction_read_only=on"}


def run() -> None:
    """Each chapter prints what it is about before it starts."""
    litellm_version, openwebui_version = pick_version("litellm", "new"), pick_version("open-webui", "new")
    with _chapter("Downloads (kept in .cache/ for the next time)"):
        schemas.litellm_migrations(litellm_version)
        schemas.openwebui_python(openwebui_version)
    with _chapter("An embedded PostgreSQL with two empty databases"):
        place.clean()
        variables = playbook.write_variables(place.make())
        playbook.run("--tags", "bridge_postgres")
    logins = {
        name: schemas.Login("127.0.0.1", place.port(), name, name, variables[f"bridge_{name}_owner_password"])
        for name in ("litellm", "openwebui")
    }
    with _chapter(f"LiteLLM {litellm_version}'s own tables"), _open(logins["litellm"]) as session:
        count = len(schemas.apply_litellm(session.raw, litellm_version))
        print(f"    {count} migrations")
    title = f"Open WebUI {openwebui_version}'s own tables and its first admin"
    with _chapter(title), _open(logins["openwebui"]) as session:
        # Its migrations take ten seconds: they run once, and are a dump in .cache/ from then on.
        pg_dump = binaries.pg_dump_for(session.raw.server_version // 10000)
        schemas.apply_openwebui(session.raw, logins["openwebui"], openwebui_version, schemas.Admin(), pg_dump)
    with _chapter("The bridge: ansible-playbook deploy-bridge.yml"):
        playbook.run()
    with _open(logins["litellm"]) as litellm, _open(logins["openwebui"]) as openwebui:

        def mirror() -> views.Mirror:
            return views.read_openwebui(openwebui)

        chapters = (("writes", story.WRITES), ("takes rights away", story.LOSSES), ("deletes", story.DELETION))
        for what, writes in chapters:
            with _chapter(f"LiteLLM {what}: how long it took, and what Open WebUI shows right after"):
                story.tell(writes, litellm, mirror, _show)
            with _open(_superuser(logins["litellm"])) as superuser:
                _deliver(superuser)
                _show_table(("", "LiteLLM", "Open WebUI"), views.side_by_side(superuser, mirror()))
                rights = views.who_sees_what(superuser, openwebui)
                _show_table(("Who sees what", "as LiteLLM says", "Open WebUI offers"), rights)
                _refuse_undelivered(superuser)
    with _chapter("The playbook once more, over connections that cannot write"):
        changed = playbook.run(environment=READ_ONLY)
        if changed:
            raise KitError(f"the second run changed {changed} things; it must change nothing")
        print("    changed=0")
    with _chapter("What bridge_status says, as a page"):
        with _open(_superuser(logins["litellm"])) as superuser:
            # A drainer would have, within five minutes.
            superuser.run("SELECT user_bridge.count_the_hour()")
        page = ("-e", f"bridge_report_path={place.HOME / 'report.html'}")
        playbook.run(*page, playbook="llmops.user_bridge.bridge_status", environment=READ_ONLY)
    _show_way_in(logins)


@contextmanager
def _chapter(title: str) -> Iterator[None]:
    print(f"\n==> {title}", flush=True)
    started = time.monotonic()
    yield
    print(f"    {time.monotonic() - started:.1f} s", flush=True)


@contextmanager
def _open(login: schemas.Login) -> Iterator[Session]:
    with contextlib.closing(psycopg2.connect(login.url)) as connection:
        connection.autocommit = True
        yield Session(connection)


def _superuser(login: schemas.Login) -> schemas.Login:
    return schemas.Login(login.host, login.port, login.database, "postgres", place.superuser_password())


def _show(step: story.Step) -> None:
    seen = step.seen or ["nothing new"]
    print(f"    {step.milliseconds:7.1f} ms  {step.what:<39} {seen[0]}", flush=True)
    for more in seen[1:]:
        print(f"    {'':50} {more}", flush=True)


def _show_table(head: tuple[str, str, str], rows: list[tuple[str, str, str]]) -> None:
    table = [head, *rows]
    widths = [max(len(row[column]) for row in table) for column in range(3)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]
    rule = "  ".join("-" * width for width in widths)
    print("\n" + "\n".join(f"    {line}" for line in (lines[0], rule, *lines[1:])))


def _deliver(superuser: Session) -> None:
    """Rights on models are left to the drainer, which this machine may have nothing to run with."""
    # One call brings what is there, the next one whom that concerns. What fails would be returned for ever.
    for _call in range(10):
        if not superuser.rows("SELECT * FROM user_bridge.drain()"):
            return


def _refuse_undelivered(superuser: Session) -> None:
    waiting = superuser.rows(
        "SELECT entity_type, entity_id, last_error FROM user_bridge.sync_queue ORDER BY enqueued_at"
    )
    if waiting:
        told = "\n".join(f"  {row['entity_type']} {row['entity_id']}: {row['last_error']}" for row in waiting)
        raise KitError(f"not everything reached Open WebUI; the queue holds:\n{told}")


def _show_way_in(logins: dict[str, schemas.Login]) -> None:
    """Ready to paste; the passwords stay in a file."""
    passwords = place.HOME / "pgpass"
    passwords.touch(mode=0o600)
    passwords.write_text(
        "".join(f"*:*:*:{login.user}:{login.password}\n" for login in logins.values()), encoding="utf-8"
    )
    print(f"\n==> Done in {time.monotonic() - _STARTED:.0f} s. The server still runs; have a look yourself:")
    for login in logins.values():
        print(f"    PGPASSFILE={passwords} psql -h {login.host} -p {login.port} -U {login.user} {login.database}")
    print(f"    {(place.HOME / 'report.html').as_uri()}    # what bridge_status found, for a browser")
    print("    make demo-clean    # stops it and removes everything\n")
