from __future__ import annotations

from itertools import pairwise

import pytest

from rrm_torch.distributed import slice_of


@pytest.mark.parametrize("n", [1, 7, 8, 9, 100, 1000, 1_000_003])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
def test_slices_are_even_and_cover_all_samples(n, size):
    slices = [slice_of(n, rank, size) for rank in range(size)]
    assert (slices[0][0], slices[-1][1]) == (0, n)
    assert all(end == begin for (_, end), (begin, _) in pairwise(slices))
    assert all(begin % 8 == 0 for begin, _ in slices if begin < n)
    lengths = [end - begin for begin, end in slices]
    assert max(lengths) - min(lengths) <= 8 + 7
