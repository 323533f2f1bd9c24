from __future__ import annotations

import pytest

from rrm_torch.distributed import ShardSampler, slice_of


@pytest.mark.parametrize("shuffle", [False, True])
def test_visits_slice_with_same_length_on_every_rank(shuffle):
    n, size = 1003, 4
    samplers = [ShardSampler(n, rank=rank, size=size, shuffle=shuffle) for rank in range(size)]
    for rank, sampler in enumerate(samplers):
        visited = list(sampler)
        assert len(visited) == len(sampler) == len(samplers[0])
        assert sorted(set(visited)) == list(range(*slice_of(n, rank, size)))
        sampler.set_epoch(1)
        assert (list(sampler) == visited) is not shuffle
        sampler.set_epoch(0)
        assert list(sampler) == visited
        other = ShardSampler(n, rank=rank, size=size, shuffle=shuffle, seed=1)
        assert (list(other) == visited) is not shuffle
    even = [list(ShardSampler(64, rank=rank, size=2)) for rank in range(2)]
    assert even[1] != [place + 32 for place in even[0]]
    with pytest.raises(ValueError, match="seed must be at least 0, got -1"):
        ShardSampler(n, rank=0, size=4, seed=-1)
    with pytest.raises(ValueError, match="n=9 samples are too few for 4 ranks with a slice each"):
        ShardSampler(9, rank=0, size=4)
    for rank in (-1, 4):
        with pytest.raises(ValueError, match=rf"rank must lie in \[0, 4\), as there are 4 ranks, got {rank}"):
            ShardSampler(n, rank=rank, size=size)
