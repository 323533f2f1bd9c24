"""The examples of docs/arrays.md that need more than the tests of the package, marked ``py`` instead of ``python``."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

PAGE = Path(__file__).parents[3] / "docs" / "arrays.md"
EXAMPLE = re.compile(r"```py\n(.*?)```\n(?:```text\n(.*?)```)?", re.DOTALL)


def test_examples_print_what_the_page_shows():
    examples = EXAMPLE.findall(PAGE.read_text())
    assert examples
    for code, output in examples:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, PAGE.name, "exec"), {})
        assert printed.getvalue() == output
