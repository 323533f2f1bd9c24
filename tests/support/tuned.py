"""The compiled kernel configured for tests: its instruction set and tuning."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import rrm_core
from rrm_core import _cpu

if TYPE_CHECKING:
    from collections.abc import Iterator

SETS = ("baseline", "v3", "v4")
AVAILABLE = SETS[: SETS.index(rrm_core.cpu_info().best_instruction_set) + 1]

# Thresholds so low that few samples use threads, and pieces of one block. All threads work on them.
SMALL = {"samples_per_thread": 1, "min_piece": 2048, "wait_for_threads": 1}


@contextmanager
def tuned(name: str | None = None, **sizes: int) -> Iterator[None]:
    """Set the instruction set and the tuning; the defaults are restored at the end."""
    default_tuning = _cpu.tuning()
    default_set = rrm_core.cpu_info().instruction_set
    _cpu.tune(default_tuning | SMALL | sizes)
    _cpu.choose_instruction_set(name or default_set)
    try:
        yield
    finally:
        _cpu.tune(default_tuning)
        _cpu.choose_instruction_set(default_set)
