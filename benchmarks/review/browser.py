"""Chromium, driven by Playwright, with a page of label issues."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Start the Chromium of the system."""
    path = shutil.which("chromium")
    if path is None:
        raise SystemExit("there is no chromium on PATH: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=OPTIONS)
        try:
            yield browser
        finally:
            browser.close()


def open_page(browser: Browser, path: Path) -> Page:
    """Open a page in a new context, which has no decisions stored, and wait until it can be used."""
    page = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-ready]")
    # Two frames later what was drawn is on the screen.
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return page
