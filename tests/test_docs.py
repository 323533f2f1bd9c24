"""The examples in README.md and docs/ run as they stand and print what is shown; links, paths and figures exist."""

from __future__ import annotations

import contextlib
import io
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    *(str(path.relative_to(ROOT)) for path in sorted((ROOT / "docs").rglob("*.md"))),
]
# Blocks marked ``py`` need the packages of `make test-integrations`, which runs them.
EXAMPLE = re.compile(r"```python\n(.*?)```\n(?:```text\n(.*?)```)?", re.DOTALL)


@pytest.mark.parametrize("page", PAGES)
def test_examples_print_what_the_page_shows(page):
    if page == "docs/integrations/jax.md" and sys.version_info < (3, 11):
        pytest.skip("no JAX for this Python")
    names: dict[str, object] = {}
    for code, output in EXAMPLE.findall((ROOT / page).read_text()):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, page, "exec"), names)
        assert printed.getvalue() == output


def test_training_loop_of_the_readme_runs_on_its_own():
    (loop,) = (code for code, _ in EXAMPLE.findall((ROOT / "README.md").read_text()) if "weighted_mean" in code)
    names: dict[str, object] = {}
    with contextlib.redirect_stdout(io.StringIO()):
        exec(compile(loop, "README.md", "exec"), names)
    assert 250 < len(names["suspicious"]) < 350


def test_pages_have_examples():
    assert sum(len(EXAMPLE.findall((ROOT / page).read_text())) for page in PAGES) >= 6


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_existing_files(page):
    path = ROOT / page
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text()):
        assert target.startswith("https://") or (path.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES)
def test_paths_named_on_a_page_exist(page):
    """A path in backticks that begins with a folder of this repository names a file or folder there."""
    folders = "csrc|bindings|rrm_core|python|experiments|benchmarks|tests|examples|docs"
    for path in re.findall(rf"`((?:{folders})/[\w./-]*)`", (ROOT / page).read_text()):
        assert (ROOT / path).exists(), path


def test_no_page_installs_from_an_index():
    """The project is not published: pages install it from a checkout."""
    for page in PAGES:
        assert not re.search(r"pip install '?rrm-core", (ROOT / page).read_text()), page


def test_figures_equal_the_recorded_ones():
    command = [sys.executable, "-m", "benchmarks.pages.render", "--check"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout
