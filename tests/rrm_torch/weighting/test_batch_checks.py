from __future__ import annotations

import numpy as np
import pytest
import torch

from rrm_torch import RRM, BatchRRM
from support.weighting import FIVE, INDEX, LOSSES, N, assert_identical, one_epoch


@pytest.mark.parametrize(
    ("losses", "index", "error", "message"),
    [
        (torch.tensor(1.0), torch.tensor(0), ValueError, r"reduction='none'"),
        (torch.ones(2), torch.tensor([0]), ValueError, r"got \(2,\) and \(1,\)"),
        (torch.ones(2, 2), torch.zeros(2, 2, dtype=torch.int64), ValueError, r"shape \(batch,\)"),
        (torch.ones(3), torch.tensor([0, 5, 9]), IndexError, r"index must lie in \[0, 5\), got 2 of 3 outside.* 5;"),
        (torch.ones(3), torch.tensor([-1, 1, 2]), IndexError, r"got 1 of 3 outside, the first -1"),
        (torch.ones(2), [0, 1], TypeError, "index must be a tensor of int64 or int32, got list"),
        (torch.ones(2), np.array([0, 1]), TypeError, "index must be a tensor of int64 or int32, got ndarray"),
        (torch.ones(2), torch.tensor([True, False]), TypeError, "int64 or int32, got torch.bool"),
        (torch.ones(2), torch.tensor([0, 1], dtype=torch.uint8), TypeError, "int64 or int32, got torch.uint8"),
    ],
)
def test_invalid_batch_raises_and_records_nothing(losses, index, error, message):
    rrm = RRM(5, contamination=0.2, warmup=1)
    with pytest.raises(error, match=message):
        rrm.weighted_mean(losses, index)
    one_epoch(rrm)  # each sample was seen once, none in the bad batch
    assert_identical(rrm.losses, FIVE)


@pytest.mark.parametrize(
    ("losses", "index", "error", "message"),
    [
        (
            torch.ones(1),
            torch.arange(5),
            ValueError,
            r"losses and index must both have shape \(batch,\), got \(1,\) and",
        ),
        (torch.ones(2), [0, 1], TypeError, "index must be a tensor of int64 or int32, got list"),
    ],
    ids=["shape", "list"],
)
def test_record_rejects_invalid_batch_like_weighted_mean(losses, index, error, message):
    rrm = RRM(5, contamination=0.2)
    for method in (rrm.record, rrm.weighted_mean):
        with pytest.raises(error, match=message):
            method(losses, index)


def test_rejects_regularizer_or_ranking_of_other_shape():
    rrm = RRM(N, contamination=0.3, warmup=1)
    batch_rrm = BatchRRM(N, contamination=0.3)
    for weighting in (rrm, batch_rrm):
        for name in ("regularizer", "ranking"):
            with pytest.raises(ValueError, match=rf"{name} must have the losses' shape \(10,\), got \(3,\)"):
                weighting.weighted_mean(LOSSES, INDEX, **{name: LOSSES[:3]})
