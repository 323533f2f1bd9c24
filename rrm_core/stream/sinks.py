"""Where new weights go."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..definition.formats import Array


class Sink(Protocol):
    """What takes the new weights."""

    @property
    def ordered(self) -> bool:
        """Whether the weights must come in order, and from the thread of the caller."""

    @property
    def fresh(self) -> bool:
        """Whether it keeps the arrays that it is given, so that each must have memory of its own."""

    def write(self, start: int, weights: Array) -> None:
        """Take the weights of the samples from `start` on."""

    def end_part(self) -> None:
        """Be told that a part of the losses is complete."""

    def finish(self) -> None:
        """Be told that all weights are there, and the source has not changed."""


class HandingOver:
    """Weights that are handed to a function, as many at a time as there are losses in a part. See `Sink`."""

    ordered = fresh = True

    def __init__(self, function: Callable[[Array], Any]) -> None:
        self._function, self._waiting = function, list[Array]()

    def write(self, start: int, weights: Array) -> None:  # noqa: ARG002
        """Keep the weights until their part is complete."""
        self._waiting.append(weights)

    def end_part(self) -> None:
        """Hand them over."""
        part = self._waiting[0] if len(self._waiting) == 1 else np.concatenate(self._waiting)
        self._waiting.clear()
        self._function(part)

    def finish(self) -> None:
        """Do nothing: everything was handed over."""


@contextmanager
def blaming(path: Path) -> Iterator[None]:
    """Say of an error of the system that it concerns the file that was to take the place of `path`."""
    try:
        yield
    except OSError as error:
        kept = f"{path} could not be written, and is as it was"
        if error.errno is None:
            raise OSError(f"{error}; {kept}") from error
        raise OSError(error.errno, f"{error.strerror}; {kept}") from error
