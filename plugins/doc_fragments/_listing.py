# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Doc fragment for the options of the modules that list rows of the bridge's tables.

This doc fragment is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  since:
    description:
      - Only entries from this time on. A time in ISO 8601, in UTC unless it names another offset, or an age such as
        V(90s), V(30m), V(24h), V(7d) or V(2w), which the server counts back from its own clock.
    type: str
  until:
    description:
      - Only entries up to and including this time. Takes what O(since) takes.
    type: str
  text:
    description:
      - Only entries that contain this text, in upper or lower case. It is not a pattern.
    type: str
  order:
    description:
      - Whether the newest or the oldest entries come first.
    type: str
    choices: [newest, oldest]
    default: newest
  limit:
    description:
      - Most entries to return, between 1 and 10000.
    type: int
    default: 100
  after_id:
    description:
      - Only entries that come after the one with this id in O(order). Give RV(next_after_id) of the last call to get
        the next page. Entries that are added meanwhile do not shift the pages.
    type: int
"""
