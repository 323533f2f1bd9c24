"""Budget of a streaming call: memory, threads, and the progress callback."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from .._arguments import as_integer, check_threads
from ..backends import registry
from .source import Source

MIN_MEMORY = 16 << 20  # bytes

Progress: TypeAlias = Callable[[int, "int | None", str], Any]


class Sizes(NamedTuple):
    """How a pass is split.

    Attributes
    ----------
    max_samples, tile : int
        Number of samples of a job and of a tile.
    n_workspaces : int
        See `thread_pool.map_ordered`.
    threads : int
        Number of threads of a kernel.
    """

    max_samples: int
    tile: int
    n_workspaces: int
    threads: int


@dataclass(frozen=True)
class Budget:
    """Resources of a pass.

    Attributes
    ----------
    memory : int
        Bytes.
    threads : int
    progress : callable, optional
        ``progress(done, total, what)``, see `rrm_core.stream.plan`.
    """

    memory: int
    threads: int
    progress: Progress | None

    def n_workspaces(self, source: Source, max_samples: int, workspace_bytes: int) -> int:
        """Return the number of workspaces for jobs of `max_samples` samples; see `thread_pool.map_ordered`."""
        n_jobs = self.threads if source.n is None else -(-source.n // max_samples)
        # One workspace belongs to the job being read ahead.
        n_threads = min(self.threads, n_jobs, self.memory // workspace_bytes - 1)
        if n_threads <= 1:
            return 1
        return n_threads + 1

    def report(self, done: int, total: int | None, what: str) -> None:
        """Call the progress callback, if there is one."""
        if self.progress is not None:
            self.progress(done, total, what)


def make_budget(memory: int, threads: int | None, progress: Progress | None) -> Budget:
    """Validate the arguments of a streaming call.

    Raises
    ------
    TypeError, ValueError
        An argument is invalid.
    """
    n_bytes = as_integer("memory", memory, MIN_MEMORY, f"a whole number of bytes, at least {MIN_MEMORY:_} (16 MiB)")
    if progress is not None and not callable(progress):
        raise TypeError(f"progress must be callable with (done, total, what), got {type(progress).__name__}")
    return Budget(n_bytes, check_threads(threads) or _default_threads(), progress)


def _default_threads() -> int:
    try:
        return registry.cpu_info().threads
    except ImportError:
        # Without the compiled backend, NumPy counts, and holds the GIL meanwhile.
        return 1
