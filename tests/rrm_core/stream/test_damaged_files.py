"""Damaged files of losses and images: documented errors or right results, within the memory available."""

from __future__ import annotations

from fuzz import damaged_files
from support.peak_memory import needs_proc


@needs_proc
def test_damaged_files():
    outcomes = damaged_files.run(150, seed=1)
    assert {outcome.partition(":")[0] for outcome in outcomes} == set(damaged_files.READERS)
    assert any(outcome.endswith("read") for outcome in outcomes)
