# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Figures, their bounds, and the table of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Figure:
    """One measured number. Without a bound it is shown for orientation only."""

    what: str
    value: float
    unit: str
    bound: float | None = None
    sense: Literal["<=", ">="] = "<="
    note: str = ""

    @property
    def verdict(self) -> str:
        if self.bound is None:
            return ""
        return "OK" if (self.value <= self.bound if self.sense == "<=" else self.value >= self.bound) else "MISSED"


def quantile(values: Sequence[float], share: float) -> float:
    """Nearest rank: a value that was measured, not one between two."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def median(values: Sequence[float]) -> float:
    return quantile(values, 0.5)


def show(figures: Sequence[Figure], conditions: str) -> None:
    """The table, on stdout."""
    rows = [("what", "measured", "bound", "", "remark")]
    for each in figures:
        bound = "" if each.bound is None else f"{each.sense} {each.bound:g} {each.unit}".rstrip()
        rows.append((each.what, f"{each.value:.3f} {each.unit}".rstrip(), bound, each.verdict, each.note))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.insert(1, "  ".join("-" * width for width in widths))
    print("\n".join(["", conditions, "", *lines]), flush=True)
