# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The real Open WebUI as a process of its own: started on a free port, without any network but loopback."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from e2e.process import Program
from kit.cluster import die_with_parent, free_port
from kit.schemas import openwebui_python

STOP_SECONDS = 15
# What a proxy that signs people in would set.
SSO_HEADER = "X-Forwarded-Email"
# Not `bin/open-webui`: its first line is the absolute path of where the environment was made, and caches are copied.
_SERVE = "from open_webui import app; app()"
_SETTINGS = {
    "PATH": "/usr/bin:/bin",
    "LC_ALL": "C.UTF-8",
    "WEBUI_SECRET_KEY": "only for tests, and the same for all servers of a database",
    "OFFLINE_MODE": "true",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "ENABLE_VERSION_UPDATE_CHECK": "false",
    "ANONYMIZED_TELEMETRY": "false",
    "DO_NOT_TRACK": "true",
    "SCARF_NO_ANALYTICS": "true",
    # Models that a lean install has not got.
    "RAG_EMBEDDING_ENGINE": "openai",
    "AUDIO_STT_ENGINE": "openai",
    "ENABLE_OLLAMA_API": "false",
    "ENABLE_EVALUATION_ARENA_MODELS": "false",
    "OPENAI_API_KEY": "only-for-tests",
    "ENABLE_FORWARD_USER_INFO_HEADERS": "true",
    # Each would ask the provider again after every answer.
    "ENABLE_TITLE_GENERATION": "false",
    "ENABLE_TAGS_GENERATION": "false",
    "ENABLE_FOLLOW_UP_GENERATION": "false",
    "ENABLE_AUTOCOMPLETE_GENERATION": "false",
}


class Server(Program):
    """One process; both versions run their migrations before they listen."""

    name, alive, start_seconds = "Open WebUI", "/health", 120

    def stop(self) -> None:
        """Politely first. Browsers hold sockets open, for which uvicorn would wait."""
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextmanager
def starting(version: str, settings: Mapping[str, str], home: Path, log: Path) -> Iterator[Server]:
    """A server that has been started and may not answer yet. `home`: where it keeps its files."""
    python = openwebui_python(version, server=True)
    home.mkdir()
    port = free_port()
    log.unlink(missing_ok=True)
    with log.open("ab") as sink:
        process = subprocess.Popen(
            [python, "-c", _SERVE, "serve", "--host", "127.0.0.1", "--port", str(port)],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            cwd=home,
            env={**_SETTINGS, "HOME": str(home), "DATA_DIR": str(home), **settings},
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
    server = Server(version, port, log, process)
    try:
        yield server
    finally:
        server.stop()
