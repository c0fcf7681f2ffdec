# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of bridge_report: what is on it, that it escapes, and that everybody can read it."""

from __future__ import annotations

import os
import re
import sys
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.llmops.user_bridge.plugins.modules import bridge_info
from ansible_collections.llmops.user_bridge.plugins.plugin_utils._report import page, plots, series, words, write

from kit import reported
from kit.reported import MARKUP, NOW

VOID = {"br", "link", "meta"}


class Outline(HTMLParser):
    """Elements with their attributes, those that are open at the end, and the text outside of style."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data

    def of(self, *tags: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.elements if tag in tags]


def changed(**parts: Any) -> dict[str, Any]:
    return {**reported.info(), **parts}


def outline(**parts: Any) -> Outline:
    return Outline(page.page(changed(**parts), "db1", NOW))


def test_the_example_is_as_the_module_documents_it() -> None:
    documented = yaml.safe_load(bridge_info.RETURN)
    found = reported.info()
    assert found.keys() - {"changed"} == documented.keys()
    for name in ("day", "commits", "drainer", "queue", "recent", "version", "litellm", "connection"):
        assert found[name].keys() == documented[name]["contains"].keys(), name
    assert found["causes"][0].keys() == documented["causes"]["contains"].keys()
    assert found["history"][0].keys() == documented["history"]["contains"].keys()
    assert found["models"]["litellm"].keys() == documented["models"]["contains"]["litellm"]["contains"].keys()


def test_the_page_is_whole_and_runs_nothing() -> None:
    found = outline()
    assert found.open == []
    assert not found.of("script", "iframe", "img", "object", "form")
    text = page.page(reported.info(), "db1", NOW)
    assert re.findall(r"https?://[^\"' ]+", text) == ["http://www.w3.org/2000/svg"] * text.count("<svg")
    attributes = [name for _tag, each in found.elements for name in each]
    assert not [name for name in attributes if name.startswith("on")] and "src" not in attributes
    assert [each["href"] for each in found.of("link", "a")] == ["data:,"]
    (policy,) = [each["content"] for each in found.of("meta") if "http-equiv" in each]
    assert policy is not None and policy.startswith("default-src 'none'; style-src 'unsafe-inline'")


def test_what_litellm_refuses_is_there_while_it_is_asked_to() -> None:
    refused = reported.info()["enforcement"]
    text = page.page(reported.info(), "db1", NOW)
    assert "120 rows of end users in LiteLLM, 3 of them for nothing at all" in text and refused["missing"][0] in text
    for without in (None, {**refused, "enabled": False}):
        assert "Refused by LiteLLM itself" not in page.page(changed(enforcement=without), "db1", NOW)


def test_texts_of_others_are_text() -> None:
    found = outline(
        skipped_users=[{"reason": MARKUP, "users": 1}],
        health={"status": "broken", "reasons": [MARKUP]},
        causes=[{**reported.info()["causes"][0], "cause": MARKUP, "remedy": MARKUP}],
        litellm={**reported.info()["litellm"], "database": MARKUP},
    )
    # The database in title, heading and versions, a reason, skipped, held, an owner, the cause in text, plot and table.
    assert found.text.count(MARKUP) == 14
    assert not found.of("script") and found.open == []


def test_the_sections_of_bridge_status() -> None:
    found = outline()
    for text in (
        "DEGRADED",
        "12 changes held until somebody decides",
        "801 of 820",
        "998 of the last 1000 deliveries arrived (99.8 %)",
        "unreachable: check that",
        "user 550e8400-e29b-41d4-a716-446655440000",
        "too many accounts deleted within ten minutes",
        "Skipped: 10",
        "Accounts that nothing opens: 1",
        "Nobody is granted: gpt-4o-audio.",
        "2 people see all of them only because no list says anything about them",
        "Made public in Open WebUI, so that everybody sees (bridge_model_takeover): llama3.",
        "Last success: 2026-11-27 10:29:12.",
        "Last comparison of both sides: 2026-11-27 10:24:00.",
        "300 as installed",
        "is not granted gpt-4o by LiteLLM",
    ):
        assert text in found.text, text
    assert len(found.of("svg")) == 6


def test_whoever_sees_little_gets_a_page() -> None:
    told = ("changed", "health", "version", "litellm", "models", "causes", "errors", "last_errors", "unseen")
    nothing = {name: None for name in reported.info() if name not in told}
    litellm = {**reported.info()["litellm"], "counts": None, "version": None, "installed": False, "objects": []}
    found = outline(**nothing, litellm=litellm, causes=[], models={"litellm": None, "openwebui": None})
    assert "not reached" in found.text and "not installed" in found.text
    assert not found.of("svg")


def test_a_drainer_that_has_counted_nothing_yet() -> None:
    found = outline(history=[])
    assert "Nothing was delivered." in found.text and "Nothing was counted." in found.text
    assert len(found.of("svg")) == 1


@pytest.mark.parametrize(
    ("pause", "text"),
    [
        ({"since": None, "until": None}, "Paused, and nothing ends that."),
        (
            {"since": "2026-11-27T08:00:00Z", "until": "2026-11-27T12:00:00Z"},
            "Paused since 2026-11-27 08:00:00 until 2026-11-27 12:00:00.",
        ),
    ],
)
def test_a_pause(pause: dict[str, Any], text: str) -> None:
    assert text in outline(pause=pause).text


def test_it_can_be_read_aloud() -> None:
    found = outline()
    assert found.of("html") == [{"lang": "en"}]
    headings = [int(tag[1]) for tag, _each in found.elements if re.fullmatch("h[1-6]", tag)]
    assert headings[0] == 1 and headings.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(headings))
    assert all("scope" in each for each in found.of("th"))
    ids = [each["id"] for _tag, each in found.elements if "id" in each]
    assert len(ids) == len(set(ids))
    named = [each["aria-labelledby"] for each in found.of("section", "svg")]
    assert set(named) <= set(ids)
    assert all(each["role"] == "img" for each in found.of("svg"))


def luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("place", [0, 1], ids=["light", "dark"])
def test_contrasts_are_those_of_wcag(place: int) -> None:
    style = (page.TEMPLATES / "report.css.j2").read_text(encoding="utf-8")
    blocks = re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", blocks[place]))
    assert len(blocks) == 2 and len(colours) == 12
    for ground in ("page", "box"):
        for text in ("text", "quiet", "ok", "degraded", "broken"):
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
        for mark in ("one", "two", "three", "four"):
            assert contrast(colours[mark], colours[ground]) >= 3, (mark, ground)
    # The number on a bar.
    assert contrast(colours["page"], colours["three"]) >= 4.5


def test_only_the_time_of_making_may_differ() -> None:
    now = page.page(reported.info(), "db1", NOW)
    assert page.is_same(now, page.page(reported.info(), "db1", NOW + timedelta(minutes=29)))
    assert now != page.page(reported.info(), "db1", NOW + timedelta(minutes=29))
    assert not page.is_same(now, page.page(reported.info(), "db1", NOW + timedelta(hours=1)))
    assert not page.is_same(now, page.page(changed(causes=[]), "db1", NOW))
    assert "<path" in now and "<path" not in page.for_a_diff(now)


def entry(hour: str, **parts: Any) -> dict[str, Any]:
    return {"hour": hour, "delivered": 0, "skipped": 0, "failed": 0, "delay_ms": None, "mapped": {}, **parts}


def test_hours_and_days() -> None:
    counted = [
        entry("2026-11-27T10:00:00Z", delivered=3, delay_ms=1500, mapped={"user": 7, "team": 1, "organization": 2}),
        entry("2026-11-27T09:00:00Z", delivered=2, failed=1, delay_ms=80, mapped={"user": 5}),
        entry("2026-11-26T11:00:00Z", skipped=4),
        entry("2026-11-26T10:00:00Z", delivered=100),
        entry("2026-10-29T00:00:00Z", delivered=9),
        entry("2026-10-28T23:00:00Z", delivered=1000),
    ]
    hours = series.last_day(counted, NOW)
    assert len(hours) == 24 and hours[0].begins == datetime(2026, 11, 26, 11, tzinfo=UTC)
    assert [each.delivered for each in hours] == [0] * 22 + [2, 3]
    assert hours[0].skipped == 4 and hours[0].people is None and hours[0].delay_seconds is None
    assert (hours[-1].delay_seconds, hours[-1].people, hours[-1].groups) == (1.5, 7, 3)
    days = series.last_month(counted, NOW)
    assert len(days) == 30 and days[0].delivered == 9 and days[-2].delivered == 100
    assert (days[-1].delivered, days[-1].failed, days[-1].delay_seconds, days[-1].people) == (5, 1, 1.5, 7)


def test_the_plots_in_words() -> None:
    found = {each.name: each.text for each in page._plots(reported.info(), NOW)}
    assert found["delay-day"] == "At most 6.67 min in the hour from 05:00. Not counted: 1 hour."
    assert found["delay-month"].startswith("At most 6.67 min on ")
    assert found["causes"] == "unreachable: 2 entities; refused by Open WebUI: 1 entity."
    assert re.fullmatch(r"On 27 Nov people: 80\d, groups: 46\. On 29 Oct people: \d+, groups: 35\.", found["levels"])
    assert re.fullmatch(r"\d+ arrived, \d+ skipped, \d+ attempts failed\.", found["deliveries-day"])


def test_the_first_hour_of_a_bridge_at_which_nothing_waits() -> None:
    hour = entry("2026-11-27T10:00:00Z", delivered=1, delay_ms=0, mapped={"user": 7})
    found = {each.name: each for each in page._plots(changed(history=[hour]), NOW)}
    assert found["levels"].text == "On 27 Nov people: 7, groups: 0. Not counted: 29 days."
    assert (found["delay-day"].text, found["delay-day"].svg) == ("Nothing waited. Not counted: 23 hours.", None)


def test_what_is_pointed_at_says_its_value() -> None:
    (plot,) = [each for each in page._plots(reported.info(), NOW) if each.name == "causes"]
    assert plot.svg is not None
    assert "<title>unreachable: 2</title>" in plot.svg and "<desc" not in plot.svg
    assert "style" not in plot.svg and "Pygal" not in plot.svg


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 ms"), (0.085, "85 ms"), (1, "1 s"), (59, "59 s"), (400, "6.67 min"), (7200, "2 h"), (864000, "10 d")],
)
def test_durations(seconds: float, text: str) -> None:
    assert words.duration(seconds) == text


@pytest.mark.parametrize(
    ("part", "whole", "text"), [(0, 0, "-"), (3, 3, "100 %"), (99999, 100000, "99.9 %"), (1, 3, "33.3 %")]
)
def test_a_share_is_never_rounded_up(part: int, whole: int, text: str) -> None:
    assert words.share(part, whole) == text


def test_a_library_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert plots.lacking() is None
    monkeypatch.setitem(sys.modules, "pygal", None)
    assert (plots.lacking() or "").endswith(f"run {sys.executable} -m pip install pygal")


def test_what_is_in_the_way_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pipe").unlink(missing_ok=True)
    os.mkfifo(tmp_path / "pipe")
    assert write.in_the_way(tmp_path / "page.html") is None
    for path, words_of_it in (
        (tmp_path / "no" / "page.html", f"the folder {tmp_path}/no does not exist on the control node: create it"),
        (tmp_path, "it is a folder: add the name of a file to it"),
        (tmp_path / "pipe", "it is not a regular file: name another"),
    ):
        assert write.in_the_way(path) == words_of_it
    monkeypatch.setattr(os, "access", lambda *_arguments: False)
    assert "may not write in the folder" in (write.in_the_way(tmp_path / "page.html") or "")


def test_a_file_is_replaced_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "page.html"
    path.write_text("before", encoding="utf-8")
    (tmp_path / "link").symlink_to(path)
    write.replace(write.located(str(tmp_path / "link")), "after")
    assert write.read(path) == "after" and write.mode(path) == 0o600 and (tmp_path / "link").is_symlink()
    assert write.read(tmp_path / "none") is None
    monkeypatch.setattr(os, "replace", lambda *_arguments: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write.replace(path, "never")
    assert write.read(path) == "after" and len(list(tmp_path.iterdir())) == 2
