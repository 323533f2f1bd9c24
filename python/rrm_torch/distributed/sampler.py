"""Which samples a rank visits, where each owns a slice of them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torch.distributed as dist
from torch.utils.data import Sampler

from .shards import slice_of


class ShardSampler(Sampler[int]):
    """The samples of a rank's slice, in a new random order each epoch: what ``RRM(layout="sharded")`` trains on.

    Every rank visits as many, so that none waits for another in vain: those with fewer samples visit some again.

    Parameters
    ----------
    n : int
        Samples in all.
    rank, size : int, optional
        By default those of torch.distributed.
    shuffle : bool, default True
        Whether the order is random.
    seed : int, at least 0, default 0
        Of the order, the same on all ranks.

    Raises
    ------
    ValueError
        There are so few samples that a rank would own none, there is no such rank, or the seed is negative.

    Examples
    --------
    >>> from torch.utils.data import DataLoader
    >>> sampler = ShardSampler(20, rank=1, size=2, shuffle=False)
    >>> list(sampler)
    [8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19]
    """

    def __init__(
        self, n: int, *, rank: int | None = None, size: int | None = None, shuffle: bool = True, seed: int = 0
    ) -> None:
        self.rank = dist.get_rank() if rank is None else rank
        size = dist.get_world_size() if size is None else size
        if not 0 <= self.rank < size:
            raise ValueError(f"rank must lie in [0, {size}), as there are {size} ranks, got {self.rank}")
        slices = [slice_of(n, of, size) for of in range(size)]
        lengths = [end - begin for begin, end in slices]
        if not min(lengths):
            raise ValueError(
                f"n={n} samples are too few for {size} ranks with a slice each; use fewer ranks, or layout='replicated'"
            )
        if seed < 0:
            raise ValueError(f"seed must be at least 0, got {seed}")
        self.begin, self.end = slices[self.rank]
        self.shuffle, self.seed, self.epoch, self._length = shuffle, seed, 0, max(lengths)

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[int]:
        own = self.end - self.begin
        order = torch.arange(own)
        if self.shuffle:
            # Of a seed, torch's own generator reads no more than 32 bits.
            order = torch.from_numpy(np.random.default_rng([self.seed, self.epoch, self.rank]).permutation(own))
        return iter((self.begin + order.repeat(-(-self._length // own))[: self._length]).tolist())

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of an epoch, as DistributedSampler does; `rrm_torch.fit` calls this."""
        self.epoch = epoch
