# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of bridge_status as people see it. Pictures are in .cache/e2e/report; `make screenshots` makes the docs'."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from ansible_collections.llmops.user_bridge.plugins.plugin_utils._report.page import page as html
from playwright.sync_api import Browser, ViewportSize

from e2e import browser as browsers
from kit import reported
from kit.common import cache_dir

PHONE: ViewportSize = {"width": 390, "height": 844}
DESKTOP: ViewportSize = {"width": 1280, "height": 1000}
# Where a phone has plots.
BELOW = 2030
_TOO_WIDE = """() => [...document.querySelectorAll('body *')]
    .filter(each => each.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
    .map(each => each.outerHTML.slice(0, 80))"""


@pytest.fixture(scope="module")
def output() -> Path:
    path = cache_dir() / "e2e" / "report"
    path.mkdir(parents=True, exist_ok=True)
    return path


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "page.html"
    path.write_text(html(reported.info(), "db1", reported.NOW), encoding="utf-8")
    return path


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_it_fits_and_is_quiet(
    browser: Browser, written: Path, output: Path, size: ViewportSize, scheme: Literal["light", "dark"]
) -> None:
    context = browser.new_context(viewport=size, color_scheme=scheme, device_scale_factor=1)
    try:
        page = context.new_page()
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(written.as_uri())
        assert (said, asked) == ([], [written.as_uri()])
        assert page.evaluate("document.documentElement.scrollWidth") == size["width"]
        assert page.evaluate(_TOO_WIDE) == []
        assert (
            page.evaluate("getComputedStyle(document.body).backgroundColor")
            == {
                "light": "rgb(255, 255, 255)",
                "dark": "rgb(18, 22, 27)",
            }[scheme]
        )
        assert page.locator("svg.plot").count() == 6
        name = f"{'phone' if size is PHONE else 'desktop'}-{scheme}"
        browsers.take_picture(page, output / f"{name}.png")
        page.evaluate(f"window.scrollTo(0, {BELOW})")
        browsers.take_picture(page, output / f"{name}-below.png")
    finally:
        context.close()


def test_it_prints_in_black_on_white(browser: Browser, written: Path, output: Path) -> None:
    """Whatever the screen has."""
    context = browser.new_context(viewport=DESKTOP, color_scheme="dark")
    try:
        page = context.new_page()
        page.goto(written.as_uri())
        page.emulate_media(media="print", color_scheme="dark")
        assert page.evaluate("getComputedStyle(document.body).color") == "rgb(27, 33, 39)"
        page.pdf(path=output / "report.pdf", format="A4")
        assert (output / "report.pdf").read_bytes().count(b"/Type /Page\n") <= 6
    finally:
        context.close()
