# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person sees of Open WebUI and LiteLLM over HTTP, played by `kit.answers`, for what the real ones do not do."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from kit.answers import Replies, Reply

PASSWORD, SESSION, TOKEN = "canary-of-the-person", "canary-of-the-session", "canary-of-the-token"
SERVED = Reply({"choices": [{"message": {"content": "canary-of-an-answer"}}]})
REFUSED = Reply({"detail": "canary-of-an-error"}, status=403)
DENIED = Reply({"error": {"type": "customer_model_access_denied", "message": "canary-of-an-error"}}, status=403)


def openwebui(
    email: str, account: str, shown: Collection[str], *, served: Collection[str] | None = None, role: str = "user"
) -> dict[str, Any]:
    """Somebody who signs in, is shown these models, and may ask these, or all that are shown."""
    person = {"id": account, "email": email, "role": role}

    def signs_in(_headers: Mapping[str, str], body: Any) -> Reply:
        right = (body["email"].lower(), body["password"]) == (email, PASSWORD)
        return Reply({**person, "token": SESSION}) if right else Reply(status=400)

    def has_session(headers: Mapping[str, str]) -> bool:
        return headers.get("Authorization") in (f"Bearer {SESSION}", f"Bearer {TOKEN}")

    def is_asked(headers: Mapping[str, str], body: Any) -> Reply:
        assert (body["max_tokens"], body["stream"], has_session(headers)) == (1, False, True)
        assert not {"chat_id", "session_id", "id"} & set(body)  # A chat would be saved.
        return SERVED if body["model"] in (shown if served is None else served) else REFUSED

    return {
        "/api/config": Reply({"status": True, "version": "0.12.4", "features": {}}),
        "/api/v1/auths/signin": signs_in,
        "/api/v1/auths/": lambda headers, _body: Reply(person) if has_session(headers) else Reply(status=401),
        "/api/v1/auths/signout": Reply({"status": True}),
        "/api/models": lambda headers, _body: (
            Reply({"data": [{"id": each} for each in shown]}) if has_session(headers) else Reply(status=401)
        ),
        "/api/chat/completions": is_asked,
    }


def litellm(email: str, served: Collection[str] | None = None, refusal: Reply = DENIED) -> Replies:
    """Serves everything, or only these where it is told that this person asks."""

    def is_asked(headers: Mapping[str, str], body: Any) -> Reply:
        assert body["max_tokens"] == 1
        if served is None or headers.get("X-Openwebui-User-Email") != email or body["model"] in served:
            return SERVED
        return refusal

    return {"/v1/chat/completions": is_asked}
