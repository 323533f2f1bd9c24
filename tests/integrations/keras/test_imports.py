"""What rrm_keras loads, and the examples in its docstrings."""

from __future__ import annotations

import doctest
import inspect
import subprocess
import sys

import pytest

import rrm_keras


@pytest.mark.parametrize("name", rrm_keras.__all__)
def test_examples_in_docstrings(name):
    member = getattr(rrm_keras, name)
    (test,) = doctest.DocTestFinder(recurse=False).find(member, name, module=False, globs={})
    assert test.examples
    assert doctest.DocTestRunner().run(test).failed == 0


@pytest.mark.parametrize("name", rrm_keras.__all__)
def test_every_parameter_is_documented(name):
    member = getattr(rrm_keras, name)
    for parameter in inspect.signature(member).parameters:
        assert f"{parameter}" in member.__doc__.partition("Attributes")[0]


def test_importing_rrm_core_and_rrm_review_loads_no_keras():
    program = "import sys, rrm_core, rrm_review; print('keras' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd="/")
    assert run.stdout.strip() == "False"


def test_without_keras_the_error_names_the_package():
    program = "import sys; sys.modules['keras'] = None; import rrm_keras"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd="/")
    assert "ImportError: rrm_keras needs Keras" in run.stderr
