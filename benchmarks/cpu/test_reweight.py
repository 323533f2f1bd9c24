"""One reweight by `rrm_core` and by its rivals, a group for each size.

Every result is compared to the bit with the definition before it is timed. The compiled rivals include a few
microseconds of ctypes.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest

from benchmarks.common.losses import Answer, Losses
from benchmarks.cpu.bench_reweight import FLOOR, FLOOR_TWICE, KERNEL, PUBLIC, Cell, contenders
from benchmarks.cpu.native import OWN_SELECTIONS, Native
from benchmarks.cpu.rivals import PYTHON_RIVALS

NAMES = [FLOOR, FLOOR_TWICE, KERNEL, PUBLIC, *OWN_SELECTIONS, *PYTHON_RIVALS]


@pytest.mark.parametrize("n", [10_000, 50_000, 1_000_000])
@pytest.mark.parametrize("name", NAMES)
def test_reweight(benchmark: Any, native: Native, name: str, n: int) -> None:
    if name == "Polars":
        pytest.importorskip("polars")
    cell = Cell(Losses(n), all_rivals=True)
    losses = cell.what.draw()
    rival = contenders(native, None, cell)[name](cell.what, losses, np.ones_like(losses), cell.mu)
    rival.check(Answer.compute(losses, cell.what.rank))
    benchmark.group = f"reweight: {n:_} float32 losses, mu = {cell.mu}"
    benchmark.pedantic(rival, setup=rival.reset, rounds=20, warmup_rounds=1)


@pytest.mark.parametrize("name", OWN_SELECTIONS)
def test_selection_partitions(native: Native, name: str) -> None:
    select = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_ssize_t)(
        ctypes.cast(native.selections[name], ctypes.c_void_p).value or 0
    )
    rng = np.random.default_rng(0)
    for n in (1, 2, 23, 24, 129, 1000, 5000):
        ascending = np.arange(n, dtype=np.float32)
        uneven = np.where(ascending < n // 2, ascending, n - ascending)  # ascending, then descending
        for values in (rng.random(n, np.float32), ascending, ascending[::-1], uneven, ascending % 3, 0 * ascending):
            for k in {0, n // 5, n - 1}:
                selected = values.astype(np.float32)
                select(selected.ctypes.data, n, k)
                assert selected[k] == np.sort(values)[k]
                assert selected[:k].max(initial=-1) <= selected[k] <= selected[k:].min()
                assert np.array_equal(np.sort(selected), np.sort(values))
