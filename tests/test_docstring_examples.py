"""The examples in docstrings print what they show, on their own, as a reader would copy them."""

from __future__ import annotations

import doctest
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

import rrm_core
import rrm_review
import rrm_sklearn
import rrm_torch
import rrm_torch.distributed
import rrm_torch.methods

ROOT = Path(__file__).parent.parent
# Their examples are tested where the packages that they need are installed, by tests/integrations.
INTEGRATIONS = ROOT / "python" / "rrm_torch" / "integrations"
KERAS = ROOT / "python" / "rrm_keras"
# Public classes belong to their package by `__module__`, so that doctest.testmod of their file would skip them.
# JAX has no release for Python 3.10.
WITH_JAX = (import_module("rrm_core.jax"),) if find_spec("jax") else ()
PACKAGES = (
    *(rrm_core, rrm_core.stream, *WITH_JAX, rrm_review, rrm_sklearn, rrm_torch, rrm_torch.distributed),
    rrm_torch.methods,
)


def examples():
    """Return the docstrings with examples of the public names, by name, each once."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    tests = {}
    for package in PACKAGES:
        for name in package.__all__:
            member = getattr(package, name)
            if getattr(member, "__doc__", None) and callable(member):
                found = finder.find(member, f"{package.__name__}.{name}", module=False, globs={})
                tests |= {test.docstring: test for test in found if test.examples}
    return {test.name: test for test in tests.values()}


EXAMPLES = examples()


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_in_docstrings(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    printed = []
    results = doctest.DocTestRunner().run(EXAMPLES[name], out=printed.append)
    assert results.failed == 0, "".join(printed)


def test_all_examples_are_run():
    files = {*(ROOT / "rrm_core").rglob("*.py"), *(ROOT / "python").rglob("*.py")}
    files -= {*INTEGRATIONS.rglob("*.py"), *KERAS.rglob("*.py")}
    if not WITH_JAX:
        files.remove(ROOT / "rrm_core" / "jax.py")
    lines = sum(file.read_text(encoding="utf-8").count(">>> ") for file in files)
    assert sum(len(test.examples) for test in EXAMPLES.values()) == lines > 0
