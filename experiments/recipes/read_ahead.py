"""Reading batches in a thread while the batch before is used: a GPU then doesn't wait for images to be decoded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")

_END: Any = object()


def read_ahead(batches: Iterable[T]) -> Iterator[T]:
    """Yield batches in their order, each read in a thread while the one before is used.

    Parameters
    ----------
    batches : iterable
        Read by one thread only, batch after batch, so that its random draws are those of a plain loop. An error in it
        is raised at the batch that it concerns.
    """
    iterator = iter(batches)
    with ThreadPoolExecutor(1) as executor:
        following: Future[T] = executor.submit(next, iterator, _END)
        while (batch := following.result()) is not _END:
            following = executor.submit(next, iterator, _END)
            yield batch
