"""The compiled kernel set up for tests: an instruction set, and the sizes from which things are done."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import rrm_core
from rrm_core import _cpu

if TYPE_CHECKING:
    from collections.abc import Iterator

SETS = ("baseline", "v3", "v4")
AVAILABLE = SETS[: SETS.index(rrm_core.cpu_info().best_instruction_set) + 1]

# With few samples what otherwise happens with many: threads, and pieces of one block.
SMALL = {"samples_per_thread": 1, "min_piece": 2048}


@contextmanager
def tuned(name: str | None = None, **sizes: int) -> Iterator[None]:
    """Choose an instruction set and sizes; afterwards the usual ones are back."""
    usual, usual_set = _cpu.tuning(), rrm_core.cpu_info().instruction_set
    _cpu.tune(usual | SMALL | sizes)
    _cpu.choose_instruction_set(name or usual_set)
    try:
        yield
    finally:
        _cpu.tune(usual)
        _cpu.choose_instruction_set(usual_set)
