"""The examples on the pages of docs/integrations, run where all packages that they need are installed."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "docs" / "integrations"
EXAMPLE = re.compile(r"```py(?:thon)?\n(.*?)```\n(?:```text\n(.*?)```)?", re.DOTALL)

TIMED = "{'train_runtime"
"""Begins a line with the time of a run, which trainers of transformers print."""


def assert_prints_what_it_shows(name: str) -> None:
    """Run the examples of a page one after the other, and compare what each prints."""
    examples = EXAMPLE.findall((FOLDER / f"{name}.md").read_text(encoding="utf-8"))
    assert examples
    names: dict[str, object] = {"__name__": "__main__"}
    for code, output in examples:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, f"{name}.md", "exec"), names)
        lines = printed.getvalue().splitlines(keepends=True)
        assert "".join(line for line in lines if not line.startswith(TIMED)) == output
