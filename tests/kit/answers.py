# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small HTTP program: what answers where the real ones cannot be had, or would not answer so."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "sk-canary-of-the-shared-key"


@dataclass(frozen=True)
class Reply:
    """A body that is no text is sent as JSON."""

    body: Any = ""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


# What is answered, or what decides that by the headers and the body, None for a GET.
Replies = Mapping[str, "Reply | Callable[[Mapping[str, str], Any], Reply]"]


class Answering(ThreadingHTTPServer):
    """`asked` holds the paths and the headers of each request, newest last."""

    def __init__(self, replies: Replies, key: str | None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.replies, self.key = replies, key
        self.asked: list[tuple[str, dict[str, str]]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def answering(replies: Replies, key: str | None = KEY) -> Iterator[Answering]:
    """By path, with what is asked in it; 404 for others, 401 without the key unless that is None."""
    server = Answering(replies, key)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def listing(*names: str) -> Reply:
    return Reply({"object": "list", "data": [{"id": name} for name in names]})


def deployments(*rows: Mapping[str, Any]) -> Reply:
    return Reply({"data": list(rows)})


def deployment(name: str, id_: str = "", groups: tuple[str, ...] = (), **info: Any) -> dict[str, Any]:
    """A row as LiteLLM's /model/info has it."""
    known = {"id": id_ or f"id of {name}", "db_model": False, "access_groups": [*groups], **info}
    return {"model_name": name, "litellm_params": {"model": f"openai/{name}"}, "model_info": known}


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def do_GET(self) -> None:
        self._answer(None)

    def _answer(self, body: Any) -> None:
        assert isinstance(self.server, Answering)
        self.server.asked.append((self.path, dict(self.headers)))
        key = self.server.key
        refused = key is not None and self.headers.get("Authorization") != f"Bearer {key}"
        found = Reply(status=401) if refused else self.server.replies.get(self.path, Reply(status=404))
        reply = found if isinstance(found, Reply) else found(dict(self.headers), body)
        text = reply.body if isinstance(reply.body, str) else json.dumps(reply.body)
        self.send_response(reply.status)
        for name, value in {"Content-Length": str(len(text.encode())), **reply.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_arguments: Any) -> None:
        """Nothing: pytest's output is for the tests."""
