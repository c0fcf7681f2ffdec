# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which ansible-core `make matrix` runs with which Python."""

from __future__ import annotations

import pytest

from kit import matrix
from kit.prepare import pins_with


def test_every_supported_series_is_pinned() -> None:
    assert [core.series for core in matrix.pinned()] == ["2.18", "2.19", "2.20", "2.21"]


@pytest.mark.parametrize(
    ("series", "there", "chosen"),
    [
        ("2.18", [(3, 13), (3, 11)], (3, 11)),
        ("2.19", [(3, 12)], (3, 12)),
        ("2.20", [(3, 11), (3, 13), (3, 12)], (3, 12)),
        ("2.21", [(3, 11)], None),
    ],
)
def test_the_oldest_python_that_will_do_is_chosen(
    series: str, there: list[tuple[int, ...]], chosen: tuple[int, ...] | None
) -> None:
    (core,) = (core for core in matrix.pinned() if core.series == series)
    assert matrix.choose(core, there) == chosen


def test_a_series_has_one_pin_for_each_package() -> None:
    for core in matrix.pinned():
        names = [pin.partition("==")[0].lower() for pin in pins_with(core.file)]
        assert len(names) == len(set(names))
        assert sum(core.version in pin for pin in pins_with(core.file) if pin.startswith("ansible-core")) == 1


def test_a_series_that_is_not_pinned_is_refused() -> None:
    with pytest.raises(matrix.KitError, match=r"pins ansible-core 2\.18, 2\.19, 2\.20, 2\.21 only"):
        matrix.run(["2.17"])
