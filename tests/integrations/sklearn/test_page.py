"""The code of the page on scikit-learn that needs other packages."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest

pytest.importorskip("lightgbm")
pytest.importorskip("xgboost")
pytest.importorskip("catboost")

PAGE = Path(__file__).parents[3] / "docs" / "scikit-learn.md"
# The first block, which gives the data, and the block in tildes, which test_docs.py leaves out.
FIRST = re.compile(r"```python\n(.*?)```", re.DOTALL)
BOOSTING = re.compile(r"~~~python\n(.*?)~~~\n~~~text\n(.*?)~~~", re.DOTALL)


def test_boosting_example_prints_what_the_page_shows():
    text = PAGE.read_text(encoding="utf-8")
    ((code, output),) = BOOSTING.findall(text)
    names: dict[str, object] = {}
    printed = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()):
        exec(compile(FIRST.findall(text)[0], str(PAGE), "exec"), names)
    with contextlib.redirect_stdout(printed):
        exec(compile(code, str(PAGE), "exec"), names)
    assert printed.getvalue() == output
