# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What PostgreSQL stores instead of a password."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest
from ansible_collections.llmops.user_bridge.plugins.module_utils._verifier import is_verifier_of, prepared


def verifier(password: str, salt: bytes = b"0123456789abcdef", iterations: int = 4096) -> str:
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    client = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    stored, key = base64.b64encode(client).decode(), base64.b64encode(server).decode()
    return f"SCRAM-SHA-256${iterations}:{base64.b64encode(salt).decode()}${stored}:{key}"


@pytest.mark.parametrize("password", ["secret", "päßword \u2460"])
def test_verifier(password: str) -> None:
    assert is_verifier_of(verifier(password.replace("\u2460", "1")), "me", password) is True
    assert is_verifier_of(verifier("another"), "me", password) is False


@pytest.mark.parametrize("stored", ["", "md5" + 32 * "x", "SCRAM-SHA-256$4096:=$x:y"])
def test_verifiers_that_only_postgresql_can_compare(stored: str) -> None:
    assert is_verifier_of(stored, "me", "secret") is None


def test_the_older_form() -> None:
    stored = "md5" + hashlib.new("md5", b"secretme", usedforsecurity=False).hexdigest()
    assert is_verifier_of(stored, "me", "secret") is True
    assert is_verifier_of(stored, "you", "secret") is False


@pytest.mark.parametrize(
    ("password", "expected"),
    [
        ("a\tb", "a\tb"),
        ("soft\u00adhyphen", "softhyphen"),
        ("wide\u00a0space", "wide space"),
        ("\u2168", "IX"),
        # Prohibited or unassigned in Unicode 3.2, or of mixed directions: taken as they are.
        ("\u00e9\u0007", "\u00e9\u0007"),
        ("key\U0001f511\u2168", "key\U0001f511\u2168"),
        ("\u0627\u2168", "\u0627\u2168"),
        ("\u00ad", "\u00ad"),
    ],
)
def test_the_form_of_a_password_that_is_hashed(password: str, expected: str) -> None:
    assert prepared(password) == expected
