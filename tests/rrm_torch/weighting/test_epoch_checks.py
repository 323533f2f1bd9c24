from __future__ import annotations

import pytest
import torch

from rrm_torch import RRM
from support.weighting import FIVE, INDEX, LOSSES, N, assert_identical, one_epoch


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        ([[0, 1, 3]], r"2 missing \(the first: index 2\)"),
        ([[0, 1, 2, 3, 4], [3, 1]], r"2 seen more than once \(the first: index 1\)"),
        ([[0, 0, 1, 2, 3]], r"1 missing \(the first: index 4\) and 1 seen more than once \(the first: index 0\)"),
        ([], r"5 missing"),
    ],
)
def test_counts_missing_and_repeated_samples(batches, message):
    rrm = RRM(5, contamination=0.2, warmup=1)
    for batch in batches:
        index = torch.tensor(batch)
        rrm.weighted_mean(FIVE[index], index)
    with pytest.raises(ValueError, match=message):
        rrm.step()
    assert rrm.epoch == 0
    assert_identical(rrm.weights, torch.ones(5))
    rrm.reset_losses()
    assert one_epoch(rrm) is not None  # what was broken off doesn't spoil the next epoch


def test_missing_samples_can_be_added_after_error():
    rrm = RRM(5, contamination=0.2, warmup=1)
    rrm.weighted_mean(FIVE[:2], INDEX[:2])
    with pytest.raises(ValueError, match="3 missing"):
        rrm.step()
    rrm.weighted_mean(FIVE[2:], INDEX[2:5])
    rrm.step()
    assert_identical(rrm.losses, FIVE)


def test_losses_passed_to_step_need_no_coverage():
    rrm = RRM(5, contamination=0.2, warmup=1)
    with pytest.raises(ValueError, match="5 missing"):
        rrm.step()
    assert rrm.step(FIVE) is not None


def test_warns_once_about_incomplete_epoch_before_reweight_is_due():
    rrm = RRM(5, contamination=0.2, warmup=4)
    rrm.weighted_mean(FIVE[:2], INDEX[:5][:2])
    with pytest.warns(UserWarning, match=r"3 missing \(the first: index 2\).*No reweight is due yet"):
        rrm.step()
    rrm.weighted_mean(FIVE[:2], INDEX[:5][:2])
    rrm.step()
    rrm.step()  # nothing recorded at all: whoever passes losses when they are due does that
    one_epoch(rrm)
    assert_identical(rrm.losses, FIVE)


@pytest.mark.parametrize("losses", [torch.ones(4), "text"], ids=["shape", "text"])
def test_recorded_losses_survive_invalid_ones(losses):
    rrm = RRM(5, contamination=0.2, warmup=1)
    rrm.weighted_mean(FIVE, INDEX[:5])
    with pytest.raises((TypeError, ValueError), match="losses must"):
        rrm.step(losses)
    rrm.step()
    assert_identical(rrm.losses, FIVE)


def test_step_reweight_requires_every_sample_recorded():
    rrm = RRM(N, contamination=0.3, warmup=1, unit="step")
    rrm.weighted_mean(LOSSES[:4], INDEX[:4])
    with pytest.raises(ValueError, match=r"of the 10 samples, 6 missing \(the first: index 4\) in the 1 steps so far"):
        rrm.step()


def test_rejected_step_keeps_recorded_losses():
    rrm = RRM(N, contamination=0.3, warmup=2, every=1, unit="step")
    rrm.weighted_mean(LOSSES, INDEX)
    with pytest.raises(TypeError, match="losses must be a tensor, got list"):
        rrm.step(LOSSES.tolist())
    assert rrm.epoch == 0
    rrm.step()
    with pytest.raises(ValueError, match=r"losses must have shape \(10,\)"):
        rrm.step(LOSSES[:3])
    assert rrm.step().n_pruned == 3


def test_losses_from_pass_need_no_coverage():
    rrm = RRM(N, contamination=0.3, warmup=2, losses_from="pass")
    rrm.weighted_mean(LOSSES[:4], INDEX[:4])
    rrm.step()  # a warning would be an error
    assert rrm.step(LOSSES) is not None
