"""The examples on the pages of docs/integrations run as they stand, and print what is shown."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import pytest

from tests.test_docs import EXAMPLE

FOLDER = Path(__file__).parents[2] / "docs" / "integrations"
PAGES = sorted(FOLDER.glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_examples_print_what_the_page_shows(page):
    examples = EXAMPLE.findall(page.read_text(encoding="utf-8"))
    assert examples
    names: dict[str, object] = {"__name__": "__main__"}
    for code, output in examples:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, page.name, "exec"), names)
        # Trainers of transformers print a dict with the time of a run.
        lines = [
            line for line in printed.getvalue().splitlines(keepends=True) if not line.startswith("{'train_runtime")
        ]
        assert "".join(lines) == output
