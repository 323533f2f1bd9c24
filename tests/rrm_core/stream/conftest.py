"""Pieces so small that few samples make many of them."""

from __future__ import annotations

import pytest

from rrm_core.stream import arrow
from rrm_core.stream import pipeline as passes


@pytest.fixture
def small_pieces(monkeypatch):
    """Make pieces of a few hundred samples, jobs of a few pieces, batches and row groups of other lengths again."""
    monkeypatch.setattr(passes, "PIECE", 2048)
    monkeypatch.setattr(passes, "RANGE", 3 * 2048)
    monkeypatch.setattr(passes, "BLOCK", 2 * 2048)
    monkeypatch.setattr(arrow, "BATCH", 2800)
    monkeypatch.setattr(arrow, "ROWS", 900)
