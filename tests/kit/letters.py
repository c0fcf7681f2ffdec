# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The characters that no address of an account may have, as SQL: what they are must not depend on a locale."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Iterable

# Capital letters of Unicode 15 to 18, in ranges: the list must not depend on the Python that writes it.
_NEWER = (
    *((0x1C89, 0x1C89), (0xA7CB, 0xA7CC), (0xA7CE, 0xA7CE), (0xA7D2, 0xA7D2), (0xA7D4, 0xA7D4), (0xA7DA, 0xA7DA)),
    *((0xA7DC, 0xA7DD), (0xA7E2, 0xA7E2), (0xAB6C, 0xAB6D), (0x10D50, 0x10D65), (0x16EA0, 0x16EB8)),
    *((0x1DF40, 0x1DF40), (0x1DF48, 0x1DF48), (0x1DF4A, 0x1DF4A), (0x1DF4D, 0x1DF4D), (0x1DF51, 0x1DF51)),
    *((0x1DF68, 0x1DF68), (0x1DF6A, 0x1DF6A), (0x1DF6C, 0x1DF6C), (0x1DF6E, 0x1DF6E), (0x1DF72, 0x1DF72)),
    *((0x1DF74, 0x1DF74), (0x1DF76, 0x1DF76), (0x1DF78, 0x1DF78), (0x1DF7A, 0x1DF7A), (0x1DF7C, 0x1DF7C)),
    (0x1DF7E, 0x1DF7E),
)
_TEMPLATE = """\
{{# Written by `make generate`, see tests/kit/letters.py. #}}
-- Characters as the hexadecimal digits of their UTF-8 bytes, between spaces: SQL that names them so reads the same in
-- every encoding, locale and setting.

CREATE OR REPLACE FUNCTION user_bridge.other_capitals() RETURNS text
LANGUAGE sql IMMUTABLE AS $body$
    SELECT
{capitals}
$body$;
COMMENT ON FUNCTION user_bridge.other_capitals() IS 'Letters beyond ASCII that lower-casing changes.';
GRANT EXECUTE ON FUNCTION user_bridge.other_capitals() TO "{{{{ reader_role }}}}";

CREATE OR REPLACE FUNCTION user_bridge.blanks() RETURNS text
LANGUAGE sql IMMUTABLE AS $body$
    SELECT
{blanks}
$body$;
COMMENT ON FUNCTION user_bridge.blanks() IS 'Spaces and control characters.';
GRANT EXECUTE ON FUNCTION user_bridge.blanks() TO "{{{{ reader_role }}}}";
"""


def capitals() -> list[str]:
    """What lower-casing changes, in any version of Unicode."""
    newer = {chr(code) for first, last in _NEWER for code in range(first, last + 1)}
    return sorted({each for each in _unicode() if each > "\x7f" and each.lower() != each} | newer)


def blanks() -> list[str]:
    """What shows nothing or ends a line."""
    return [each for each in _unicode() if each.isspace() or unicodedata.category(each) == "Cc"]


def _unicode() -> Iterable[str]:
    """What a text in PostgreSQL can hold."""
    return map(chr, (*range(1, 0xD800), *range(0xE000, 0x110000)))


def template() -> str:
    """roles/triggers/templates/entities/user/litellm/letters.sql.j2"""
    return _TEMPLATE.format(capitals=_literal(capitals()), blanks=_literal(blanks()))


def _literal(characters: Iterable[str]) -> str:
    """A text literal over several lines, with a space on both sides of each character."""
    lines = textwrap.wrap(" ".join(each.encode().hex() for each in characters), 110)
    return "\n".join(f"    ' {line}{' ' if line is lines[-1] else ''}'" for line in lines)
