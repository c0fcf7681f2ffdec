# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of many similar tests run on every push; the others run weekly."""

from __future__ import annotations

from zlib import crc32

import pytest


def is_chosen(name: str, share: int) -> bool:
    """Whether it is one of the `1 / share` that run on every push: by its name, so that others may come and go."""
    return crc32(name.encode()) % share == 0


def marks(name: str, share: int) -> list[pytest.MarkDecorator]:
    """For a parameter of that name."""
    return [] if is_chosen(name, share) else [pytest.mark.weekly]
