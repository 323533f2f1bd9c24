"""Losses that don't fit into memory: planned and reweighted in passes over a file, or over chunks.

The weights and the plan are those of `rrm_core.reweight`, to the bit.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from operator import index
from typing import Any, TypeAlias

from ..backends import registry as dispatch
from ..definition.arguments import check_mu, check_threads
from ..definition.formats import BY_NAME, Format
from ..definition.plan import Plan
from ..definition.rule import NaN, Redistribute, Ties
from ..planner.planner import Planner
from . import pipeline as passes
from .factory import open_sink, open_source
from .pipeline import Means, Progress
from .source import Source, another_length

__all__ = ["plan", "reweight"]

Stream: TypeAlias = "str | os.PathLike[str] | Iterable[Any] | Any"


def plan(
    losses: Stream,
    *,
    contamination: float | None = None,
    gamma: float | None = None,
    redistribute: Redistribute = "argmin",
    ties: Ties = "keep",
    nan: NaN = "raise",
    column: str | None = None,
    memory: int = 64 << 20,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Plan:
    """Return the plan of losses that are read part by part: that of `rrm_core.plan`, to the bit.

    float16 losses are read once, float32 twice, float64 two to four times.

    Parameters
    ----------
    losses : path, array, or chunks
        A ``.npy`` file of float16, float32 or float64; a Parquet (``.parquet``) or Arrow (``.arrow``, ``.feather``)
        file, where a null is NaN, as it is to pandas; an array or a `np.memmap`; or arrays that come one after the
        other, again whenever they are asked for: a list of arrays, or an object whose ``__iter__`` begins anew. A
        chunk may be in the memory of the last one. Files are read, not mapped.
    contamination, gamma, redistribute, ties, nan
        The rule, as for `rrm_core.reweight`.
    column : str, optional
        The column of the losses in a Parquet or Arrow file; by default the only one of floating-point numbers.
    memory : int, default 64 MiB
        Bytes that the passes may use, at least 16 MiB, whatever the number of samples. Beside them there are what the
        caller holds, and pyarrow's own code and what it needs to describe a file. Each thread takes 8 to 16 MiB.
    threads : int, at least 1, optional
        Threads that read and count; by default as for `rrm_core.reweight`.
    progress : callable, optional
        ``progress(done, total, what)`` is called often during a pass: with the samples done with, how many there are
        (None where that isn't known yet), and the name of the pass, ``"round 1"``, ``"round 2"``, ... or ``"writing"``.
        What it raises ends the call.

    Returns
    -------
    Plan
        Threshold, counts and levels.

    Raises
    ------
    TypeError, ValueError
        As `rrm_core.reweight`; or a file isn't what its name says, is truncated, or lacks the column.
    OSError
        A file can't be opened or read.
    RuntimeError
        The losses changed between two passes or during one.
    ImportError
        pyarrow is missing.

    Examples
    --------
    >>> import numpy as np, rrm_core
    >>> chunks = [np.array([0.1, 0.3, 0.2]), np.array([4.0, 0.4])]
    >>> rrm_core.stream.plan(chunks, contamination=0.2).threshold
    0.4
    """
    planner = Planner(contamination=contamination, gamma=gamma, redistribute=redistribute, ties=ties, nan=nan)
    means = _means(memory, threads, progress)
    with ExitStack() as opened:
        source = _open(opened, "losses", losses, column, means)
        return passes.count(source, planner, means)[0]


def reweight(
    losses: Stream,
    out: str | os.PathLike[str] | Callable[[Any], Any],
    *,
    weights: Stream | None = None,
    mu: float = 1.0,
    contamination: float | None = None,
    gamma: float | None = None,
    redistribute: Redistribute = "argmin",
    ties: Ties = "keep",
    nan: NaN = "raise",
    column: str | None = None,
    memory: int = 64 << 20,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Plan:
    """Write the sample weights of losses that are read part by part: those of `rrm_core.reweight`, to the bit.

    The losses are read as often as for `plan`, and once more.

    Parameters
    ----------
    losses, contamination, gamma, redistribute, ties, nan, column, memory, threads, progress
        See `plan`.
    out : path or callable
        A ``.npy``, ``.parquet``, ``.arrow`` or ``.feather`` file, the last three with one column ``sample_weight``. It
        appears as a whole or not at all: ``NAME.tmp`` beside it is written first. It may be the file of `weights`,
        which it then replaces, but not that of the losses. Or a function, which is called with one array of new weights
        after the other, in order and by the thread of the caller; they are its to keep, and as long as the chunks if
        the losses come in chunks.
    weights : path, array, or chunks, optional
        The current weights, float32 (float64 for float64 losses), row by row those of the losses, be it in other
        chunks; ones if None. Read, once, only if ``mu < 1``. Of a Parquet or Arrow file, the column
        ``sample_weight`` or the only one of floating-point numbers.
    mu : float in (0, 1], default 1
        Step from the current weights to their targets: ``(1 - mu) * weights + mu * target``.

    Returns
    -------
    Plan
        Threshold, counts and levels.

    Raises
    ------
    TypeError, ValueError, OSError, RuntimeError, ImportError
        As `plan`; also if the weights don't fit the losses, or `out` can't be written: a full disk, no such folder. A
        file is then as it was before; only a function may have been called for some of the weights.

    Examples
    --------
    >>> import numpy as np, rrm_core
    >>> chunks, weights = [np.array([0.1, 0.3, 0.2]), np.array([4.0, 0.4])], []
    >>> plan = rrm_core.stream.reweight(chunks, weights.append, contamination=0.2)
    >>> weights
    [array([2., 1., 1.]), array([0., 1.])]
    """
    planner = Planner(contamination=contamination, gamma=gamma, redistribute=redistribute, ties=ties, nan=nan)
    means = _means(memory, threads, progress)
    step = check_mu(mu)
    with ExitStack() as opened:
        open_out = open_sink(out, {"losses": losses, "weights": weights}, few=step == 1)
        source = _open(opened, "losses", losses, column, means)
        old = None if weights is None else _open(opened, "weights", weights, None, means)
        _require_fit(old, source.n, source.format)
        found, checksum = passes.count(source, planner, means)
        format = BY_NAME[found.dtype]
        _require_fit(old, found.n, format)
        with open_out(found.n, format.weights) as sink:
            passes.write(found, checksum, source, old if step < 1 else None, step, sink, means)
        return found


def _open(opened: ExitStack, name: str, given: Any, column: str | None, means: Means) -> Source:
    source = open_source(name, given, column, means.memory // 4)
    opened.callback(source.close)
    return source


def _require_fit(weights: Source | None, n: int | None, format: Format | None) -> None:
    """Raise a TypeError or ValueError if weights don't fit losses, as far as is known of both."""
    if weights is None:
        return
    if weights.format is not None and format is not None:
        passes.require_type(weights.name, weights.format, format)
    if weights.n is not None and n is not None and weights.n != n:
        raise another_length(weights.n, n)


def _means(memory: int, threads: int | None, progress: Progress | None) -> Means:
    try:
        bytes = index(memory)
    except TypeError:
        bytes = 0
    if bytes < passes.LEAST:
        raise ValueError(f"memory must be a whole number of bytes, at least {passes.LEAST:_} (16 MiB), got {memory!r}")
    if progress is not None and not callable(progress):
        raise TypeError(f"progress must be callable with (done, total, what), got {type(progress).__name__}")
    return Means(bytes, check_threads(threads) or _default_threads(), progress)


def _default_threads() -> int:
    try:
        return dispatch.cpu_info().threads
    except ImportError:  # no compiled backend; the other one holds Python's lock while it counts
        return 1
