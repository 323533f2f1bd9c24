"""The examples in README.md and docs/ run, and print what the pages say they print."""

from __future__ import annotations

import contextlib
import io
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = ["README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]
EXAMPLE = re.compile(r"```python\n(.*?)```\n(?:```text\n(.*?)```)?", re.DOTALL)

# What the README's loop takes for granted.
SETTING = """
import torch
import torch.nn.functional as F
from rrm_torch import batches
torch.manual_seed(0)
epochs, train, model = 2, torch.zeros(40, 3), torch.nn.Linear(3, 2)
loader = batches(train, torch.zeros(40, dtype=torch.int64), 8, shuffle=True)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
"""


@pytest.mark.parametrize("page", PAGES)
def test_examples_print_what_they_say(page):
    names: dict[str, object] = {}
    exec(SETTING, names)
    for code, output in EXAMPLE.findall((ROOT / page).read_text()):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, page, "exec"), names)
        assert printed.getvalue() == output


def test_the_pages_have_examples():
    assert sum(len(EXAMPLE.findall((ROOT / page).read_text())) for page in PAGES) >= 6


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    path = ROOT / page
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text()):
        assert target.startswith("https://") or (path.parent / target).exists(), target


def test_numbers_are_those_recorded():
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.pages.render", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout
