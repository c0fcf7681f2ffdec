# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Open WebUI's HTTP API as people's browsers use it, in one shape for all its versions."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kit.common import version_key

TIMEOUT_SECONDS = 60
# A proxy of the machine's must not get between us and loopback.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Answer:
    status: int
    body: Any


def call(method: str, url: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
    """One request; an error status is an answer too. What is not JSON comes back as text."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json", **(headers or {})}, method=method)
    try:
        with _OPENER.open(request, timeout=TIMEOUT_SECONDS) as answer:
            return Answer(answer.status, _parsed(answer.read()))
    except urllib.error.HTTPError as error:
        return Answer(error.code, _parsed(error.read()))


def _parsed(data: bytes) -> Any:
    text = data.decode("utf-8", errors="replace")
    try:
        return json.loads(text)
    except ValueError:
        return text


@dataclass(frozen=True)
class Visitor:
    """A live session: what somebody got who signed in once and now keeps the page open."""

    url: str
    version: str
    id: str
    token: str = field(repr=False)

    def get(self, path: str) -> Answer:
        return self._call("GET", path)

    def post(self, path: str, body: Any) -> Answer:
        return self._call("POST", path, body)

    def _call(self, method: str, path: str, body: Any = None) -> Answer:
        return call(method, self.url + path, body, {"Authorization": f"Bearer {self.token}"})

    def ok(self, answer: Answer) -> Any:
        """The body of an answer that must be a success."""
        assert answer.status == 200, answer
        return answer.body


def sign_up(url: str, version: str, name: str, email: str, password: str) -> Visitor:
    """The first page of a new installation: whoever fills it in becomes the admin."""
    form = {"name": name, "email": email, "password": password, "profile_image_url": "/user.png"}
    return _visitor(url, version, call("POST", f"{url}/api/v1/auths/signup", form))


def sign_in(url: str, version: str, email: str, password: str) -> Visitor | None:
    """None when it is refused."""
    answer = call("POST", f"{url}/api/v1/auths/signin", {"email": email, "password": password})
    if answer.status == 400:
        return None
    return _visitor(url, version, answer)


def sign_in_by_header(url: str, version: str, header: str, email: str) -> Visitor | None:
    """The page that a person sees behind a proxy that has signed him in; None when it is refused."""
    answer = call("POST", f"{url}/api/v1/auths/signin", {"email": "", "password": ""}, {header: email})
    # 403: a person without an account, where Open WebUI makes none.
    if answer.status in (400, 403):
        return None
    return _visitor(url, version, answer)


def _visitor(url: str, version: str, answer: Answer) -> Visitor:
    assert answer.status == 200, answer
    return Visitor(url, version, answer.body["id"], answer.body["token"])


# ---- what a person does ----


def chat(visitor: Visitor, model: str, question: str) -> str:
    """Ask, and keep the answer as a chat; its id."""
    asked = {"id": "q", "parentId": None, "childrenIds": ["a"], "role": "user", "content": question}
    completion = ask(visitor, model, question)
    answered = {
        "id": "a",
        "parentId": "q",
        "childrenIds": [],
        "role": "assistant",
        "model": model,
        "content": visitor.ok(completion)["choices"][0]["message"]["content"],
    }
    history = {"currentId": "a", "messages": {"q": asked, "a": answered}}
    form = {"title": question, "models": [model], "history": history, "messages": [asked, answered]}
    return str(visitor.ok(visitor.post("/api/v1/chats/new", {"chat": form}))["id"])


def chats(visitor: Visitor) -> dict[str, str]:
    """Chat id to the answer that is in it."""
    ids = [each["id"] for each in visitor.ok(visitor.get("/api/v1/chats/"))]
    bodies = {each: visitor.ok(visitor.get(f"/api/v1/chats/{each}"))["chat"] for each in ids}
    return {each: body["history"]["messages"]["a"]["content"] for each, body in bodies.items()}


def save_settings(visitor: Visitor, **interface: Any) -> None:
    visitor.ok(visitor.post("/api/v1/users/user/settings/update", {"ui": interface}))


def settings(visitor: Visitor) -> Any:
    """None for somebody who never saved any."""
    saved = visitor.ok(visitor.get("/api/v1/users/user/settings"))
    return saved and saved["ui"]


def change_password(visitor: Visitor, old: str, new: str) -> None:
    visitor.ok(visitor.post("/api/v1/auths/update/password", {"password": old, "new_password": new}))


def ask(visitor: Visitor, model: str, question: str) -> Answer:
    """Without keeping it."""
    messages = [{"role": "user", "content": question}]
    return visitor.post("/api/chat/completions", {"model": model, "stream": False, "messages": messages})


def title(visitor: Visitor, model: str, question: str) -> Answer:
    """What the page asks for after the first answer of this model."""
    return _task(visitor, "title", model, question)


def tags(visitor: Visitor, model: str, question: str) -> Answer:
    """What the page asks for after the first answer of this model."""
    return _task(visitor, "tags", model, question)


def _task(visitor: Visitor, task: str, model: str, question: str) -> Answer:
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": "A good question."}]
    return visitor.post(f"/api/v1/tasks/{task}/completions", {"model": model, "messages": messages})


def models(visitor: Visitor) -> set[str]:
    """What the model menu offers."""
    return {each["id"] for each in visitor.ok(visitor.get("/api/models"))["data"]}


def is_let_in(visitor: Visitor) -> bool:
    """Whether a live session still gets anything: everybody's own chats."""
    answer = visitor.get("/api/v1/chats/")
    assert answer.status in (200, 401), answer
    return answer.status == 200


def is_admin(visitor: Visitor) -> bool:
    """Whether a live session gets what only admins get."""
    answer = visitor.get("/api/v1/users/")
    assert answer.status in (200, 401), answer
    return answer.status == 200


# ---- what an admin's pages ask for ----


def users_page(admin: Visitor) -> dict[str, dict[str, Any]]:
    """Email to the row of Admin Panel > Users, all its pages."""
    found: dict[str, dict[str, Any]] = {}
    page = 1
    while True:
        body = admin.ok(admin.get(f"/api/v1/users/?page={page}&order_by=email&direction=asc"))
        found |= {row["email"]: row for row in body["users"]}
        page += 1
        if not body["users"] or len(found) >= body["total"]:
            return found


def groups_page(admin: Visitor) -> dict[str, dict[str, Any]]:
    """Group id to the row of Admin Panel > Users > Groups."""
    return {row["id"]: row for row in admin.ok(admin.get("/api/v1/groups/"))}


def members(admin: Visitor, group_id: str) -> list[str]:
    """Account ids, sorted, as the group's own page shows them."""
    if version_key(admin.version) < (0, 6, 37):
        return sorted(admin.ok(admin.get(f"/api/v1/groups/id/{group_id}"))["user_ids"])
    shown = admin.ok(admin.post(f"/api/v1/groups/id/{group_id}/users", {}))
    return sorted(row["id"] for row in shown)


def add_account(admin: Visitor, name: str, email: str, password: str) -> str:
    """Admin Panel > Users > Add User; the account's id."""
    form = {"name": name, "email": email, "password": password, "role": "user"}
    return str(admin.ok(admin.post("/api/v1/auths/add", form))["id"])


def add_connection(admin: Visitor, url: str, key: str) -> None:
    """Settings > Connections: one more of OpenAI's kind, whose models keep their names."""
    now = admin.ok(admin.get("/openai/config"))
    form = {
        "ENABLE_OPENAI_API": True,
        "OPENAI_API_BASE_URLS": [*now["OPENAI_API_BASE_URLS"], url],
        "OPENAI_API_KEYS": [*now["OPENAI_API_KEYS"], key],
        "OPENAI_API_CONFIGS": now["OPENAI_API_CONFIGS"],
    }
    admin.ok(admin.post("/openai/config/update", form))


def move_connection(admin: Visitor, url: str, to: str) -> None:
    """The same connection, key and all, leads to another server."""
    now = admin.ok(admin.get("/openai/config"))
    urls = [to if each == url else each for each in now["OPENAI_API_BASE_URLS"]]
    assert to in urls
    admin.ok(admin.post("/openai/config/update", {**now, "OPENAI_API_BASE_URLS": urls}))


def offer_model(admin: Visitor, model: str, *, group_id: str | None = None) -> None:
    """Workspace or Settings > Models: for everybody, or for the members of one group."""
    form: dict[str, Any] = {"id": model, "name": model, "meta": {}, "params": {}, "is_active": True}
    if version_key(admin.version) < (0, 8):
        read = {"group_ids": [group_id], "user_ids": []}
        nobody: dict[str, list[str]] = {"group_ids": [], "user_ids": []}
        form["access_control"] = {"read": read, "write": nobody} if group_id else None
    else:
        kind, who = ("group", group_id) if group_id else ("user", "*")
        form["access_grants"] = [{"principal_type": kind, "principal_id": who, "permission": "read"}]
    admin.ok(admin.post("/api/v1/models/create", form))


def grant_by_hand(admin: Visitor, model: str, account_id: str) -> None:
    """Settings > Models, from 0.8.0 on: one account more may see it."""
    now = admin.ok(admin.get(f"/api/v1/models/model?id={model}"))
    grant = {"principal_type": "user", "principal_id": account_id, "permission": "read"}
    grants = [*(now["access_grants"] if now else []), grant]
    admin.ok(admin.post("/api/v1/models/model/access/update", {"id": model, "access_grants": grants}))


def change_tasks(admin: Visitor, **changes: Any) -> dict[str, Any]:
    """Settings > Interface: which model writes titles and tags, and whether any does; how it was before."""
    now: dict[str, Any] = admin.ok(admin.get("/api/v1/tasks/config"))
    admin.ok(admin.post("/api/v1/tasks/config/update", {**now, **changes}))
    return now
