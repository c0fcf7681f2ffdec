# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""LiteLLM's own code: environments in which it can be imported, and in which its proxy can run against a database.

The proxy reaches its database through Prisma, whose engines are binaries that neither PyPI nor npm has. npm has the
same engines as WebAssembly; kit/prisma puts them where the binaries belong.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from kit.common import (
    REQUIREMENTS,
    cache_dir,
    install,
    locked,
    npm,
    pick_version,
    required_lines,
    run_logged,
    say,
)
from kit.prepare import VENV
from kit.schemas import Login

PROGRAM = "litellm-proxy"
_PRISMA = Path(__file__).with_name("prisma")


def litellm_python(wanted: str = "new") -> Path:
    """The interpreter of a virtual environment that holds a LiteLLM version; made on first use."""
    version = pick_version(PROGRAM, wanted)
    home = cache_dir() / f"{PROGRAM}-{version}"
    requirements = REQUIREMENTS / f"{home.name}.txt"
    stamp, pins = home / "ready", requirements.read_text(encoding="utf-8")
    with locked(cache_dir() / f"{home.name}.lock"):
        if not _says(stamp, pins):
            say(f"Installing LiteLLM {version} in {home.name} (once, about 10 s)")
            shutil.rmtree(home, ignore_errors=True)
            log = home.with_name(f"{home.name}.log")
            log.unlink(missing_ok=True)
            what = f"installing {home.name}"
            run_logged([VENV / "bin" / "python", "-m", "venv", "--without-pip", home], log, what)
            # The pins are complete, and two of them are not what LiteLLM asks for. Prisma writes its client into them.
            install(home / "bin" / "python", log, what, "--no-deps", "-r", str(requirements), linked=False)
            stamp.write_text(pins, encoding="utf-8")
    return home / "bin" / "python"


def proxy_python(wanted: str = "new") -> Path:
    """As litellm_python, with the Prisma client that LiteLLM generates from its schema when it is installed."""
    python = litellm_python(wanted)
    home = python.parent.parent
    stamp, schema = home / "client", _schema(python)
    with locked(cache_dir() / f"{home.name}.lock"):
        if not stamp.exists():
            source = (_package(python, "litellm") / "proxy" / "schema.prisma").read_text(encoding="utf-8")
            # The engines that it asks for are for other machines, too.
            schema.write_text(re.sub(r"binaryTargets = .*", 'binaryTargets = ["native"]', source), encoding="utf-8")
            log = home.with_name(f"{home.name}.log")
            command: list[str | Path] = [python, "-m", "prisma", "generate", "--schema", schema]
            run_logged(command, log, f"making the Prisma client of {home.name}", env=environment(python), cwd=home)
            stamp.touch()
    return python


def environment(python: Path) -> dict[str, str]:
    """What a program of this environment needs to reach a database, and nothing of the caller's."""
    packages, engine = _packages(), str(_PRISMA / "query-engine")
    return {
        "PATH": f"{python.parent}:{os.environ.get('PATH', os.defpath)}",
        "LC_ALL": "C.UTF-8",
        "HOME": str(python.parent.parent),
        "NODE_PATH": str(packages / "node_modules"),
        # Prisma's own command line, which LiteLLM calls at each start, is one of the packages.
        "PRISMA_BINARY_CACHE_DIR": str(packages),
        "PRISMA_QUERY_ENGINE_BINARY": engine,
        "PRISMA_QUERY_ENGINE_LIBRARY": engine,
        "PRISMA_SCHEMA_ENGINE_BINARY": engine,
        "CHECKPOINT_DISABLE": "1",
    }


def complete_schema(login: Login, wanted: str, log: Path) -> None:
    """A database that has all published migrations gets what a newer LiteLLM expects besides, if it does."""
    python = proxy_python(wanted)
    schema = _schema(python)
    if _models(_package(python, "litellm_proxy_extras") / "schema.prisma") != _models(schema):
        command: list[str | Path] = ["node", _PRISMA / "push.js", login.url, schema]
        run_logged(command, log, f"the schema of LiteLLM {wanted}", env=environment(python))


def _packages() -> Path:
    """The folder of the npm packages; fetched on first use."""
    home = cache_dir() / "prisma"
    pins = required_lines("prisma.txt")
    stamp = home / "ready"
    with locked(cache_dir() / "prisma.lock"):
        if not _says(stamp, "\n".join(pins)):
            say("Fetching Prisma's engines")
            shutil.rmtree(home, ignore_errors=True)
            home.mkdir()
            # Without one, npm looks for the packages of a folder above.
            (home / "package.json").write_text("{}\n", encoding="utf-8")
            options = ["--ignore-scripts", "--no-save", "--no-package-lock"]
            npm(home, home / "npm.log", "installing Prisma's engines", "install", *options, *pins)
            stamp.write_text("\n".join(pins), encoding="utf-8")
    return home


def _says(stamp: Path, text: str) -> bool:
    return stamp.exists() and stamp.read_text(encoding="utf-8") == text


def _package(python: Path, name: str) -> Path:
    (found,) = python.parent.parent.glob(f"lib/python3*/site-packages/{name}")
    return found


def _schema(python: Path) -> Path:
    """LiteLLM's Prisma schema."""
    return python.parent.parent / "schema.prisma"


def _models(schema: Path) -> str:
    """What of a Prisma schema the database shows."""
    text = re.sub(r"generator\s+\w+\s*\{[^}]*\}", "", schema.read_text(encoding="utf-8"))
    return " ".join(text.split())
