# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/security.md claims nothing that no test proves."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
TEXT = (REPO / "docs" / "security.md").read_text(encoding="utf-8")
PROOFS = sorted(set(re.findall(r"`([\w./]*test_\w+\.py(?:::\w+)+)`", TEXT)))


@pytest.mark.parametrize("proof", PROOFS)
def test_each_proof_is_a_test(proof: str) -> None:
    path, *names = proof.split("::")
    body: list[ast.stmt] = ast.parse((REPO / "tests" / "integration" / path).read_text(encoding="utf-8")).body
    for name in names:
        (found,) = [node for node in body if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name == name]
        body = found.body
    assert names[-1].startswith("test_") and isinstance(found, ast.FunctionDef)


def test_every_test_that_is_named_is_checked() -> None:
    assert len(PROOFS) > 20 and len(set(re.findall(r"`[^`\n]*test_\w+[^`\n]*`", TEXT))) == len(PROOFS)


def test_every_holder_has_a_proof() -> None:
    (section,) = re.findall(r"(?s)\n## Who holds what\n(.*?)\n## ", TEXT)
    for holder in section.strip().split("\n\n"):
        assert holder.startswith("**") and ".py::test_" in holder, holder
