# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every command in the documentation is run by a test or by CI, and every link leads somewhere.

A command that no rule below knows fails: run it in a test, then say here in which.
"""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from kit import pages, role_readmes
from kit.common import REPO, required_lines

MAKEFILE = (REPO / "Makefile").read_text(encoding="utf-8")
INTEGRATION = REPO / "tests" / "integration"
COMMANDS = [(page, command) for page in pages.pages() for block in pages.commands(page) for command in block]
# Pages whose blocks a test takes apart and runs one by one.
RUN_BY = {"docs/backups.md": "test_backups.py", "examples/molecule/README.md": "test_backups.py"}
# README's way to a first deployment, from top to bottom.
FIRST = "test_playbooks_deploy.py"


def constant(path: Path, name: str) -> object:
    """What a module assigns to this name, without importing it."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == [name]:
            return ast.literal_eval(node.value)
    raise AssertionError(f"{path} has no {name}")


def is_a_target_that_is_run(command: str) -> bool:
    """`make TARGET...`: each is one of `make test` or `make test-all`, or in .ci/run itself."""
    program, *targets = command.split()
    run = (REPO / ".ci" / "run").read_text(encoding="utf-8")
    lists = re.findall(r"^(?:TARGETS \?=|\t@\$\(MAKE\) test TARGETS=).*", MAKEFILE, re.MULTILINE)
    listed = set(re.findall(r"[a-z][a-z-]*", " ".join(lists)))
    return program == "make" and all(
        target in listed or re.search(rf"^make\b.*\b{target}\b", run, re.MULTILINE) for target in targets
    )


def is_a_playbook_that_is_run(command: str) -> bool:
    """By its name, with variables that there are, and each playbook in each state."""
    program, playbook, *arguments = shlex.split(command)
    if program != "ansible-playbook" or not playbook.startswith("llmops.user_bridge."):
        return False
    run = constant(INTEGRATION / "test_playbooks_states.py", "PLAYBOOKS")
    assert isinstance(run, tuple)
    known = {*role_readmes.options("bridge"), "bridge_hosts"}
    given = [value for option, value in pairwise(arguments) if option == "-e" and value != "@vars.yml"]
    named = {name for each in given for name in (yaml.safe_load(each) if each[0] == "{" else each.split("=")[:1])}
    options = {each for each in arguments if each.startswith("-")}
    return playbook.rpartition(".")[2] in run and named <= known and options <= {"-e", "--check", "--diff"}


def is_an_installation_that_is_made(command: str) -> bool:
    """`pip install`: all of it is in requirements/dev.txt, which make venv installs."""
    program = "python3 -m pip install "
    return command.startswith(program) and set(command.removeprefix(program).split()) <= set(required_lines("dev.txt"))


def is_readmes_and_run(command: str) -> bool:
    """The test of a first deployment takes README's first block apart."""
    text = (INTEGRATION / FIRST).read_text(encoding="utf-8")
    return command in pages.commands("README.md")[0] and 'commands("README.md")' in text


def is_the_unit_tests(command: str) -> bool:
    return command == ".venv/bin/pytest tests/unit" and "@$(PYTEST) tests/unit" in MAKEFILE


RULES: tuple[Callable[[str], bool], ...] = (
    is_a_target_that_is_run,
    is_a_playbook_that_is_run,
    is_an_installation_that_is_made,
    is_readmes_and_run,
    is_the_unit_tests,
)


@pytest.mark.parametrize(("page", "command"), COMMANDS)
def test_it_is_run(page: str, command: str) -> None:
    if page in RUN_BY:
        assert f'commands("{page}")' in (INTEGRATION / RUN_BY[page]).read_text(encoding="utf-8")
    else:
        assert any(rule(command) for rule in RULES)


def test_a_command_that_nothing_runs_is_noticed() -> None:
    for command in (
        "make nonsense",
        "make test nonsense",
        "ansible-playbook llmops.user_bridge.nonsense -e @vars.yml",
        "ansible-playbook llmops.user_bridge.bridge_status -e bridge_nonsense=1",
        "ansible-playbook llmops.user_bridge.bridge_status -e @vars.yml --become",
        "ansible-playbook deploy.yml",
        "python3 -m pip install nonsense",
        "ansible-galaxy collection install llmops.user_bridge",
        "pg_dump --schema-only litellm",
    ):
        assert not any(rule(command) for rule in RULES), command


def test_the_pages_have_commands() -> None:
    assert {"README.md", "CONTRIBUTING.md", "docs/backups.md", "docs/takeover.md"} <= {page for page, _ in COMMANDS}
    # A line that the reader would take for a command is one: it begins with a dollar.
    for page in pages.pages():
        for block in pages.blocks(page, "console"):
            assert all(line.startswith("$ ") for line in block.splitlines()), (page, block)
        assert not pages.blocks(page, "(?:bash|sh|shell)"), page


def anchors(path: Path) -> set[str]:
    """Of each heading, as GitHub and Sphinx make them."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [*pages.pages(), "AGENTS.md"])
def test_links_lead_somewhere(page: str) -> None:
    for link in pages.links(REPO / page):
        target, _, anchor = link.partition("#")
        path = (REPO / page).parent / target if target else REPO / page
        assert path.exists(), link
        assert not anchor or anchor in anchors(path), link
