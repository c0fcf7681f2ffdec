# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the two real programs have in common as processes: a port of loopback, a log, and a page that says they live."""

from __future__ import annotations

import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from e2e.webui_api import call
from kit.common import KitError


@dataclass(eq=False)
class Program:
    """One process."""

    name: ClassVar[str]
    alive: ClassVar[str]
    start_seconds: ClassVar[int]

    version: str
    port: int
    log: Path
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def wait(self) -> None:
        """Until it answers."""
        deadline = time.monotonic() + self.start_seconds
        while not self._is_alive():
            if self.process.poll() is not None or time.monotonic() > deadline:
                tail = "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-30:])
                raise KitError(f"{self.name} {self.version} did not start; the end of {self.log}:\n{tail}")
            time.sleep(0.1)

    def _is_alive(self) -> bool:
        with suppress(OSError):
            return call("GET", self.url + self.alive).status == 200
        return False
