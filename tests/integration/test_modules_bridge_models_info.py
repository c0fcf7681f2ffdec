# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""bridge_models_info, with a small program in LiteLLM's place; the real one is in tests/e2e/test_config_models.py."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any

import pytest

from kit.answers import KEY, Answering, Reply, answering, deployment, deployments, listing
from kit.bridge import install_bridge
from kit.pairs import Pair
from modules_support import ModuleFailed, run_module, run_playbook
from playbooks_support import deploy, play, refused, variables

PRICES = Reply({"gpt-4o": {"litellm_provider": "openai"}, "odd": {"litellm_provider": "nobody"}})
USUAL = {
    "/v1/models": listing("gpt-4o", "of-the-database"),
    "/model/info": deployments(
        deployment("gpt-4o", groups=("frontier",)), deployment("of-the-database", db_model=True)
    ),
    "/public/litellm_model_cost_map": PRICES,
}


def ask(url: str, key: str = KEY, **options: Any) -> dict[str, Any]:
    return run_module("bridge_models_info", {"litellm_url": url, "litellm_key": key, **options})


def refusal(url: str, key: str = KEY, **options: Any) -> str:
    """One clear line without a secret."""
    with pytest.raises(ModuleFailed) as failed:
        ask(url, key, **options)
    message = str(failed.value)
    assert "\n" not in message and key not in message and key not in str(failed.value.result), message
    return message


class TestReading:
    def test_what_the_database_has_is_left_out(self) -> None:
        with answering(USUAL) as program:
            found = ask(program.url)
        assert found["models"] == [{"name": "gpt-4o", "access_groups": ["frontier"], "provider": "openai"}]
        assert (found["read"], found["changed"]) == (1, False)

    def test_what_was_given_counts(self) -> None:
        given = [
            {"name": "by-hand", "access_groups": ["mine"]},
            {"name": "gpt-4o", "access_groups": ["other"]},
        ]
        with answering(USUAL) as program:
            found = ask(f"{program.url}/", extra_models=given)["models"]
        assert found == [given[0], {**given[1], "provider": "openai"}]
        with answering(USUAL) as program:
            ask(program.url, extra_models=[{"name": "gpt-4o", "provider": "azure"}])
        # Megabytes that nobody needs.
        assert "/public/litellm_model_cost_map" not in [path for path, _ in program.asked]

    def test_a_list_of_prices_that_the_key_may_not_read(self) -> None:
        without = {path: reply for path, reply in USUAL.items() if not path.startswith("/public/")}
        with answering({**without, "/get/litellm_model_cost_map": Reply(status=403)}) as program:
            assert ask(program.url)["models"] == [{"name": "gpt-4o", "access_groups": ["frontier"]}]
        with answering({**without, "/get/litellm_model_cost_map": PRICES}) as program:
            assert ask(program.url)["models"][0]["provider"] == "openai"

    def test_a_deployment_that_went_meanwhile(self) -> None:
        """Both have one id, so that it is asked for, and then is not there any more."""
        rows = deployments(deployment("house", "one", db_model=True), deployment("alias", "one", db_model=True))
        replies = {"/v1/models": listing("house", "alias"), "/model/info": rows}
        with answering({**replies, "/model/info?litellm_model_id=one": Reply(status=400)}) as program:
            found = ask(program.url)["models"]
        assert found == [{"name": "alias", "access_groups": []}, {"name": "house", "access_groups": []}]


class TestRefusing:
    def test_a_wrong_key(self) -> None:
        with answering(USUAL) as program:
            message = refusal(program.url, "sk-wrong-one")
        assert "refuses the key (bridge_litellm_key) with HTTP 401: give a virtual key" in message

    def test_nobody_listens(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        message = refusal(f"http://127.0.0.1:{port}")
        assert "Connection refused. Check bridge_litellm_url, and that it runs" in message

    def test_no_such_host(self) -> None:
        assert "(bridge_litellm_url) cannot be reached from this host: " in refusal("http://nowhere.invalid:4000")

    @pytest.mark.parametrize(
        ("reply", "words"),
        [
            (Reply("<html>Welcome</html>"), "is not LiteLLM: /v1/models has no list there"),
            (Reply([1, 2]), "is not LiteLLM"),
            (Reply({"data": ["gpt-4o"]}), "is not LiteLLM"),
            (Reply(status=404), "without a path like /v1"),
            (Reply(status=500), "answers /v1/models with HTTP 500: look into its log"),
            (listing(), "lists no models for the key (bridge_litellm_key)"),
            (
                Reply(status=302, headers={"Location": "https://a:secret@b/x?key=secret"}),
                "a redirect to https://b/x: set",
            ),
        ],
    )
    def test_what_is_not_litellm(self, reply: Reply, words: str) -> None:
        with answering({**USUAL, "/v1/models": reply}) as program:
            message = refusal(program.url)
        assert words in message and "secret" not in message

    def test_a_redirect_is_not_followed(self) -> None:
        """Nobody else gets the key."""
        with answering({}, key=None) as other:
            moved = Reply(status=307, headers={"Location": f"{other.url}/v1/models"})
            with answering({"/v1/models": moved}) as program:
                refusal(program.url)
        assert other.asked == []

    def test_an_answer_that_ends_too_early(self) -> None:
        with answering({**USUAL, "/v1/models": Reply("{}", headers={"Content-Length": "99"})}) as program:
            assert "is not LiteLLM" in refusal(program.url) or "cannot be reached" in refusal(program.url)

    @pytest.mark.weekly
    def test_a_program_that_is_silent(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            before = time.monotonic()
            message = refusal(f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert "it does not answer in time" in message and time.monotonic() - before < 30

    def test_certificates(self, tmp_path: Path) -> None:
        with answering(USUAL) as program:
            nowhere = str(tmp_path / "nowhere.pem")
            assert f"{nowhere} (bridge_litellm_ca_path) cannot be read" in refusal(program.url, litellm_ca_path=nowhere)
            # It speaks no TLS at all.
            assert "Set bridge_litellm_ca_path to" in refusal(program.url.replace("http:", "https:"))


def stored(pair: Pair) -> list[dict[str, Any]]:
    (row,) = pair.litellm_admin.rows("SELECT extra_models FROM user_bridge.settings")
    return [{name: value for name, value in model.items() if value is not None} for model in row["extra_models"]]


class TestDeploying:
    def test_it_is_stored_and_a_second_run_finds_the_same(self, pair: Pair, tmp_path: Path) -> None:
        with answering(USUAL) as program:
            given: dict[str, Any] = {"bridge_litellm_url": program.url, "bridge_litellm_key": KEY}
            # So that there is less to deploy.
            install_bridge(pair)
            deploy(pair, tmp_path, **given)
            assert stored(pair) == [{"name": "gpt-4o", "access_groups": ["frontier"], "provider": "openai"}]
            again = deploy(pair, tmp_path, "--check", "--diff", "-vvv", **given)
            assert again.changed == 0 and KEY not in again.output
            status = play("llmops.user_bridge.bridge_status", variables(pair), tmp_path)
            assert ", 1 named by bridge_extra_models or read from LiteLLM" in status.output
            with answering({**USUAL, "/v1/models": listing("of-the-database")}) as less:
                fewer = {**given, "bridge_litellm_url": less.url}
                run = play("llmops.user_bridge.deploy_bridge", variables(pair, **fewer), tmp_path, "--check")
            assert "no longer name gpt-4o: 0 people lose sight of" in run.words and run.failed == 0
            assert stored(pair) != []
            assert "no longer name" not in again.words
            without = deploy(pair, tmp_path, **given, bridge_model_access=False)
        assert without.failed == 0 and stored(pair) == []

    def test_a_deployment_that_cannot_read_stops_before_anything_is_changed(self, pair: Pair, tmp_path: Path) -> None:
        with answering(USUAL) as program:
            given: dict[str, Any] = {"bridge_litellm_url": program.url, "bridge_litellm_key": "sk-wrong-one"}
            run = refused(pair, tmp_path, **given)
            assert "refuses the key (bridge_litellm_key) with HTTP 401" in run.words and "sk-wrong" not in run.output
        run = play("llmops.user_bridge.deploy_bridge", variables(pair, **given), tmp_path, "-vvv", "--check")
        assert (run.failed, run.changed) == (1, 0) and "Check bridge_litellm_url" in run.words
        assert "sk-wrong" not in run.output

    def test_what_others_say_is_said_as_well(self, pair: Pair, tmp_path: Path) -> None:
        given = {"bridge_litellm_url": "http://127.0.0.1:1", "bridge_litellm_key": KEY, "bridge_litellm_db": "nowhere"}
        run = refused(pair, tmp_path, **given)
        assert "Check bridge_litellm_url" in run.words and "bridge_litellm_db" in run.words


def test_the_key_is_in_no_output(tmp_path: Path) -> None:
    with answering(USUAL) as program:
        for key, failed in ((KEY, False), ("sk-wrong-one", True)):
            options = {"litellm_url": program.url, "litellm_key": key}
            task = {"name": "Ask", "llmops.user_bridge.bridge_models_info": options}
            done = run_playbook([task], tmp_path, "-vvv", "--diff")
            assert (done.returncode != 0) == failed
            assert "litellm_key" in done.stdout and key not in done.stdout + done.stderr


def test_who_asks(request: pytest.FixtureRequest) -> None:
    with answering(USUAL) as program:
        ask(program.url)
    assert isinstance(program, Answering) and {each["Authorization"] for _, each in program.asked} == {f"Bearer {KEY}"}
