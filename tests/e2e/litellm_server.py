# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The real LiteLLM proxy as a process of its own, without any network but loopback, and its HTTP API."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from e2e.process import Program
from e2e.webui_api import Answer, call
from kit import litellm_proxy
from kit.cluster import die_with_parent, free_port
from kit.common import pick_version
from kit.schemas import Login

STOP_SECONDS = 20
MASTER_KEY = "sk-master-only-for-tests"
# The first line of `bin/litellm` is the absolute path of where the environment was made.
_SERVE = "from litellm import run_server; run_server()"
# JSON is YAML. Models come over the API, as administrators add them in LiteLLM's pages.
_CONFIG = {
    "model_list": [],
    "litellm_settings": {"telemetry": False, "num_retries": 0},
    "general_settings": {
        "master_key": MASTER_KEY,
        "store_model_in_db": True,
        "proxy_batch_write_at": 3,
        # As docs/access.md says.
        "user_header_mappings": [{"header_name": "X-OpenWebUI-User-Email", "litellm_user_role": "customer"}],
    },
}
_SETTINGS = {
    # Its own migrations would need Prisma's binaries.
    "DISABLE_SCHEMA_UPDATE": "true",
    "LITELLM_SALT_KEY": "sk-salt-only-for-tests",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_MODE": "PRODUCTION",
    "LITELLM_TELEMETRY": "False",
    "NO_DOCS": "True",
    "NO_PROXY": "127.0.0.1,localhost",
    "PYTHONUNBUFFERED": "1",
}


class Proxy(Program):
    """One process."""

    name, alive, start_seconds = "LiteLLM", "/health/liveliness", 180

    def call(
        self, method: str, path: str, body: Any = None, key: str = MASTER_KEY, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One request with this key."""
        return call(method, self.url + path, body, {"Authorization": f"Bearer {key}", **(headers or {})})

    def get(self, path: str, key: str = MASTER_KEY) -> Any:
        """The body of an answer that must be a success."""
        return _ok(self.call("GET", path, key=key))

    def post(self, path: str, **body: Any) -> Any:
        """As an administrator's script calls it; the body of an answer that must be a success."""
        return _ok(self.call("POST", path, body))

    def models(self, key: str = MASTER_KEY) -> set[str]:
        """What LiteLLM lists for this key."""
        return {each["id"] for each in self.get("/v1/models", key)["data"]}

    def chat(self, key: str, model: str, question: str, headers: Mapping[str, str] | None = None) -> Answer:
        messages = [{"role": "user", "content": question}]
        return self.call("POST", "/v1/chat/completions", {"model": model, "messages": messages}, key, headers)

    def stop(self) -> None:
        """Politely first; its engine is in the same process group."""
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_SECONDS)
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextmanager
def running(
    wanted: str, login: Login, home: Path, log: Path, config: Mapping[str, Any] | None = None
) -> Iterator[Proxy]:
    """A proxy on LiteLLM's database for the length of a with block.

    `home`: an empty folder for its files. `config`: what its configuration file has besides, section by section.
    """
    version = pick_version(litellm_proxy.PROGRAM, wanted)
    python = litellm_proxy.proxy_python(version)
    log.unlink(missing_ok=True)
    litellm_proxy.complete_schema(login, version, log)
    with _starting(version, python, {"DATABASE_URL": login.url}, home, log, config or {}) as proxy:
        proxy.wait()
        yield proxy


@contextmanager
def _starting(
    version: str, python: Path, settings: Mapping[str, str], home: Path, log: Path, besides: Mapping[str, Any]
) -> Iterator[Proxy]:
    config = home / "config.yaml"
    config.write_text(json.dumps(_with(_CONFIG, besides)), encoding="utf-8")
    port = free_port()
    with log.open("ab") as sink:
        process = subprocess.Popen(
            [python, "-c", _SERVE, "--config", config, "--host", "127.0.0.1", "--port", str(port)],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            cwd=home,
            env={**litellm_proxy.environment(python), **_SETTINGS, "HOME": str(home), **settings},
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
    proxy = Proxy(version, port, log, process)
    try:
        yield proxy
    finally:
        proxy.stop()


def _with(config: Mapping[str, Any], besides: Mapping[str, Any]) -> dict[str, Any]:
    sections = {
        name: {**config.get(name, {}), **section} if isinstance(section, Mapping) else section
        for name, section in besides.items()
    }
    return {**config, **sections}


def _ok(answer: Answer) -> Any:
    assert answer.status == 200, answer
    return answer.body
