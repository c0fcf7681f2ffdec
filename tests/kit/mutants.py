# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests would not notice: random small changes to SQL and Python, each run against the tests that see it.

Each mutant is planted in a copy of the checkout, so that modules, playbooks and the kit all get it. A survivor is
either equivalent to the original, or a test is missing.
"""

from __future__ import annotations

import argparse
import difflib
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from kit.common import REPO, KitError, as_program, cache_dir, say
from kit.mutations import Mutation, python_mutations, sql_mutations
from kit.prepare import VENV

TEMPLATES = "roles/triggers/templates"
GENERATORS: dict[str, tuple[str, Callable[[str], list[Mutation]]]] = {
    "sql": (f"{TEMPLATES}/**/*.sql.j2", sql_mutations),
    "python": ("plugins/**/*.py", python_mutations),
}
# For one test file. A mutant that makes a test hang is noticed, too.
TEST_SECONDS = 600

# Which tests see which files: those of the first pattern that fits, then what its kind has in common. Cheap ones first.
# Without a folder a test is tests/integration/test_<name>.py.
_SQL: tuple[tuple[str, str], ...] = (
    ("*/entities/model*/litellm/*", "model_rule"),
    ("*/entities/*_models/litellm/*", "model_rule"),
    ("*/entities/model*/openwebui/*", "model_grants"),
    ("*/entities/*_models/openwebui/*", "model_grants"),
    ("*/takeover.sql.j2", "takeover"),
    ("*/bulk.sql.j2", "bulk"),
    ("*/registry.sql.j2", "modules_bridge_info toy_entity"),
    ("*/status.sql.j2", "status modules_bridge_info"),
    ("*/migrate.sql.j2", "modules_bridge_migration"),
    ("*/fan_out.sql.j2", "mapping queue_rules"),
    ("*/state.sql.j2", "reconcile upgrade_in_place"),
    ("*/engine/*/identity.sql.j2", "installation"),
    ("*/engine/*/ownership.sql.j2", "installation"),
    ("*/engine/*/compare.sql.j2", "queue_rules reconcile"),
    ("*/engine/*/preview.sql.j2", "reconcile"),
    ("*/engine/*/reconcile.sql.j2", "queue_rules reconcile"),
    ("*/engine/*/guard.sql.j2", "removal_counting removals"),
    ("*/engine/*/held_changes.sql.j2", "removal_counting removals"),
    ("*/engine/*/maintenance.sql.j2", "upkeep mapping"),
    ("*/engine/*/remove_data.sql.j2", "removal_counting"),
    ("*/engine/*", "queue_rules removal_counting delivery"),
    ("*/entities/user/openwebui/*", "accounts removal_counting"),
    ("*/entities/api_key/*", "upkeep"),
)
_SQL_OTHERS = "mapping removals delivery upkeep bulk reconcile oracle modules_bridge_info injected_bugs"
_PYTHON: tuple[tuple[str, str], ...] = (
    ("*takeover*", "takeover"),
    ("*preflight*", "modules_bridge_preflight_info"),
    ("*migration*", "modules_bridge_migration"),
    ("*progress*", "modules_bridge_migration"),
    ("*target*", "modules_bridge_target"),
    ("*statements*", "modules_bridge_role modules_bridge_target"),
    ("*sync*", "modules_bridge_sync"),
    ("*audit_info*", "modules_listing"),
    ("*mapping_info*", "modules_listing"),
    ("*listing*", "modules_listing"),
    ("*info*", "modules_bridge_info"),
    ("*install*", "modules_bridge_install"),
    ("*catalog*", "modules_bridge_install modules_bridge_info"),
    ("*ownership*", "modules_bridge_ownership"),
    ("*settings*", "modules_bridge_install"),
)
_PYTHON_OTHERS = "modules_login modules_all modules_bridge_info modules_bridge_install modules_bridge_sync takeover"


@dataclass(frozen=True)
class Mutant:
    path: str
    mutation: Mutation

    @property
    def text(self) -> str:
        return self.mutation.apply(self.original)

    @property
    def original(self) -> str:
        return (REPO / self.path).read_text(encoding="utf-8")

    @property
    def place(self) -> str:
        return f"{self.path}:{self.mutation.line(self.original)}"

    def diff(self) -> str:
        before, after = self.original.splitlines(), self.text.splitlines()
        lines = list(difflib.unified_diff(before, after, lineterm="", n=1))[2:]
        return "\n".join(f"    {line}" for line in lines)


def candidates(kind: str, pattern: str = "*") -> list[Mutant]:
    """Every mutant of a kind, in the files that the pattern names."""
    files, generate = GENERATORS[kind]
    return [
        Mutant(path, mutation)
        for path in sorted(each.relative_to(REPO).as_posix() for each in REPO.glob(files))
        if fnmatchcase(path, pattern)
        for mutation in generate((REPO / path).read_text(encoding="utf-8"))
    ]


def draw(kinds: list[list[Mutant]], number: int, seed: int) -> Iterator[Mutant]:
    """Mutants of each kind in turn; the rarer an operator, the likelier each of its mutants."""
    chance = random.Random(seed)
    queues = [_shuffled(mutants, chance) for mutants in kinds if mutants]
    while queues and number > 0:
        for queue in list(queues):
            if number > 0 and queue:
                yield queue.pop()
                number -= 1
            elif not queue:
                queues.remove(queue)


def _shuffled(mutants: list[Mutant], chance: random.Random) -> list[Mutant]:
    """In random order, the last to be taken first; an operator with four times as many comes twice as often."""
    count: dict[str, int] = {}
    for mutant in mutants:
        count[mutant.mutation.operator] = count.get(mutant.mutation.operator, 0) + 1
    # Efraimidis and Spirakis: a random order in which each has its weight.
    return sorted(mutants, key=lambda one: chance.random() ** (count[one.mutation.operator] ** 0.5))


def tests_of(path: str) -> list[str]:
    """The test files that see a file, in the order in which they are run until one of them notices something."""
    is_sql = path.endswith(".sql.j2")
    first = next((tests for pattern, tests in (_SQL if is_sql else _PYTHON) if fnmatchcase(path, pattern)), "")
    names = f"{first} {_SQL_OTHERS if is_sql else _PYTHON_OTHERS}".split()
    unit = [] if is_sql else ["tests/unit/plugins"]
    return unit + [f"tests/integration/test_{name}.py" for name in dict.fromkeys(names)]


class Tree:
    """A copy of the checkout in which one file at a time is another."""

    def __init__(self, home: Path) -> None:
        self.home = home
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPO, capture_output=True, text=True, check=True).stdout
        for name in filter(None, listed.split("\0")):
            if (REPO / name).is_file():
                (home / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(REPO / name, home / name)
        (home / ".venv").symlink_to(VENV)
        link = home / ".collections" / "ansible_collections" / "llmops" / "user_bridge"
        link.parent.mkdir(parents=True)
        link.symlink_to(home)

    def plant(self, mutant: Mutant) -> None:
        (self.home / mutant.path).write_text(mutant.text, encoding="utf-8")

    def restore(self, mutant: Mutant) -> None:
        (self.home / mutant.path).write_text(mutant.original, encoding="utf-8")

    def failure(self, tests: str, seconds: float = TEST_SECONDS) -> str | None:
        """The first test that fails, or the tests if they do not end in time; None: all pass."""
        env = {
            **os.environ,
            "USER_BRIDGE_CACHE": str(cache_dir()),
            "PYTHONPATH": str(self.home / "tests"),
            "ANSIBLE_COLLECTIONS_PATH": str(self.home / ".collections"),
            "ANSIBLE_HOME": str(self.home / ".ansible"),
        }
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-rfE", "--tb=no", "-p", "no:cacheprovider", tests]
        try:
            done = subprocess.run(
                command, cwd=self.home, env=env, capture_output=True, text=True, timeout=seconds, check=False
            )
        except subprocess.TimeoutExpired:
            return tests
        if done.returncode == 0:
            return None
        found = re.search(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", done.stdout, flags=re.MULTILINE)
        if found is None:
            raise KitError(f"pytest ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
        return found[1]


@dataclass(frozen=True)
class Verdict:
    """`noticed_by`: the test that fails for the mutant; `unclear`: without the mutant, too."""

    mutant: Mutant
    noticed_by: str | None
    unclear: bool
    seconds: float

    @property
    def survived(self) -> bool:
        return self.noticed_by is None

    @property
    def words(self) -> str:
        if self.survived:
            return "SURVIVED"
        return f"unclear, as {self.noticed_by} fails anyway" if self.unclear else f"killed by {self.noticed_by}"


def judge(tree: Tree, mutant: Mutant) -> Verdict:
    started = time.monotonic()
    tree.plant(mutant)
    try:
        noticed_by = next(filter(None, map(tree.failure, tests_of(mutant.path))), None)
    finally:
        tree.restore(mutant)
    unclear = noticed_by is not None and tree.failure(noticed_by) is not None
    return Verdict(mutant, noticed_by, unclear, time.monotonic() - started)


def run(chosen: Iterator[Mutant], minutes: float) -> list[Verdict]:
    """Verdicts until the mutants or the time are used up."""
    give_up = time.monotonic() + minutes * 60
    verdicts: list[Verdict] = []
    with tempfile.TemporaryDirectory(prefix="user-bridge-mutants-") as home:
        tree = Tree(Path(home))
        for mutant in chosen:
            if time.monotonic() > give_up:
                say(f"No time is left after {minutes:g} minutes")
                break
            verdict = judge(tree, mutant)
            verdicts.append(verdict)
            say(f"{mutant.place}: {mutant.mutation.operator}: {verdict.words} ({verdict.seconds:.0f} s)")
    return verdicts


def report(verdicts: list[Verdict]) -> str:
    survivors = [verdict.mutant for verdict in verdicts if verdict.survived]
    parts = [f"{mutant.place}: {mutant.mutation.operator}\n{mutant.diff()}" for mutant in survivors]
    unclear = sum(verdict.unclear for verdict in verdicts)
    left = f", {unclear} are unclear" if unclear else ""
    return "\n\n".join([*parts, f"{len(survivors)} of {len(verdicts)} mutants survived{left}"])


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m kit.mutants", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--number", type=int, default=40, help="how many mutants (default %(default)s)")
    parser.add_argument("--seed", type=int, help="draws the same mutants again (default: another each time)")
    parser.add_argument("--minutes", type=float, default=120, help="draws none after that (default %(default)s)")
    parser.add_argument("--only", choices=sorted(GENERATORS), help="only SQL, or only Python")
    parser.add_argument("--path", default="*", help="only files that match, e.g. '*/commit.sql.j2'")
    parser.add_argument("--fail", action="store_true", help="a survivor is an error")
    options = parser.parse_args(arguments)
    seed = random.randrange(10**6) if options.seed is None else options.seed
    kinds = [candidates(kind, options.path) for kind in ([options.only] if options.only else list(GENERATORS))]
    say(f"Seed {seed}; {sum(map(len, kinds))} mutants to draw from")
    verdicts = run(draw(kinds, options.number, seed), options.minutes)
    print(report(verdicts))
    return 1 if options.fail and any(verdict.survived for verdict in verdicts) else 0


if __name__ == "__main__":
    as_program(main)
