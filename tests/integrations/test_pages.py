"""The examples on the pages of docs/integrations run as they stand, and print what is shown."""

from __future__ import annotations

import pytest

from support.pages import FOLDER, assert_prints_what_it_shows

# That of arrays is tested beside the arrays, where Paddle is imported first.
PAGES = sorted({path.stem for path in FOLDER.glob("*.md")} - {"arrays", "README"})


@pytest.mark.parametrize("page", PAGES)
def test_examples_print_what_the_page_shows(page):
    assert_prints_what_it_shows(page)
