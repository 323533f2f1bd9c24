"""Sinks for new weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from ..definition.formats import Array


class Sink(Protocol):
    """Receives the new weights."""

    @property
    def needs_order(self) -> bool:
        """True if the weights must be written in order, from the calling thread."""

    @property
    def keeps_buffers(self) -> bool:
        """True if the sink keeps the arrays it receives, so that each needs memory of its own."""

    def write(self, start: int, weights: Array) -> None:
        """Write the weights of the samples from index `start` on."""

    def end_chunk(self) -> None:
        """Finish a source chunk, whose last weight has been written."""

    def commit(self) -> None:
        """Finish the output: all weights have been written, and the sources were found unchanged."""


class CallbackSink:
    """Calls a function with the weights of one source chunk after the other. See `Sink`.

    Parameters
    ----------
    function : callable
        ``function(weights)``; it may keep the array.
    """

    needs_order = True
    keeps_buffers = True

    def __init__(self, function: Callable[[Array], Any]) -> None:
        self._function = function
        self._buffers: list[Array] = []

    def write(self, start: int, weights: Array) -> None:  # noqa: ARG002
        """Keep the weights until their chunk is complete."""
        self._buffers.append(weights)

    def end_chunk(self) -> None:
        """Call the function with the weights of the chunk."""
        if len(self._buffers) == 1:
            weights = self._buffers[0]
        else:
            weights = np.concatenate(self._buffers)
        self._buffers.clear()
        self._function(weights)

    def commit(self) -> None:
        """Do nothing: all weights have been passed on."""
