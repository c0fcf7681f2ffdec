# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fetches and makes what `make test` needs once, so that no target waits for it. Run it beside the first targets.

Whatever fails here is tried again, and reported, by the target that needs it.

Usage: python -m kit.prefetch
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from kit import binaries, dumps, engine, litellm_proxy, matrix, prepare, scenarios, schemas
from kit.common import KitError, cache_dir, say

# For `make versions`; the default one is installed.
MAJORS = (binaries.SUPPORTED_MAJORS[0], binaries.SUPPORTED_MAJORS[-1])
BROWSER = ("chromium", "fonts-symbola")
NICENESS = 10


def python_environments() -> None:
    """Open WebUI's first: with the server's, nobody makes the smaller one that only runs migrations."""
    for version in ("new", "old"):
        schemas.openwebui_python(version, server=True)
    oldest = matrix.pinned()[0]
    python = matrix.choose(oldest, there := matrix.interpreters())
    if python:
        matrix.environment(oldest, there[python])
    for version in ("new", "old"):
        litellm_proxy.proxy_python(version)


def system_packages() -> None:
    """Before the images: apt and debootstrap do not run side by side."""
    if os.environ.get("CI"):
        prepare.apt_install(*BROWSER)
    if engine.is_ready():
        own = scenarios.distribution()
        engine.ensure_images(own)
        for other in engine.SUITES.keys() - {own}:
            engine.ensure_images(other, 1)
    for major in MAJORS:
        binaries.find(major)
    dumps.write(cache_dir() / "schemas")


def run(lane: Callable[[], None]) -> bool:
    """One lane to its end; False when it fails."""
    started = time.monotonic()
    try:
        lane()
    except (KitError, OSError, subprocess.SubprocessError) as error:
        say(f"prefetch, {lane.__name__}: {error}")
        return False
    say(f"prefetch, {lane.__name__}: ready after {time.monotonic() - started:.0f} s")
    return True


def main(lanes: Sequence[Callable[[], None]] = (python_environments, system_packages)) -> int:
    os.nice(NICENESS)
    with ThreadPoolExecutor(len(lanes)) as pool:
        return 0 if all(list(pool.map(run, lanes))) else 1


if __name__ == "__main__":
    sys.exit(main())
