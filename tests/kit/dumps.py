# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""pg_dump and pg_restore, as anybody runs them; and both programs' real schemas as SQL files, for servers inside of
containers, where the kit's Python does not run.

Usage: python3 -m kit.dumps DIRECTORY
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from kit import binaries, pairs
from kit.cluster import running
from kit.common import REQUIREMENTS, KitError, locked
from kit.schemas import Login, plain_dump


def run(program: Path, login: Login, *options: str | Path) -> subprocess.CompletedProcess[str]:
    """pg_dump or pg_restore against a database, with its exit code and what it said."""
    where = ["-h", login.host, "-p", str(login.port), "-U", login.user, "-d", login.database]
    environment = {**os.environ, "PGPASSWORD": login.password}
    return subprocess.run([program, *where, *options], env=environment, capture_output=True, text=True, check=False)


def write(directory: Path, versions: tuple[str, ...] = ("old", "new")) -> None:
    """old/litellm.sql, old/openwebui.sql and the same of the newest; once, until a pin changes."""
    directory.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    for path in (*sorted(REQUIREMENTS.glob("litellm-*")), *sorted(REQUIREMENTS.glob("open-webui-*"))):
        digest.update(path.read_bytes())
    stamp = directory / "ready"
    with locked(directory / "lock"):
        if stamp.exists() and stamp.read_text(encoding="ascii") == digest.hexdigest():
            return
        # The server's own pg_dump: a newer one writes settings that an older server does not know.
        major = binaries.default_major()
        pg_dump = binaries.pg_dump_for(major)
        if pg_dump is None:
            raise KitError("pg_dump is missing: apt-get install postgresql")
        with running(binaries.find(major)) as cluster:
            for version in versions:
                with pairs.pair(cluster, version, version) as pair:
                    for side in ("litellm", "openwebui"):
                        text = plain_dump(pg_dump, pair.login(side))
                        (directory / version).mkdir(exist_ok=True)
                        (directory / version / f"{side}.sql").write_text(text, encoding="utf-8")
        stamp.write_text(digest.hexdigest(), encoding="ascii")


if __name__ == "__main__":
    try:
        write(Path(sys.argv[1]))
    except (KitError, IndexError) as error:
        sys.exit(str(error) if isinstance(error, KitError) else (__doc__ or "").strip())
