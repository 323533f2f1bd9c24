"""What `rrm_torch.integrations` loads, and the examples in its docstrings."""

from __future__ import annotations

import doctest
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import rrm_torch
from rrm_torch import integrations

MODULES = ("huggingface", "lightning", "skorch", "trl")
PACKAGES = ("accelerate", "datasets", "lightning", "skorch", "transformers", "trl")


def test_modules_with_public_names_are_listed():
    files = Path(integrations.__file__).parent.glob("*.py")
    assert {file.stem for file in files if "\n__all__ =" in file.read_text("utf-8")} == set(MODULES)
    assert set(MODULES) <= set(dir(integrations))


def test_importing_rrm_torch_loads_no_trainer():
    check = f"import sys, rrm_torch; print([name for name in {PACKAGES} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True, cwd="/")
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize("name", MODULES)
def test_a_module_is_loaded_when_it_is_used(name):
    module = getattr(rrm_torch.integrations, name)
    assert module is import_module(f"rrm_torch.integrations.{name}")
    assert module.__all__


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'keras'; it has huggingface"):
        _ = rrm_torch.integrations.keras


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert doctest.testmod(getattr(integrations, name)).failed == 0


@pytest.mark.parametrize("name", MODULES)
def test_public_classes_have_docstrings(name):
    module = getattr(integrations, name)
    for public in module.__all__:
        assert len(getattr(module, public).__doc__) > 60
