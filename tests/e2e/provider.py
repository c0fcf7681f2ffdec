# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands in for LiteLLM's proxy: a model provider that speaks OpenAI's protocol and answers by itself."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODELS = ("house-model", "team-model")


class Provider(ThreadingHTTPServer):
    """`asked` holds the headers of each question, newest last."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[dict[str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


def answer_to(question: str) -> str:
    """So that a test knows what it must find in a chat."""
    return f"You asked: {question} That is a good question."


@contextmanager
def running() -> Iterator[Provider]:
    """On a free port of loopback, for the length of a with block."""
    provider = Provider()
    thread = threading.Thread(target=provider.serve_forever, daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        provider.shutdown()
        provider.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path != "/v1/models":
            self.send_error(404)
            return
        models = [{"id": name, "object": "model", "created": 1760000000, "owned_by": "the tests"} for name in MODELS]
        self._send("application/json", json.dumps({"object": "list", "data": models}))

    def do_POST(self) -> None:
        if self.path != "/v1/chat/completions":
            self.send_error(404)
            return
        assert isinstance(self.server, Provider)
        self.server.asked.append(dict(self.headers))
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        text = answer_to(_last_question(body["messages"]))
        if body.get("stream"):
            parts = [_piece(body["model"], {"content": text}, None), _piece(body["model"], {}, "stop")]
            events = [f"data: {json.dumps(part)}\n\n" for part in parts]
            self._send("text/event-stream", "".join([*events, "data: [DONE]\n\n"]))
            return
        message = {"role": "assistant", "content": text}
        whole = {**_frame(body["model"], "chat.completion"), "choices": [_choice("message", message, "stop")]}
        whole["usage"] = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        self._send("application/json", json.dumps(whole))

    def _send(self, content_type: str, text: str) -> None:
        data = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_arguments: Any) -> None:
        """Nothing: pytest's output is for the tests."""


def _last_question(messages: list[dict[str, Any]]) -> str:
    """Text alone, or a list of parts of which the text is one."""
    content = messages[-1]["content"]
    if isinstance(content, str):
        return content
    return " ".join(part["text"] for part in content if part.get("type") == "text")


def _frame(model: str, kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-tests", "object": kind, "created": int(time.time()), "model": model}


def _choice(name: str, content: dict[str, str], finish: str | None) -> dict[str, Any]:
    return {"index": 0, name: content, "finish_reason": finish}


def _piece(model: str, delta: dict[str, str], finish: str | None) -> dict[str, Any]:
    return {**_frame(model, "chat.completion.chunk"), "choices": [_choice("delta", delta, finish)]}
