# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What PostgreSQL stores instead of a password, and whether it is that of a given one.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import stringprep
import unicodedata
from typing import Any

from ansible_collections.llmops.user_bridge.plugins.module_utils import _pg

_MD5 = re.compile(r"md5[0-9a-f]{32}\Z")
_SCRAM = re.compile(r"SCRAM-SHA-256\$(\d+):([A-Za-z0-9+/=]+)\$[A-Za-z0-9+/=]+:([A-Za-z0-9+/=]+)\Z")


def has_password(cur: Any, role: str, password: str) -> bool | None:
    """Whether a role's stored verifier is that of the password; None where only PostgreSQL itself could tell."""
    verifier = _pg.value(cur, "SELECT rolpassword FROM pg_authid WHERE rolname = %(role)s", {"role": role})
    return is_verifier_of(verifier or "", role, password)


def is_verifier_of(verifier: str, role: str, password: str) -> bool | None:
    """RFC 5802, section 3: ServerKey = HMAC(Hi(password, salt, iterations), "Server Key"). The older form is MD5."""
    if _MD5.match(verifier):
        digest = hashlib.new("md5", (password + role).encode("utf-8"), usedforsecurity=False).hexdigest()
        return hmac.compare_digest(verifier, f"md5{digest}")
    parts = _SCRAM.match(verifier)
    if parts is None:
        return None
    try:
        salt, server_key = base64.b64decode(parts[2]), base64.b64decode(parts[3])
    except binascii.Error:
        return None
    salted = hashlib.pbkdf2_hmac("sha256", prepared(password).encode("utf-8"), salt, int(parts[1]))
    return hmac.compare_digest(hmac.new(salted, b"Server Key", hashlib.sha256).digest(), server_key)


def prepared(password: str) -> str:
    """SASLprep (RFC 4013) as PostgreSQL does it: what may not be in a password is taken as it is."""
    if password.isascii():
        return password
    mapped = "".join(
        " " if stringprep.in_table_c12(each) else each for each in password if not stringprep.in_table_b1(each)
    )
    normal = unicodedata.normalize("NFKC", mapped)
    return password if not normal or _is_prohibited(normal) else normal


def _is_prohibited(text: str) -> bool:
    tables = (
        stringprep.in_table_a1,
        stringprep.in_table_c12,
        stringprep.in_table_c21_c22,
        stringprep.in_table_c3,
        stringprep.in_table_c4,
        stringprep.in_table_c5,
        stringprep.in_table_c6,
        stringprep.in_table_c7,
        stringprep.in_table_c8,
        stringprep.in_table_c9,
    )
    if any(table(each) for table in tables for each in text):
        return True
    # Bidirectional text: if any character is right-to-left, the first and the last are, and none is left-to-right.
    rightward = [stringprep.in_table_d1(each) for each in text]
    mixed = any(stringprep.in_table_d2(each) for each in text) or not (rightward[0] and rightward[-1])
    return any(rightward) and mixed
