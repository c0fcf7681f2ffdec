# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How much a migration does at a time.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

# Each user takes two of the server's locks.
MAX_BATCH = 2000
# Each keeps one of the server's cores busy.
MAX_PARALLEL = 16
