# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""bridge_access_info, with small programs in the place of both; the real ones are in tests/e2e/test_access.py."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kit.access import DENIED, PASSWORD, REFUSED, SERVED, TOKEN, litellm, openwebui
from kit.answers import KEY, Answering, Reply, answering
from modules_support import ModuleFailed, run_module, run_playbook

EMAIL, ACCOUNT = "ann@example.com", "usr_ann"
MODELS = [
    {"model": "mine", "openwebui_id": "x.mine", "granted": True, "reason": "team Blue: it lists it"},
    {"model": "off", "openwebui_id": "x.off", "granted": True, "switched_off": True},
    {"model": "other", "openwebui_id": "x.other", "granted": False},
]
USUAL = openwebui(EMAIL, ACCOUNT, ["x.mine", "a preset"])
SIGN_IN = "/api/v1/auths/signin"


@dataclass(frozen=True)
class Programs:
    site: Answering
    proxy: Answering

    def options(self, **changed: Any) -> dict[str, Any]:
        """None takes an option out."""
        usual = {
            "openwebui_url": self.site.url,
            "openwebui_email": EMAIL,
            "openwebui_password": PASSWORD,
            "litellm_url": self.proxy.url,
            "litellm_key": KEY,
            "rights": {"account": ACCOUNT, "enforced": True, "models": MODELS},
        }
        return {name: value for name, value in {**usual, **changed}.items() if value is not None}

    def ask(
        self, check: bool = False, env: Mapping[str, str] | None = None, **changed: Any
    ) -> dict[str, tuple[str, str]]:
        """Status and message of each check."""
        found = run_module("bridge_access_info", self.options(**changed), check=check, env=env)
        assert found["changed"] is False and "canary" not in json.dumps({**found, "invocation": None})
        return {each["check"]: (each["status"], each["message"]) for each in found["checks"]}

    def refusal(self, **changed: Any) -> str:
        """One clear line without a secret."""
        with pytest.raises(ModuleFailed) as failed:
            self.ask(**changed)
        message = str(failed.value)
        assert "\n" not in message and "canary" not in json.dumps(failed.value.result), message
        return message

    def asked(self, program: Answering, path: str) -> int:
        return len([each for each, _ in program.asked if each == path])


@contextmanager
def running(site: Any = USUAL, proxy: Any = None) -> Iterator[Programs]:
    with (
        answering(site, None) as one,
        answering(litellm(EMAIL, ["mine"]) if proxy is None else proxy) as other,
    ):
        yield Programs(one, other)


def statuses(found: dict[str, tuple[str, str]]) -> dict[str, str]:
    return {name: status for name, (status, _) in found.items()}


ALL_WELL = dict.fromkeys(
    ["sign_in", "models", "granted_chat", "refused_chat", "enforcement", "granted_by_litellm"], "ok"
)


def test_all_is_well() -> None:
    with running() as programs:
        found = programs.ask()
        assert statuses(found) == ALL_WELL, found
        assert found["enforcement"][1] == f"LiteLLM itself refuses other when it is told that {EMAIL} asks (HTTP 403)"
        assert programs.asked(programs.site, "/api/v1/auths/signout") == 1
        assert {headers["X-Openwebui-User-Id"] for _, headers in programs.proxy.asked} == {ACCOUNT}


def test_no_login_of_somebody_elses_is_sent(tmp_path: Path) -> None:
    """Whose ~/.netrc names the host: neither in place of the key, nor where nobody has signed in yet."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login canary password canary\n", encoding="utf-8")
    netrc.chmod(0o600)
    with running() as programs:
        assert statuses(programs.ask(env={"NETRC": str(netrc)})) == ALL_WELL
        sent = [headers.get("Authorization", "") for _, headers in (*programs.site.asked, *programs.proxy.asked)]
        assert not [each for each in sent if each.startswith("Basic")]


def test_open_webui_alone_hides() -> None:
    with running(proxy=litellm(EMAIL)) as programs:
        found = programs.ask(rights={"account": ACCOUNT, "enforced": False, "models": MODELS})
        assert statuses(found) == {name: "ok" for name in ALL_WELL if name != "granted_by_litellm"}
        assert "Open WebUI alone hides it (bridge_enforce_models is false)" in found["enforcement"][1]
        status, message = programs.ask()["enforcement"]
        assert status == "failed" and "set user_header_mappings" in message


def test_on_whom_litellm_is_to_book() -> None:
    said = {"account": ACCOUNT, "enforced": True, "models": MODELS}
    with running() as programs:
        for by, user, status, words in (
            ("user_id", ACCOUNT, "ok", "was not checked"),
            ("user_id", "ann", "failed", f"X-OpenWebUI-User-Id of {EMAIL} is {ACCOUNT}, and LiteLLM's user is ann"),
            ("email", EMAIL, "ok", "was not checked"),
            ("email", "ann", "failed", f"X-OpenWebUI-User-Email of {EMAIL} is {EMAIL}, and LiteLLM's user is ann"),
        ):
            found = programs.ask(check=True, rights={**said, "user": user, "attribution": by})
            assert found["attribution"][0] == status and words in found["attribution"][1], found
        assert "attribution" not in programs.ask(check=True, rights={**said, "user": "ann", "attribution": "none"})


def test_models_that_are_named() -> None:
    models = [
        *MODELS,
        *({"model": f"a {each['model']}", **{k: each[k] for k in each if k != "model"}} for each in MODELS),
    ]
    said = {"account": ACCOUNT, "enforced": True, "models": models}
    with running() as programs:
        found = programs.ask(rights=said, granted_model="mine", refused_model="other")
        assert statuses(found) == ALL_WELL, found
        assert "'other' is one that LiteLLM does not grant" in programs.refusal(granted_model="other")


def test_check_mode_asks_for_no_chat() -> None:
    with running() as programs:
        found = programs.ask(check=True)
        assert statuses(found) == {**dict.fromkeys(ALL_WELL, "skipped"), "sign_in": "ok", "models": "ok"}
        assert programs.proxy.asked == [] and programs.asked(programs.site, "/api/chat/completions") == 0


def test_a_token() -> None:
    with running() as programs:
        found = programs.ask(openwebui_password=None, openwebui_token=TOKEN)
        assert statuses(found) == ALL_WELL
        # It is somebody's, who goes on with it.
        assert programs.asked(programs.site, "/api/v1/auths/signout") == 0
        message = programs.refusal(openwebui_password=None, openwebui_token="canary of nobody")
        assert "refuses the token (bridge_openwebui_token) with HTTP 401: give that of a live session" in message
        message = programs.refusal(openwebui_password=None, openwebui_token=TOKEN, openwebui_email="bob@example.com")
        assert "bridge_openwebui_token is of another account than bridge_openwebui_email" in message


def test_an_administrator() -> None:
    with running(openwebui(EMAIL, ACCOUNT, ["x.mine", "x.other"], role="admin")) as programs:
        assert statuses(programs.ask()) == {**ALL_WELL, "refused_chat": "skipped"}


@pytest.mark.parametrize(
    ("site", "check", "words"),
    [
        (openwebui(EMAIL, ACCOUNT, []), "models", "does not show ann@example.com what LiteLLM grants: mine (team Blue"),
        (
            openwebui(EMAIL, ACCOUNT, ["x.mine", "x.other"]),
            "models",
            "shows ann@example.com what LiteLLM does not grant",
        ),
        (openwebui(EMAIL, ACCOUNT, ["x.mine"], served=[]), "granted_chat", "name one in bridge_verify_granted_model"),
        (
            openwebui(EMAIL, ACCOUNT, ["x.mine"], served=["x.mine", "x.other"]),
            "refused_chat",
            "take BYPASS_MODEL_ACCESS_CONTROL out",
        ),
        ({**USUAL, "/api/chat/completions": Reply(status=502)}, "refused_chat", "HTTP 502 and no refusal"),
    ],
)
def test_what_open_webui_does_wrong(site: Any, check: str, words: str) -> None:
    with running(site) as programs:
        status, message = programs.ask()[check]
    assert status == "failed" and words in message


@pytest.mark.parametrize(
    ("reply", "statuses_there"),
    [
        (SERVED, ("failed", "ok")),
        (DENIED, ("ok", "failed")),
        (Reply(status=429), ("ok", "failed")),
        (Reply({"error": {"type": "key_model_access_denied"}}, status=401), ("skipped", "failed")),
        (Reply(status=500), ("failed", "failed")),
    ],
)
def test_what_litellm_answers(reply: Reply, statuses_there: tuple[str, str]) -> None:
    with running(proxy={"/v1/chat/completions": reply}) as programs:
        found = statuses(programs.ask())
    assert (found["enforcement"], found["granted_by_litellm"]) == statuses_there


class TestRefusing:
    def test_a_wrong_password(self) -> None:
        with running() as programs:
            message = programs.refusal(openwebui_password="canary of nobody")
        assert (
            "refuses the email and password (bridge_openwebui_email, bridge_openwebui_password): check them" in message
        )

    def test_a_wrong_key(self) -> None:
        with running() as programs:
            message = programs.refusal(litellm_key="sk-canary of nobody")
        assert "refuses the key (bridge_litellm_key) with HTTP 401" in message

    @pytest.mark.parametrize("url", ["openwebui_url", "litellm_url"])
    def test_nobody_listens(self, url: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        with running() as programs:
            message = programs.refusal(**{url: f"http://127.0.0.1:{port}"})
        assert f"Connection refused. Check bridge_{url}, and that it runs" in message

    @pytest.mark.parametrize("site", [{}, {"/api/config": Reply("<html>")}, {"/api/config": Reply({"version": "1"})}])
    def test_what_is_not_open_webui_gets_no_password(self, site: Any) -> None:
        with running({SIGN_IN: Reply({"token": "canary"}), **site}) as programs:
            message = programs.refusal()
            assert "is not Open WebUI: /api/config says nothing of it. Set bridge_openwebui_url" in message
            assert [path for path, _ in programs.site.asked] == ["/api/config"]

    @pytest.mark.parametrize(
        ("replies", "words"),
        [
            ({SIGN_IN: Reply(status=403)}, "lets nobody sign in with a password: give bridge_openwebui_token"),
            ({SIGN_IN: Reply(status=429)}, "has seen too many sign-ins of ann@example.com: try again"),
            ({SIGN_IN: Reply({"mfa_required": True})}, "wants more than a password, such as a second factor"),
            ({SIGN_IN: Reply(status=500)}, "answers a sign-in with HTTP 500"),
            ({"/api/models": REFUSED}, "does not list its models for ann@example.com (HTTP 403)"),
            (openwebui(EMAIL, ACCOUNT, [], role="pending"), "waits for an administrator, or is disabled"),
            (openwebui(EMAIL, "somebody", []), "is not the one that the bridge has: set bridge_openwebui_url"),
        ],
    )
    def test_a_sign_in_that_does_not_help(self, replies: Any, words: str) -> None:
        with running({**USUAL, **replies}) as programs:
            assert words in programs.refusal()

    def test_certificates(self) -> None:
        with running() as programs:
            for option in ({"openwebui_ca_path": "/nowhere.pem"}, {"litellm_ca_path": "/nowhere.pem"}):
                message = programs.refusal(**option)
                assert f"/nowhere.pem (bridge_{next(iter(option))}) cannot be read" in message


def test_no_secret_is_in_any_output(tmp_path: Path) -> None:
    with running() as programs:
        for changed, failed in (({}, False), ({"openwebui_password": "canary of nobody"}, True)):
            task = {"name": "Ask", "llmops.user_bridge.bridge_access_info": programs.options(**changed)}
            done = run_playbook([task], tmp_path, "-vvv", "--diff")
            assert (done.returncode != 0) == failed
            assert "openwebui_password" in done.stdout and "canary" not in done.stdout + done.stderr
