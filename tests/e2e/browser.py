# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian's Chromium, without a screen, as a person's browser: what is on the page is what counts."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize, expect, sync_playwright

from e2e.litellm_server import MASTER_KEY, Proxy
from e2e.webui_server import Server
from kit.common import KitError

SIZE: ViewportSize = {"width": 1360, "height": 600}
# Pages of a server that has just started, on a machine with much else to do.
PATIENCE_MS = 60_000
_FLAGS = [
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-proxy-server",
    # Whatever a page asks of another host, fonts and telemetry included, must not matter.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]


@contextmanager
def running() -> Iterator[Browser]:
    """One browser for the length of a with block."""
    program = shutil.which("chromium")
    if program is None:
        raise KitError("chromium is missing: install it (apt-get install chromium), or run `make e2e`, which does")
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        # Root, as CI is, cannot use Chromium's sandbox; the only pages are our own.
        browser = playwright.chromium.launch(executable_path=program, args=_FLAGS, chromium_sandbox=False)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def window(browser: Browser, server: Server, width: int = SIZE["width"]) -> Iterator[Page]:
    """A window with cookies of its own, the sidebar open, at the page that a visitor gets first."""
    with _context(browser, server.url, width) as context:
        context.add_init_script("localStorage.setItem('sidebar', 'true')")
        page = context.new_page()
        page.goto("/auth")
        yield page


@contextmanager
def litellms_window(browser: Browser, proxy: Proxy, width: int) -> Iterator[Page]:
    """A window of LiteLLM's own pages, signed in with the master key as their administrator does."""
    with _context(browser, proxy.url, width) as context:
        signed_in = context.request.post("/v2/login", data={"username": "admin", "password": MASTER_KEY})
        assert signed_in.ok, signed_in.text()
        yield context.new_page()


@contextmanager
def _context(browser: Browser, url: str, width: int) -> Iterator[BrowserContext]:
    size: ViewportSize = {**SIZE, "width": width}
    context = browser.new_context(viewport=size, locale="en-US", base_url=url, color_scheme="light")
    context.set_default_timeout(PATIENCE_MS)
    try:
        yield context
    finally:
        context.close()


def sign_in(page: Page, email: str, password: str) -> None:
    """The sign-in form; the chat page comes after it."""
    page.locator("input[type=email]").fill(email)
    page.locator("input[type=password]").fill(password)
    page.locator("button[type=submit]").click()
    expect(page.locator("#chat-input")).to_be_visible()


def dismiss_release_notes_if_any(page: Page) -> None:
    """Whenever they come: an administrator who has seen them once is not shown them again."""
    page.add_locator_handler(page.get_by_role("button", name="Okay, Let's Go!"), lambda button: button.click())


def dismiss_release_notes(page: Page) -> None:
    """What an admin is shown first."""
    button = page.get_by_role("button", name="Okay, Let's Go!")
    button.click()
    expect(button).to_be_hidden()


def open_model_menu(page: Page) -> None:
    """At the top of the chat page, or below where one writes."""
    page.locator("button[id^=model-selector-][id$=-button]").first.click()


def take_picture(page: Page, path: Path) -> Path:
    """As a person sees it once everything is there: texts are waited for before, pictures and fonts here."""
    page.wait_for_function("Array.from(document.images).every(image => image.complete)")
    page.evaluate("document.fonts.ready")
    page.screenshot(path=path, animations="disabled", caret="hide")
    return path


def put_side_by_side(browser: Browser, pictures: Sequence[Path], path: Path) -> None:
    """Each in a frame of its own."""
    page = browser.new_page(viewport={"width": SIZE["width"], "height": 100})
    try:
        frame = "width: calc(50% - 4px); box-sizing: border-box; border: 1px solid #ccc"
        images = (
            f'<img style="{frame}" src="data:image/png;base64,{base64.b64encode(each.read_bytes()).decode()}">'
            for each in pictures
        )
        row = "margin: 0; display: flex; gap: 8px; align-items: start"
        page.set_content(f'<!doctype html><body style="{row}">{"".join(images)}</body>')
        page.locator("body").screenshot(path=path)
    finally:
        page.close()


def ask(page: Page, question: str, answer: str) -> None:
    """Type a question into the chat page, and wait until the answer stands there."""
    page.locator("#chat-input").click()
    page.keyboard.type(question)
    page.keyboard.press("Enter")
    expect(page.get_by_text(answer).first).to_be_visible()
