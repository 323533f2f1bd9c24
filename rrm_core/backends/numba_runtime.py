"""Loads the kernels of the Numba backend and runs them: one call at a time, in parallel where that is safe."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from types import ModuleType
from typing import Any, TypeVar

Result = TypeVar("Result")

# Held while kernels are loaded, compiled or run, since not all threading layers of Numba allow two calls at a time.
# A signal handler may call the backend while its thread holds the lock.
_lock = threading.RLock()

# True if this process was forked after Numba had started threads: it has none of them, and cannot start others, since
# with GNU OpenMP Numba kills such a process. Also true if Numba finds no library that provides threads.
_is_serial = False


def _threads_started() -> bool:
    numba = sys.modules.get("numba")
    try:
        return numba is not None and bool(numba.threading_layer())
    except (AttributeError, ValueError):
        # Numba failed to load, or has not started threads.
        return False


def _after_fork_in_child() -> None:
    global _lock, _is_serial
    _lock = threading.RLock()
    _is_serial = _is_serial or _threads_started()


if hasattr(os, "register_at_fork"):
    # A fork waits for a call in another thread: a child process would find the kernels half loaded.
    os.register_at_fork(
        before=lambda: _lock.acquire(),
        after_in_parent=lambda: _lock.release(),
        after_in_child=_after_fork_in_child,
    )


@cache
def _load() -> ModuleType:
    if find_spec("numba") is None:
        raise ModuleNotFoundError("backend 'numba' needs Numba: pip install numba")
    try:
        from . import numba_kernels

        numba_kernels.check_compiler()
    except Exception as error:
        # A damaged or mismatched installation fails with errors of any type.
        raise ImportError(
            f"backend 'numba' cannot be used, since Numba fails with {type(error).__name__}: {error}; "
            "reinstall it: pip install --force-reinstall numba"
        ) from error
    return numba_kernels


def kernels() -> ModuleType:
    """Return the module of the kernels, once Numba has been found to work.

    Raises
    ------
    ImportError
        Numba is not installed (ModuleNotFoundError), or fails.
    """
    with _lock:
        return _load()


def group_kernels() -> ModuleType:
    """Return the module of the kernels for losses with groups; to be called while `exclusive` holds."""
    from . import numba_group_kernels

    return numba_group_kernels


@contextmanager
def exclusive(threads: int | None) -> Iterator[ModuleType]:
    """Reserve Numba's threads for a call, and limit their number; return the module of the kernels."""
    with _lock:
        module = _load()
        default = _max_threads(module)
        if threads is None or threads >= default:
            yield module
            return
        module.set_num_threads(threads)
        try:
            yield module
        finally:
            module.set_num_threads(default)


def _max_threads(module: ModuleType) -> int:
    """Return the number of Numba's threads, which are started if there are none."""
    global _is_serial
    if not _is_serial:
        try:
            return int(module.get_num_threads())
        except ValueError:
            # NUMBA_THREADING_LAYER names a library that is not installed.
            _is_serial = True
    return 1


def n_chunks() -> int:
    """Return the number of chunks for `run`: one per thread."""
    return _max_threads(_load())


def run(kernel: Callable[..., Result], *arguments: Any) -> Result:
    """Run a kernel with a parallel loop; in the calling thread where Numba's threads cannot be used."""
    if _is_serial:
        # The Python function loops over the chunks, for each of which it calls a compiled function.
        kernel = getattr(kernel, "py_func", kernel)
    return kernel(*arguments)
