"""The examples of docs/integrations/arrays.md."""

from __future__ import annotations

from support.pages import assert_prints_what_it_shows


def test_examples_print_what_the_page_shows():
    assert_prints_what_it_shows("arrays")
