"""The programs of benchmarks/integrations run, with fewer epochs."""

from __future__ import annotations

from importlib import import_module

import pytest

from benchmarks.integrations import record_integrations
from benchmarks.integrations.digits_run import SHARE, load


@pytest.mark.parametrize("method", record_integrations.METHODS)
@pytest.mark.parametrize("module", record_integrations.MODULES)
def test_a_run_in_every_framework(module, method, monkeypatch):
    monkeypatch.setattr(import_module(f"benchmarks.integrations.{module}"), "EPOCHS", 4)
    result = record_integrations.measure(module, record_integrations.METHODS[method], 0)
    assert result["accuracy"] > 0.7
    assert result["lines"] > 0
    assert ("precision" in result) == (method != "plain")


def test_digits_have_the_share_of_wrong_labels():
    digits = load(1)
    assert digits.is_wrong.sum() == round(SHARE * len(digits.y_train))
    assert not (digits.y_train == load(2).y_train).all()
    assert digits.x_test.max() == 1
