"""Compilation with Numba. The machine code is kept on disk, where that works. Importing this module imports Numba."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from numba import njit


class BestEffortCache:
    """A cache of Numba that never fails: without it a function is compiled again in each process.

    Numba itself raises an error if a file of the cache is damaged or belongs to another user, or if the disk is full.

    Parameters
    ----------
    cache : numba.core.caching.Cache
        The cache of one function.
    """

    def __init__(self, cache: Any) -> None:
        self._cache = cache

    def load_overload(self, signature: Any, target_context: Any) -> Any:
        """Return the compiled function for a signature, or None."""
        try:
            return self._cache.load_overload(signature, target_context)
        except Exception:
            # Empty the index, so that the next save replaces what is damaged.
            with suppress(Exception):
                self._cache.flush()
            return None

    def save_overload(self, signature: Any, compiled: Any) -> None:
        """Save the compiled function for a signature."""
        with suppress(Exception):
            self._cache.save_overload(signature, compiled)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cache, name)


def compiled(*, parallel: bool = False) -> Callable[[Any], Any]:
    """Return a decorator that compiles a function when it is first called with arguments of new types."""

    def decorate(function: Any) -> Any:
        dispatcher: Any = njit(parallel=parallel)(function)
        # Enabling the cache fails if no folder for it can be written, and without a source file.
        with suppress(Exception):
            dispatcher.enable_caching()
            dispatcher._cache = BestEffortCache(dispatcher._cache)
        return dispatcher

    return decorate
