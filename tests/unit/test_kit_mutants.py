# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The mutants that `make mutants` draws from, and which tests they meet."""

from __future__ import annotations

import ast
import re
from itertools import islice
from typing import cast

import pytest

from kit import mutants
from kit.common import REPO
from kit.mutations import Mutation, python_mutations, sql_mutations, tokens


def _body(statements: str) -> str:
    return f"CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $body$\nBEGIN\n{statements}\nEND\n$body$;\n"


def _sql(statements: str, operator: str) -> set[str]:
    """What the statements become by an operator, without needless space."""
    text = _body(statements)
    found = {each.apply(text) for each in sql_mutations(text) if each.operator == operator}
    start, end = len(_body("").split("\n\n")[0]) + 1, len("\nEND\n$body$;\n")
    return {re.sub(r"\s+", " ", each[start:-end]).strip() for each in found}


@pytest.mark.parametrize(
    ("statements", "operator", "expected"),
    [
        ("IF a AND b THEN x(); END IF;", "negate a condition", {"IF NOT (a AND b) THEN x(); END IF;"}),
        ("WHILE a LOOP x(); END LOOP;", "negate a condition", {"WHILE NOT (a) LOOP x(); END LOOP;"}),
        (
            "v := CASE WHEN a THEN 1 END;",
            "negate a condition",
            {"v := CASE WHEN NOT (a) THEN 1 END;"},
        ),
        ("v := CASE a WHEN b THEN 1 END;", "negate a condition", set()),
        (
            "SELECT FROM t WHERE a AND (b AND c) ORDER BY d;",
            "drop a conjunct",
            {
                "SELECT FROM t WHERE a ORDER BY d;",
                "SELECT FROM t WHERE (b AND c) ORDER BY d;",
                "SELECT FROM t WHERE a AND (b ) ORDER BY d;",
            },
        ),
        (
            "SELECT FROM t WHERE a AND CASE WHEN b THEN c END AND d;",
            "drop a conjunct",
            {
                "SELECT FROM t WHERE CASE WHEN b THEN c END AND d;",
                "SELECT FROM t WHERE a AND d;",
                "SELECT FROM t WHERE a AND CASE WHEN b THEN c END ;",
            },
        ),
        ("SELECT FROM t WHERE a BETWEEN 1 AND 2;", "drop a conjunct", set()),
        ("SELECT FROM t WHERE a BETWEEN 1 AND 2;", "AND to OR", set()),
        ("v := a OR true;", "TRUE to FALSE", {"v := a OR false;"}),
        ("v := a OR b;", "OR to AND", {"v := a AND b;"}),
        ("v := a <= b;", "<= to <", {"v := a < b;"}),
        ("v := a ->> 'b' = c;", "= to <>", {"v := a ->> 'b' <> c;"}),
        ("UPDATE t SET a = 1, b = 2 WHERE c = 3;", "= to <>", {"UPDATE t SET a = 1, b = 2 WHERE c <> 3;"}),
        ("PERFORM x(a, 'b;c'); RETURN;", "drop a statement", {"NULL; RETURN;"}),
        ("v := 'a = 1 AND true';", "= to <>", set()),
        ("v := 'a';", "change a text", {"v := 'a mutant';"}),
        ("v := 9;", "change a number", {"v := 10;"}),
        (
            "SELECT a FROM t ORDER BY a DESC NULLS FIRST, b LIMIT 1;",
            "drop ORDER BY",
            {"SELECT a FROM t LIMIT 1;"},
        ),
        ("SELECT a FROM t LIMIT 1;", "drop LIMIT", {"SELECT a FROM t ;"}),
        ("v := array_agg(a ORDER BY b);", "drop ORDER BY", {"v := array_agg(a );"}),
        ("v := nullif(f(a, b), '');", "nullif to its first argument", {"v := (f(a, b));"}),
        ("v := coalesce(a, b);", "coalesce to its second argument", {"v := (b);"}),
        ("v := coalesce(a, b, c);", "coalesce to its second argument", set()),
        ("v := a IS NULL;", "IS to IS NOT", {"v := a IS NOT NULL;"}),
        ("v := a IS NOT DISTINCT FROM b;", "drop NOT", {"v := a IS DISTINCT FROM b;"}),
        ("v := NOT a;", "drop NOT", {"v := a;"}),
        ("v := EXISTS (SELECT FROM t);", "EXISTS to NOT EXISTS", {"v := NOT EXISTS (SELECT FROM t);"}),
        ("-- a = b\nv := {{ a = b }};", "= to <>", set()),
    ],
)
def test_what_becomes_of_sql(statements: str, operator: str, expected: set[str]) -> None:
    assert _sql(statements, operator) == expected


def test_only_function_bodies_are_changed() -> None:
    text = "CREATE TABLE t (a integer CHECK (a > 0));\n" + _body("NULL;") + "COMMENT ON FUNCTION f() IS 'a = 1';\n"
    assert sql_mutations(text) == []


def test_the_end_of_an_if_within_a_case_closes_no_case() -> None:
    words = tokens(_body("CASE a WHEN b THEN IF c THEN d(); END IF; END CASE; e();"))
    assert next(word.depth for word in words if word.text == "d") == 1
    assert next(word.depth for word in words if word.text == "e") == 0


@pytest.mark.parametrize(
    ("source", "operator", "expected"),
    [
        ("a == b", "Eq to NotEq", "(a != b)"),
        ("a and b and c", "drop an operand", "(a and b)"),
        ("a and b", "And to Or", "(a or b)"),
        ("not a", "drop not", "(a)"),
        ("a if b else c", "swap the branches", "(c if b else a)"),
        ("x = True", "True to False", "x = False"),
        ("x = 'ä', 1", "change a number", "x = 'ä', 2"),
        ("if a:\n    b = c", "negate a condition", "if (not a):\n    b = c"),
        ("f()", "drop a call", "pass"),
        ("raise a", "drop a raise", "pass"),
        ("def f():\n    return a", "return None", "def f():\n    return None"),
    ],
)
def test_what_becomes_of_python(source: str, operator: str, expected: str) -> None:
    assert expected in {each.apply(source) for each in python_mutations(source) if each.operator == operator}


@pytest.mark.parametrize("source", ["f'{a == 1}'", "'''a == 1'''", "def f():\n    return None", "import a"])
def test_python_that_has_no_mutants(source: str) -> None:
    assert python_mutations(source) == []


def test_every_python_mutant_can_be_parsed_and_differs() -> None:
    # Short files, that hold everything there is.
    for name in ("_listing", "_session", "_settings/check"):
        path = REPO / "plugins" / "module_utils" / f"{name}.py"
        source = path.read_text(encoding="utf-8")
        for mutation in python_mutations(source):
            assert ast.dump(ast.parse(mutation.apply(source))) != ast.dump(ast.parse(source)), (path, mutation)


def test_there_are_mutants_of_every_kind_with_tests_that_exist() -> None:
    for kind in mutants.GENERATORS:
        found = mutants.candidates(kind)
        assert len(found) > 1000
        for path in {mutant.path for mutant in found}:
            for test in mutants.tests_of(path):
                assert (REPO / test).exists(), (path, test)


def test_every_pattern_is_of_some_file() -> None:
    paths = {mutant.path for kind in mutants.GENERATORS for mutant in mutants.candidates(kind)}
    every = {test for path in paths for test in mutants.tests_of(path)}
    named = {name for _, names in (*mutants._SQL, *mutants._PYTHON) for name in names.split()}
    assert {f"tests/integration/test_{name}.py" for name in named} <= every


def test_a_seed_draws_the_same_mutants_of_both_kinds_in_turn() -> None:
    kinds = [mutants.candidates(kind) for kind in mutants.GENERATORS]
    drawn = list(mutants.draw(kinds, 6, 1))
    assert drawn == list(mutants.draw(kinds, 6, 1)) != list(mutants.draw(kinds, 6, 2))
    assert [mutant.path.endswith(".sql.j2") for mutant in drawn] == [True, False] * 3


def test_a_draw_ends_with_the_last_mutant() -> None:
    few = list(islice(mutants.candidates("sql"), 3))
    assert set(mutants.draw([few, []], 10, 1)) == set(few)


def test_the_report_names_line_and_change_of_a_survivor() -> None:
    path = "plugins/module_utils/_version.py"
    line = (REPO / path).read_text(encoding="utf-8").index("import")
    survivor = mutants.Mutant(path, Mutation("drop a word", line, line + 6, "pass"))
    verdicts = [
        mutants.Verdict(survivor, None, False, 1),
        mutants.Verdict(survivor, "tests/unit", False, 1),
        mutants.Verdict(survivor, "tests/unit", True, 1),
    ]
    text = mutants.report(verdicts)
    assert f"{survivor.place}: drop a word" in text
    assert "\n    +" in text and "\n    -" in text
    assert text.endswith("1 of 3 mutants survived, 1 are unclear")


class _Tests:
    """A tree whose tests fail as given, with and without the mutant."""

    def __init__(self, with_it: set[str], without_it: set[str]) -> None:
        self.planted = False
        self.failing = {True: with_it, False: without_it}

    def plant(self, _: mutants.Mutant) -> None:
        self.planted = True

    def restore(self, _: mutants.Mutant) -> None:
        self.planted = False

    def failure(self, tests: str) -> str | None:
        return tests if tests in self.failing[self.planted] else None


@pytest.mark.parametrize(
    ("with_it", "without_it", "words"),
    [
        (set(), set(), "SURVIVED"),
        ({"tests/integration/test_takeover.py"}, set(), "killed by tests/integration/test_takeover.py"),
        ({"tests/unit/plugins"}, {"tests/unit/plugins"}, "unclear, as tests/unit/plugins fails anyway"),
    ],
)
def test_a_mutant_is_killed_by_a_test_that_passes_without_it(
    with_it: set[str], without_it: set[str], words: str
) -> None:
    mutant = mutants.candidates("python", "*/_takeover/*")[0]
    assert mutants.judge(cast(mutants.Tree, _Tests(with_it, without_it)), mutant).words == words
