"""ShardSampler: the order in which a rank visits its slice of the samples."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torch.distributed as dist
from torch.utils.data import Sampler

from .shards import slice_of


class ShardSampler(Sampler[int]):
    """The samples of a rank's slice, in a new random order each epoch; for training with ``RRM(layout="sharded")``.

    Every rank visits the same number of samples, so that none waits for another: those with fewer visit some twice.

    Parameters
    ----------
    n : int
        Number of samples.
    rank, size : int, optional
        By default those of torch.distributed.
    shuffle : bool, default True
        Whether the order is random.
    seed : int, at least 0, default 0
        Of the order; the same on all ranks.

    Raises
    ------
    ValueError
        There are too few samples to give each rank one, there is no such rank, or the seed is negative.

    Examples
    --------
    >>> from rrm_torch.distributed import ShardSampler
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
        slices = [slice_of(n, other, size) for other in range(size)]
        lengths = [end - start for start, end in slices]
        if not min(lengths):
            raise ValueError(
                f"n={n} samples are too few for {size} ranks with a slice each; use fewer ranks, or layout='replicated'"
            )
        if seed < 0:
            raise ValueError(f"seed must be at least 0, got {seed}")
        self.start, self.end = slices[self.rank]
        self.shuffle = shuffle
        self.seed = seed
        self.epoch = 0
        self._length = max(lengths)

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[int]:
        n_local = self.end - self.start
        order = torch.arange(n_local, device="cpu")
        if self.shuffle:
            # torch's generator would use only 32 bits of a seed.
            rng = np.random.default_rng([self.seed, self.epoch, self.rank])
            order = torch.from_numpy(rng.permutation(n_local))
        repeated = order.repeat(-(-self._length // n_local))
        return iter((self.start + repeated[: self._length]).tolist())

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of an epoch, as DistributedSampler does; `rrm_torch.fit` calls this."""
        self.epoch = epoch
