# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Plots as SVG that takes colours and fonts from the page around it, without a script or a style of its own.

This plugin_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from ansible_collections.llmops.user_bridge.plugins.module_utils._info.health import number
from ansible_collections.llmops.user_bridge.plugins.plugin_utils._report.series import HOUR, Bucket
from ansible_collections.llmops.user_bridge.plugins.plugin_utils._report.words import duration, unit

LIBRARY = "pygal"
# The page scales it: small enough that its texts can be read on a phone.
_WIDTH, _HEIGHT = 420, 210
_FONT = 11


class Plot(NamedTuple):
    """What is plotted, the same in a sentence, and the SVG; None where there is nothing to draw."""

    name: str
    title: str
    text: str
    svg: str | None


def lacking() -> str | None:
    """What to do before anything can be plotted; None if nothing."""
    try:
        importlib.import_module(LIBRARY)
    except ImportError as error:
        python = sys.executable or "the Python that runs Ansible"
        return f"{LIBRARY}, which plots it, cannot be imported ({error}): run {python} -m pip install {LIBRARY}"
    return None


def deliveries(name: str, title: str, buckets: Sequence[Bucket]) -> Plot:
    counted = {kind: [getattr(each, kind) for each in buckets] for kind in ("delivered", "skipped", "failed")}
    sums = {kind: sum(values) for kind, values in counted.items()}
    if not any(sums.values()):
        return Plot(name, title, "Nothing was delivered.", None)
    text = f"{sums['delivered']} arrived, {sums['skipped']} skipped, {sums['failed']} attempts failed."
    series = {"arrived": counted["delivered"], "skipped": counted["skipped"], "failed": counted["failed"]}
    return Plot(name, title, text, _drawn("StackedBar", name, series, _times(buckets)))


def delay(name: str, title: str, buckets: Sequence[Bucket]) -> Plot:
    counted = [each for each in buckets if each.delay_seconds is not None]
    if not counted:
        return Plot(name, title, "Nothing was counted.", None)
    worst, where = max((each.delay_seconds or 0, each.begins) for each in counted)
    if not worst:
        return Plot(name, title, f"Nothing waited.{_uncounted(buckets, counted)}", None)
    text = f"At most {duration(worst)}{_when(buckets, where)}.{_uncounted(buckets, counted)}"
    length, unit_name = unit(worst)
    values = [None if each.delay_seconds is None else each.delay_seconds / length for each in buckets]

    def in_unit(value: float) -> str:
        return f"{value:.3g} {unit_name}"

    return Plot(name, title, text, _drawn("Bar", name, {"": values}, _times(buckets), value_formatter=in_unit))


def levels(name: str, title: str, buckets: Sequence[Bucket]) -> Plot:
    counted = [each for each in buckets if each.people is not None]
    if not counted:
        return Plot(name, title, "Nothing was counted.", None)
    first, last = counted[0], counted[-1]
    text = f"On {last.begins:%d %b} people: {last.people}, groups: {last.groups}."
    if first is not last:
        text += f" On {first.begins:%d %b} people: {first.people}, groups: {first.groups}."
    text += _uncounted(buckets, counted)
    series = {"people": [each.people for each in buckets], "groups": [each.groups for each in buckets]}
    return Plot(name, title, text, _drawn("Line", name, series, _times(buckets), dots_size=2, allow_interruptions=True))


def causes(name: str, title: str, found: Sequence[Mapping[str, Any]]) -> Plot:
    if not found:
        return Plot(name, title, "Nothing fails.", None)
    text = "; ".join(f"{each['cause']}: {number(each['entities'], 'entity', 'entities')}" for each in found) + "."
    # Bars are drawn from the bottom.
    rows = list(reversed(found))
    series = {"": [each["entities"] for each in rows]}
    height = 46 + 26 * len(rows)
    svg = _drawn("HorizontalBar", name, series, [each["cause"] for each in rows], height=height, print_values=True)
    return Plot(name, title, text, svg)


def _when(buckets: Sequence[Bucket], begins: datetime) -> str:
    return f" in the hour from {begins:%H:%M}" if _are_hours(buckets) else f" on {begins:%d %b}"


def _uncounted(buckets: Sequence[Bucket], counted: Sequence[Bucket]) -> str:
    missing = len(buckets) - len(counted)
    return f" Not counted: {number(missing, 'hour' if _are_hours(buckets) else 'day')}." if missing else ""


def _are_hours(buckets: Sequence[Bucket]) -> bool:
    return buckets[1].begins - buckets[0].begins == HOUR


def _times(buckets: Sequence[Bucket]) -> list[str]:
    form = "%H:%M" if _are_hours(buckets) else "%d %b"
    return [each.begins.strftime(form) for each in buckets]


def _drawn(kind: str, name: str, series: Mapping[str, Sequence[Any]], labels: Sequence[str], **options: Any) -> str:
    library = importlib.import_module(LIBRARY)
    # The page's style sheet has the colours; without these the library would look for contrasts among its own.
    style = library.style.Style(
        colors=["currentColor"] * len(series),
        value_colors=["currentColor"] * len(series),
        font_family="inherit",
        label_font_size=_FONT,
        major_label_font_size=_FONT,
        legend_font_size=_FONT,
        value_font_size=_FONT,
    )
    over_time = kind != "HorizontalBar"
    chart = getattr(library, kind)(
        **{
            "width": _WIDTH,
            "height": _HEIGHT,
            "margin": 2,
            "margin_right": 14,
            "spacing": 6,
            "style": style,
            "css": (),
            "js": (),
            "no_prefix": True,
            "classes": ("plot", name),
            "disable_xml_declaration": True,
            "title": None,
            "x_labels": list(labels),
            "x_labels_major_every": 6 if over_time else None,
            "show_minor_x_labels": not over_time,
            "truncate_label": -1,
            "truncate_legend": -1,
            "legend_at_bottom": True,
            "legend_at_bottom_columns": max(2, len(series)),
            "legend_box_size": 9,
            "show_legend": len(series) > 1,
            "include_x_axis": True,
            "max_scale": 5,
            "value_formatter": _whole,
            **options,
        }
    )
    for title, values in series.items():
        chart.add(title, list(values))
    chart.add_xml_filter(_bare)
    return str(chart.render(is_unicode=True))


def _whole(value: float) -> str:
    return f"{value:g}" if value == int(value) else ""


def _bare(root: Any) -> Any:
    """Without script, style, ids and what a script would need; a mark has its value as a tooltip."""
    for parent in list(root.iter()):
        parent.attrib.pop("id", None)
        told = {}
        for child in list(parent):
            tag = "" if callable(child.tag) else str(child.tag).rpartition("}")[2]
            if tag == "desc":
                told[child.attrib.get("class", "")] = child.text or ""
            if tag in ("", "desc", "defs", "title") or "tooltip-overlay" in child.attrib.get("class", ""):
                parent.remove(child)
        if "value" in told:
            title = parent.makeelement("title", {})
            title.text = ": ".join(each for each in (told.get("x_label", ""), told["value"]) if each)
            parent.append(title)
    root.attrib.update(role="img", **{"aria-labelledby": root.attrib["class"].split()[-1]})
    return root
