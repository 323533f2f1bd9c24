"""The programs of benchmarks/integrations run, with fewer epochs."""

from __future__ import annotations

import sys
from importlib import import_module

import pytest

from benchmarks.integrations import record_integrations
from benchmarks.integrations.digits_run import SHARE, load

MODULES = record_integrations.MODULES
# These share a process, in which Keras is on PyTorch.
NETWORKS = MODULES[: MODULES.index("keras_torch") + 1]
OTHERS = MODULES[len(NETWORKS) :]


@pytest.mark.parametrize("method", record_integrations.METHODS)
@pytest.mark.parametrize("module", NETWORKS)
def test_a_short_run_in_every_framework(module, method, monkeypatch):
    framework = import_module(f"benchmarks.integrations.{module}")
    monkeypatch.setattr(sys.modules[framework.train.__module__], "EPOCHS", 4)
    result = record_integrations.measure(module, record_integrations.METHODS[method], 0)
    assert result["accuracy"] > 0.7
    assert result["lines"] > 0
    assert ("precision" in result) == (method != "plain")


@pytest.mark.parametrize("module", OTHERS)
def test_a_run_in_a_process_of_its_own(module):
    result = record_integrations.measure_apart(module, record_integrations.METHODS["told"], 0)
    assert result["accuracy"] > 0.85
    assert result["lines"] > 0
    assert result["precision"] > 0.7
    assert result["recall"] > 0.7


def test_digits_have_the_share_of_wrong_labels():
    digits = load(1)
    assert digits.is_wrong.sum() == round(SHARE * len(digits.y_train))
    assert not (digits.y_train == load(2).y_train).all()
    assert digits.x_test.max() == 1
