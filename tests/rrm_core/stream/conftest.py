"""Tiles and jobs so small that few samples make many of them."""

from __future__ import annotations

import pytest

from rrm_core.stream import arrow_sink, arrow_source, parquet_source, pipeline


@pytest.fixture
def small_tiles(monkeypatch):
    """Use tiles of a few hundred samples, jobs of a few tiles, and batches and row groups of yet other lengths."""
    monkeypatch.setattr(pipeline, "TILE_BYTES", 2048)
    monkeypatch.setattr(pipeline, "LAZY_JOB_BYTES", 3 * 2048)
    monkeypatch.setattr(pipeline, "JOB_BYTES", 2 * 2048)
    monkeypatch.setattr(arrow_source, "BATCH_BYTES", 2800)
    monkeypatch.setattr(parquet_source, "BATCH_BYTES", 2800)
    monkeypatch.setattr(arrow_sink, "GROUP_ROWS", 900)
