from __future__ import annotations

import sys

import pytest

from rrm_review import to_dataset
from support.issue_tables import issue_table


def test_without_datasets_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ModuleNotFoundError, match=r"to_dataset needs datasets, .*: pip install datasets"):
        to_dataset(issue_table())
