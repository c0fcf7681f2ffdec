# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Figures, their bounds, the table of them and the same as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Figure:
    """One measured number. Without a bound it is shown for orientation only. spread: of its parts."""

    what: str
    value: float
    unit: str
    bound: float | None = None
    sense: Literal["<=", ">="] = "<="
    note: str = ""
    spread: tuple[float, float] | None = None

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


def ends(values: Sequence[float]) -> tuple[float, float]:
    return min(values), max(values)


def show(figures: Sequence[Figure], conditions: str) -> None:
    """The table, on stdout."""
    rows = [("what", "measured", "spread", "bound", "", "remark")]
    for each in figures:
        bound = "" if each.bound is None else f"{each.sense} {each.bound:g} {each.unit}".rstrip()
        spread = "" if each.spread is None else "{:.3g}-{:.3g}".format(*each.spread)
        rows.append((each.what, f"{each.value:.3f} {each.unit}".rstrip(), spread, bound, each.verdict, each.note))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.insert(1, "  ".join("-" * width for width in widths))
    print("\n".join(["", conditions, "", *lines]), flush=True)


def save(figures: Sequence[Figure], conditions: str, path: Path) -> None:
    """For whoever compares two runs."""
    found = [{**asdict(each), "verdict": each.verdict} for each in figures]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"conditions": conditions, "figures": found}, indent=1) + "\n", encoding="utf-8")
