# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A plan as C(--diff) shows it.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.llmops.user_bridge.plugins.module_utils._catalog.live import with_names
from ansible_collections.llmops.user_bridge.plugins.module_utils._install.plan import Plan
from ansible_collections.llmops.user_bridge.plugins.module_utils._names import Roles


def diff(plan: Plan, roles: Roles) -> list[dict[str, str]]:
    """Each object that changes, and the settings."""
    shown = [
        {
            "before_header": f"{change.kind} {change.name} ({plan.database})",
            "after_header": f"{change.kind} {change.name} ({plan.database})",
            "before": _shown(change.before, roles),
            "after": _shown(change.after, roles),
        }
        for change in plan.objects
        if change.changed
    ]
    if plan.settings:
        header = f"settings ({plan.database})"
        before = {name: pair[0] for name, pair in plan.settings.items()}
        after = {name: pair[1] for name, pair in plan.settings.items()}
        shown.append(
            {"before_header": header, "after_header": header, "before": _listed(before), "after": _listed(after)}
        )
    return shown


def _shown(text: str, roles: Roles) -> str:
    return with_names(text, roles) + "\n" if text else ""


def _listed(settings: dict[str, Any]) -> str:
    return "".join(f"{name}: {json.dumps(value)}\n" for name, value in settings.items() if value is not None)
