# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Another password of the sync user while LiteLLM writes: nothing fails and nothing is lost."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

from kit import litellm
from kit.bridge import install_bridge
from kit.drains import drain_on
from kit.pairs import PASSWORDS, SYNC_USER, Pair, Session
from playbooks_support import READ_ONLY, play, variables

ROTATE = "llmops.user_bridge.rotate_sync_password"
NEW = "another day, another pass'word"


def write_until(pair: Pair, stop: threading.Event, written: list[str], errors: list[Exception]) -> None:
    """Every user by a backend of its own, which has to log in to Open WebUI's database first."""
    while not stop.is_set():
        name = f"w{len(written)}"
        try:
            raw = pair.cluster.connect(pair.litellm_db, "litellm", PASSWORDS["litellm"])
            with contextlib.closing(raw):
                litellm.new_user(Session(raw), name, f"{name}@example.com")
                written.append(name)
        except Exception as error:  # The test looks at it.
            errors.append(error)
            return
        stop.wait(0.1)


def test_a_rotation_under_load_loses_nothing(pair: Pair, tmp_path: Path) -> None:
    install_bridge(pair)
    stop, written, errors = threading.Event(), list[str](), list[Exception]()
    writer = threading.Thread(target=write_until, args=(pair, stop, written, errors))
    writer.start()
    try:
        before = len(written)
        rotated = play(ROTATE, variables(pair, bridge_sync_password=NEW), tmp_path)
        meanwhile = len(written) - before
    finally:
        stop.set()
        writer.join()
    try:
        assert (rotated.changed > 0, rotated.failed) == (True, 0), rotated.output
        assert not errors
        assert meanwhile > 1, "nothing was written while the password changed"
        # What was written in the moment between the two sides waits at most for the drain.
        drain_on(pair, 1000)
        assert pair.litellm_admin.value("SELECT count(*) FROM user_bridge.sync_queue") == 0
        arrived = pair.openwebui.rows("SELECT email FROM \"user\" WHERE email LIKE 'w%@example.com'")
        assert sorted(row["email"] for row in arrived) == sorted(f"{name}@example.com" for name in written)
        again = play(ROTATE, variables(pair, bridge_sync_password=NEW), tmp_path, env=READ_ONLY)
        assert (again.changed, again.failed) == (0, 0), again.output
    finally:
        # The password belongs to the whole server, and so to other tests.
        pair.openwebui_admin.run(f'ALTER ROLE "{SYNC_USER}" PASSWORD %s', [PASSWORDS[SYNC_USER]])
