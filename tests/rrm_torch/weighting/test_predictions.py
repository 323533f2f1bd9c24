"""What a warm-up records of predictions, and the samples that it holds out."""

from __future__ import annotations

import pytest
import torch

from rrm_core._agreement import UNKNOWN
from rrm_torch import RRM
from rrm_torch.weighting.estimation import combine_passes
from rrm_torch.weighting.held_out import held_out, warmup_weights
from rrm_torch.weighting.outputs import confidences, encode_predictions, predicted_classes, rounds_in_pass
from support import estimate_jobs
from support.estimate_jobs import N, until_estimate


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_codes_hold_class_round_and_probability(dtype):
    logits = (3 * torch.randn(200, 7, generator=torch.Generator().manual_seed(0))).to(dtype)
    codes = encode_predictions(logits, 2)
    probabilities, predicted = logits.float().softmax(1).max(1)
    assert codes.dtype == torch.int32
    torch.testing.assert_close(predicted_classes(codes).long(), predicted)
    assert (rounds_in_pass(codes) == 2).all()
    torch.testing.assert_close(confidences(codes).float(), probabilities, rtol=0, atol=2**-12)


def test_codes_tell_probabilities_near_one_apart():
    logits = torch.tensor([[0.0, 10.0], [0.0, 12.0], [0.0, 14.0]])
    doubts = 1 - confidences(encode_predictions(logits, 0))
    expected = torch.sigmoid(torch.tensor([-10.0, -12.0, -14.0])).double()
    torch.testing.assert_close(doubts, expected, rtol=0.02, atol=0)


@pytest.mark.parametrize("shape", [(3,), (3, 1)])
def test_one_logit_per_sample_counts_as_two_classes(shape):
    logit = torch.tensor([-2.0, 0.5, 9.0])
    one = encode_predictions(logit.reshape(shape), 1)
    two = encode_predictions(torch.stack([torch.zeros(3), logit], 1), 1)
    torch.testing.assert_close(predicted_classes(one), predicted_classes(two))
    torch.testing.assert_close(confidences(one), confidences(two), rtol=0, atol=1e-3)


def test_outputs_that_are_nan_are_unknown():
    codes = encode_predictions(torch.tensor([[0.0, torch.nan], [0.0, 1.0]]), 0)
    assert codes[0] == UNKNOWN
    assert predicted_classes(codes).tolist() == [UNKNOWN, 1]
    assert confidences(codes)[0] == 0


def test_combined_passes_take_the_class_with_the_largest_sum():
    rows = [[[0.0, 2.0]], [[1.0, 0.0]], [[1.0, 0.0]]]
    codes = torch.stack([encode_predictions(torch.tensor(row), 0) for row in rows])
    predicted, confidence = combine_passes(codes)
    each = torch.tensor([torch.sigmoid(torch.tensor(2.0)), torch.sigmoid(torch.tensor(1.0))])
    assert predicted.tolist() == [0]
    torch.testing.assert_close(confidence.float(), 2 * each[1:], rtol=0, atol=1e-3)
    predicted, confidence = combine_passes(torch.tensor([[UNKNOWN], [int(codes[0, 0])], [UNKNOWN]], dtype=torch.int32))
    assert predicted.tolist() == [1]
    assert combine_passes(torch.tensor([[UNKNOWN]], dtype=torch.int32))[0].tolist() == [UNKNOWN]


def test_held_out_samples_depend_on_index_and_seed_only():
    mask = held_out(0, 100_000, 0)
    assert abs(mask.float().mean() - 0.15) < 0.005
    torch.testing.assert_close(held_out(1234, 5678, 0), mask[1234:5678])
    overlap = (mask & held_out(0, 100_000, 1)).float().mean()
    assert abs(overlap - 0.15**2) < 0.003


def test_warmup_weights_have_mean_one():
    weights = RRM(N, contamination="auto").weights
    mask = held_out(0, N, 0)
    assert (weights[mask] == 0).all()
    assert weights[~mask].unique().numel() == 1
    assert weights.double().mean() == pytest.approx(1, abs=1e-6)
    dropped = warmup_weights(N, 0, N, 0, keeps_mass=False)
    assert dropped.unique().tolist() == [0, 1]


def test_first_reweight_plans_over_the_samples_trained_on():
    rrm = until_estimate()
    mask = held_out(0, N, 0)
    assert rrm.plan.n == int((~mask).sum())
    assert (rrm.weights[mask] == 1).all()
    assert not mask[rrm.flagged()].any()
    kept = rrm.weights[~mask] > 0
    assert rrm.weights[~mask][kept].unique().numel() == 1


def test_samples_held_out_are_weighted_like_others_afterwards():
    rrm = until_estimate()
    estimate_jobs.train_epoch(rrm, rrm.epoch, torch.arange(N))
    assert rrm.step().n == N
    kept = rrm.weights > 0
    assert rrm.weights[kept].unique().numel() == 1
    mask = held_out(0, N, 0)
    assert 0.5 < kept[mask].float().mean() < 1


def test_group_that_is_held_out_whole_is_not_pruned_at_first():
    groups = torch.zeros(N, dtype=torch.int64)
    groups[held_out(0, N, 0).nonzero()[:3, 0]] = 1
    rrm = until_estimate(groups=groups)
    assert rrm.plan.n_pruned[0] > 0
    assert rrm.plan.n_pruned[1] == 0
    assert (rrm.weights[groups == 1] == 1).all()


def test_first_reweight_among_given_samples_plans_over_these():
    rrm = RRM(N, contamination="auto", warmup=1)
    estimate_jobs.train_epoch(rrm, 4, torch.arange(N))
    assert rrm.step(among=torch.arange(N)).n == N


def test_first_reweight_by_passed_losses_takes_those_of_the_samples_trained_on():
    rrm = RRM(N, contamination="auto", warmup=1)
    estimate_jobs.train_epoch(rrm, 4, torch.arange(N))
    losses = torch.rand(N)
    plan = rrm.step(losses)
    losses[held_out(0, N, 0)] = 0
    assert rrm.flagged().sort().values.tolist() == losses.topk(plan.n_pruned).indices.sort().values.tolist()


@pytest.mark.parametrize("mu", [0.5])
def test_first_reweight_starts_from_equal_weights(mu):
    rrm = until_estimate(mu=mu)
    assert rrm.weights[~held_out(0, N, 0)].unique().numel() == 2
    assert rrm.weights.min() == pytest.approx(1 - mu)
