"""A browser that opens review pages, and fails a test if a page requests, logs or asks anything.

They need Playwright for Python and a Chromium of the system.
The modules alone are tested by ``node --test tests/browser/*.test.mjs``.
"""

from __future__ import annotations

import shutil

import pytest
from playwright.sync_api import sync_playwright

from rrm_review import write_page

ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
TIMEOUT = 10_000  # milliseconds


@pytest.fixture(scope="session")
def browser():
    executable = shutil.which("chromium")
    assert executable, "these tests need chromium, which is not on PATH"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def open_file(browser):
    """Return ``open_file(path, **options of a context)``, which opens a page and waits until it is usable."""
    contexts = []
    surprises = []

    def opened(path, context=None, script=None, watched=True, **options):
        if context is None:
            context = browser.new_context(**({"viewport": {"width": 1280, "height": 800}} | options))
            context.set_default_timeout(TIMEOUT)
            contexts.append(context)
        page = context.new_page()
        if script is not None:
            page.add_init_script(script)
        address = path.as_uri()
        allowed = ("data:", "blob:", address)
        if watched:
            page.on("request", lambda request: request.url.startswith(allowed) or surprises.append(request.url))
            page.on("pageerror", lambda error: surprises.append(str(error)))
            page.on("console", lambda message: surprises.append(message.text))
        page.goto(address)
        page.wait_for_selector("html[data-ready]")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert surprises == []


@pytest.fixture
def open_page(open_file, tmp_path):
    """Return ``open_page(issues, samples, **options of write_page)``, which writes a page and opens it."""

    def opened(issues, samples, browser_options=None, **options):
        write_page(issues, samples, tmp_path / "review.html", **options)
        return open_file(tmp_path / "review.html", **(browser_options or {}))

    return opened
