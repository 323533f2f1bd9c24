"""Group numbers of samples as backends get them, and what backends have prepared from them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .formats import Array


class GroupOrder(NamedTuple):
    """The order of the samples by group.

    Attributes
    ----------
    starts : int64 array of shape (n_groups + 1,)
        Position of each group's first sample in the order and, at the end, the number of samples.
    positions : int32 array of shape (n,), int64 for 2**31 samples or more
        Position of each sample in the order. The samples of a group stay in their order.
    """

    starts: Array
    positions: Array

    @classmethod
    def empty(cls, n: int, n_groups: int) -> GroupOrder:
        """Return an order whose numbers are to be filled in."""
        return cls(np.empty(n_groups + 1, np.int64), np.empty(n, np.int32 if n < 2**31 else np.int64))


class GroupNumbers:
    """The group of each sample, checked and converted.

    Parameters
    ----------
    numbers : int32 array of shape (n,)
        From 0 to ``n_groups - 1``: a contiguous NumPy array, which becomes read-only here, or an array of another
        framework.
    n_groups : int
        Number of groups, of which some may have no sample.

    Attributes
    ----------
    numbers, n_groups
        The parameters.
    prepared : dict
        What has been computed from the numbers, by name. Host backends share ``"order"``, see `GroupOrder`.
    """

    def __init__(self, numbers: Any, n_groups: int) -> None:
        if isinstance(numbers, np.ndarray):
            # Compiled code relies on the check of their range.
            numbers = numbers.view()
            numbers.flags.writeable = False
        self.numbers = numbers
        self.n_groups = n_groups
        self.prepared: dict[str, Any] = {}

    def __len__(self) -> int:
        return int(self.numbers.shape[0])

    def __getstate__(self) -> dict[str, Any]:
        # A copy prepares its own: what backends have prepared may hold addresses.
        return {"numbers": self.numbers, "n_groups": self.n_groups}

    def __setstate__(self, state: dict[str, Any]) -> None:
        # By the constructor: an array of a pickle would be writable.
        GroupNumbers.__init__(self, **state)

    @property
    def on_host(self) -> bool:
        """Whether the numbers are a NumPy array."""
        return isinstance(self.numbers, np.ndarray)

    @property
    def host_sizes(self) -> Array:
        """Number of samples of each group, of numbers on the host: int64, shape (n_groups,)."""
        sizes = self.prepared.get("sizes")
        if sizes is None:
            sizes = np.bincount(self.numbers, minlength=self.n_groups).astype(np.int64)
            sizes.flags.writeable = False
            self.prepared["sizes"] = sizes
        return sizes
