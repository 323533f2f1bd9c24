"""``contamination="auto"`` and ``warmup="auto"``: what is recorded, when the warm-up ends, and what follows."""

from __future__ import annotations

import copy
import dataclasses
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

import rrm_core
from rrm_torch import RRM, BatchRRM
from rrm_torch.weighting.estimation import combine_passes
from rrm_torch.weighting.held_out import held_out, warmup_weights
from rrm_torch.weighting.outputs import UNKNOWN, confidences, encode_predictions, predicted_classes, rounds_in_pass
from rrm_torch.weighting.rrm import _warn_of_doubtful
from rrm_torch.weighting.warmup_end import Agreement, Round
from support import estimate_jobs
from support.layout_jobs import differences
from support.rank_jobs import on_ranks

N = 600


def trained(n_epochs, **settings):
    return estimate_jobs.train(None, N, {"contamination": "auto", **settings}, range(n_epochs))


def until_estimate(limit=30, first=0, **settings):
    """Train until there is an estimate; the outputs are those from epoch `first` on."""
    rrm = RRM(N, **{"contamination": "auto", **settings})
    for epoch in range(first, first + limit):
        estimate_jobs.train_epoch(rrm, epoch, torch.arange(N))
        rrm.step()
        if rrm.estimate is not None:
            return rrm
    raise AssertionError("no estimate")


# What is recorded.


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


# The samples held out.


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


def test_samples_held_out_are_weighted_like_others_afterwards():
    rrm = until_estimate()
    mask = held_out(0, N, 0)
    kept = rrm.weights > 0
    assert rrm.weights[kept].unique().numel() == 1
    assert kept[mask].float().mean() > 0.5


@pytest.mark.parametrize("mu", [0.5])
def test_first_reweight_starts_from_equal_weights(mu):
    rrm = until_estimate(mu=mu)
    assert rrm.weights.unique().numel() == 2
    assert rrm.weights.min() == pytest.approx(1 - mu)


# When a warm-up ends.


def agreement_of(shares, n_calls=1000, size=100, trained=None, n_classes=10):
    rounds = [Round(size, round(size * share), size, round(size * (trained or share))) for share in shares]
    return Agreement(tuple(rounds), n_calls, n_classes)


def test_peak_is_the_round_of_the_highest_mean_over_three():
    agreement = agreement_of([0.3, 0.9, 0.3, 0.6, 0.6, 0.6, 0.5])
    assert agreement.smoothed() == pytest.approx([0.3, 0.6, 0.5, 0.6, 0.5, 0.6, 1.7 / 3])
    assert agreement.peak == 2
    assert agreement.is_over


def test_chosen_round_is_replaced_by_a_share_that_is_higher_by_a_standard_error():
    # The standard error of .5 in 100 samples is .05.
    assert agreement_of([0.5, 0.58, 0.54]).chosen == 1
    assert agreement_of([0.5, 0.7]).chosen == 2
    assert agreement_of([0.5, 0.7, 0.9]).chosen == 3
    assert agreement_of([0.5, 0.58, 0.54], size=10_000).chosen == 2
    assert Agreement().chosen == 0


@pytest.mark.parametrize(
    ("shares", "n_calls", "is_over"),
    [
        ([0.5], 100, False),
        ([0.5, 0.4], 200, False),
        ([0.5, 0.4, 0.3], 300, False),
        ([0.5, 0.4, 0.3, 0.3], 400, True),
        ([0.1, 0.2, 0.3, 0.4, 0.5], 500, False),
        # A plateau of guesses: the model has not learnt yet.
        ([0.2, 0.2, 0.2, 0.2, 0.2, 0.2], 600, False),
        ([0.1, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3], 800, True),
        # 25 calls a round: the patience is four rounds.
        ([0.5, 0.4, 0.3, 0.3], 100, False),
        ([0.5, 0.4, 0.3, 0.3, 0.3], 125, True),
    ],
)
def test_warmup_ends_after_three_rounds_without_a_rise_or_a_hundred_calls(shares, n_calls, is_over):
    assert agreement_of(shares, n_calls).is_over == is_over


@pytest.mark.parametrize(
    ("shares", "n_classes", "has_learnt"),
    [
        ([0.5], 10, True),
        ([0.49], 10, False),
        ([0.2, 0.2, 0.42], 10, False),
        ([0.1, 0.2, 0.45], 10, True),
        # Guesses between two classes agree with half of the labels.
        ([0.55], 2, False),
        ([0.6], 2, True),
    ],
)
def test_model_has_learnt_if_it_agrees_far_more_than_by_chance_or_than_at_first(shares, n_classes, has_learnt):
    agreement = agreement_of(shares, n_classes=n_classes)
    assert agreement.has_learnt == has_learnt
    assert has_learnt or agreement.is_rising


@pytest.mark.parametrize(("n_rounds", "trained", "is_over"), [(2, 0.9, False), (3, 0.64, False), (3, 0.66, True)])
def test_warmup_ends_when_samples_are_memorised(n_rounds, trained, is_over):
    shares = [0.3, 0.4, 0.5][-n_rounds:]
    assert agreement_of(shares, trained=trained).is_over == is_over


@pytest.mark.parametrize(
    ("shares", "is_rising"),
    [([0.5], True), ([0.5, 0.5], False), ([0.3, 0.4], True), ([0.5, 0.51, 0.5, 0.51, 0.5], False)],
)
def test_model_is_still_learning_if_the_agreement_rises_much(shares, is_rising):
    assert agreement_of(shares).is_rising == is_rising


def test_rounds_without_samples_have_agreement_zero():
    agreement = Agreement((Round(0, 0, 0, 0),) * 2, 2, 10)
    assert agreement.smoothed() == [0, 0]
    assert agreement.rounds[0].gap == 0
    assert Agreement().peak == 0


def test_warmup_ends_once_held_out_samples_agree_no_more():
    rrm = until_estimate(limit=40)
    agreement = [
        float(
            (estimate_jobs.logits_of_epoch(epoch, N).argmax(1) == estimate_jobs.labels_of(N))[held_out(0, N, 0)]
            .double()
            .mean()
        )
        for epoch in range(rrm.epoch)
    ]
    smoothed = [np.mean(agreement[max(end - 3, 0) : end]) for end in range(1, len(agreement) + 1)]
    assert rrm.estimate.epoch == rrm.epoch == int(np.argmax(smoothed)) + 1 + 3
    assert rrm.trajectory.rounds[0].epoch == rrm.epoch


def test_warmup_takes_a_third_of_the_planned_epochs_at_most():
    assert until_estimate(epochs=13).epoch == 4
    assert until_estimate(epochs=3, first=2).epoch == 1
    assert until_estimate(epochs=1, first=2).epoch == 1


def test_short_warmup_has_no_interval():
    estimate = until_estimate(epochs=6, first=1).estimate
    assert estimate.interval is None
    assert "still learning" in estimate.basis


def test_warmup_of_a_given_length_ends_with_an_estimate():
    rrm = until_estimate(warmup=2)
    assert rrm.epoch == rrm.estimate.epoch == 2


def test_warmup_may_end_by_itself_with_a_given_contamination():
    rrm = until_estimate(contamination=0.1, warmup="auto")
    assert rrm.plan.n_pruned == 60
    assert rrm.estimate.contamination != 0.1


def test_due_says_that_the_warmup_may_end():
    rrm = RRM(N, contamination="auto", epochs=60)
    dues = []
    for epoch in range(12):
        dues.append((rrm.due, rrm.estimate is not None))
        estimate_jobs.train_epoch(rrm, epoch, torch.arange(N))
        rrm.step()
    assert dues[:3] == [(False, False), (False, False), (True, False)]
    assert all(due for due, _ in dues[2:])


def test_steps_count_quarters_of_an_epoch_as_rounds():
    rrm = RRM(N, contamination="auto", unit="step")
    reweighted = []
    for epoch in range(8):
        logits = estimate_jobs.logits_of_epoch(epoch, N, best=2)
        labels = estimate_jobs.labels_of(N)
        losses = F.cross_entropy(logits, labels, reduction="none")
        for batch in torch.arange(N).split(10):
            rrm.weighted_mean(losses[batch], batch, logits=logits[batch], labels=labels[batch])
            reweighted.append(rrm.step() is not None)
    first = reweighted.index(True) + 1
    assert first % 15 == 0  # a quarter of 60 batches
    assert rrm.estimate.epoch == first
    assert all(reweighted[first - 1 :])
    assert rrm.estimate.n == N
    assert abs(rrm.estimate.contamination - 0.2) < 0.1


# The estimate.


def test_estimate_is_that_of_three_epochs_up_to_the_chosen_one():
    rrm = until_estimate()
    labels = estimate_jobs.labels_of(N)
    mask = held_out(0, N, 0)
    agreed = [estimate_jobs.logits_of_epoch(epoch, N).argmax(1) == labels for epoch in range(rrm.epoch)]
    counts = [(len(a[m]), int(a[m].sum())) for a in agreed for m in (mask, ~mask)]
    rounds = tuple(Round(*held, *trained) for held, trained in zip(counts[::2], counts[1::2], strict=True))
    chosen = Agreement(rounds, 150 * rrm.epoch, 4).chosen
    codes = [encode_predictions(estimate_jobs.logits_of_epoch(epoch, N), 0) for epoch in range(chosen - 3, chosen)]
    predicted, confidence = combine_passes(torch.stack(codes[::-1]))
    expected = rrm_core.estimate_contamination(labels.numpy(), predicted.numpy(), confidence.numpy(), mask.numpy())
    assert rrm.estimate.contamination == expected.contamination
    assert rrm.estimate.interval == expected.interval
    np.testing.assert_array_equal(rrm.estimate.pairs, expected.pairs)
    assert abs(rrm.estimate.contamination - 0.2) < 0.1


def test_reweights_prune_the_estimated_share():
    rrm = trained(12)
    assert rrm.plan.n_pruned == int(rrm.estimate.contamination * N)
    assert {entry.contamination for entry in rrm.trajectory.rounds} == {rrm.estimate.contamination}
    assert not any(entry.is_given for entry in rrm.trajectory.rounds)


def test_estimate_is_immutable_and_readable():
    estimate = until_estimate().estimate
    with pytest.raises(dataclasses.FrozenInstanceError):
        estimate.contamination = 0.5
    assert re.fullmatch(
        r"ContaminationEstimate\(contamination=0\.\d{3}, interval=\(0\.\d{3}, 0\.\d{3}\), epoch=\d+, n=600, "
        r"n_held_out=\d+, basis='the surest half .*'\)",
        repr(estimate),
    )


def test_groups_have_estimates_of_their_own():
    groups = torch.arange(N) % 3
    rrm = until_estimate(groups=groups)
    assert len(rrm.estimate.by_group) == 3
    sizes = np.bincount(groups)
    assert rrm.plan.n_pruned.tolist() == [int(share * n) for share, n in zip(rrm.estimate.by_group, sizes, strict=True)]
    capped = until_estimate(groups=groups, cap=0.1)
    assert capped.estimate.by_group is None
    assert (capped.plan.n_pruned <= 20).all()


def test_contamination_given_to_a_step_replaces_the_estimate():
    rrm = until_estimate()
    estimate_jobs.train_epoch(rrm, 20, torch.arange(N))
    assert rrm.step(contamination=0.05).n_pruned == 30
    assert rrm.trajectory.rounds[-1].is_given


def test_samples_without_a_label_take_no_part():
    rrm = RRM(N, contamination="auto", warmup=1, unseen="latest")
    labels = estimate_jobs.labels_of(N)
    labels[:100] = -100
    logits = estimate_jobs.logits_of_epoch(4, N)
    losses = F.cross_entropy(logits, labels, reduction="none", ignore_index=-100)
    losses[:100] = torch.nan
    rrm.weighted_mean(losses, torch.arange(N), logits=logits, labels=labels)
    assert rrm.step() is not None
    assert rrm.estimate.n == 500


# What is needed.


CLASSES = torch.tensor([0, 1, 2, 0])
LOGITS = torch.zeros(4, 3)


@pytest.mark.parametrize(
    ("outputs", "error", "message"),
    [
        ({}, ValueError, "got no logits and no labels;.*where outputs aren't classes, give contamination as a number"),
        (
            {"logits": LOGITS},
            ValueError,
            r"needs weighted_mean\(losses, index, logits=logits, labels=y\), got no labels",
        ),
        ({"labels": CLASSES}, ValueError, "got no logits"),
        ({"logits": LOGITS.numpy(), "labels": CLASSES}, TypeError, "logits must be a tensor, got ndarray"),
        ({"logits": LOGITS.long(), "labels": CLASSES}, ValueError, "logits must be floating-point numbers"),
        ({"logits": torch.zeros(4, 5, 3), "labels": CLASSES}, ValueError, r"got \(4, 5, 3\)"),
        ({"logits": LOGITS[1:], "labels": CLASSES}, ValueError, r"of shape \(4, n_classes\)"),
        ({"logits": LOGITS, "labels": LOGITS}, ValueError, r"integers of shape \(4,\), got \(4, 3\)"),
        ({"logits": LOGITS, "labels": CLASSES[:, None]}, ValueError, r"labels\[:, 0\]"),
        ({"logits": LOGITS, "labels": CLASSES.float()}, ValueError, "labels must be classes"),
        ({"logits": LOGITS, "labels": CLASSES + 1}, IndexError, r"labels must lie in \[0, 3\).*got 3"),
        ({"logits": torch.zeros(4, 40_000), "labels": CLASSES}, ValueError, "at most 32,768 classes"),
    ],
)
def test_outputs_that_are_missing_or_no_classes_are_refused(outputs, error, message):
    rrm = RRM(N, contamination="auto")
    with pytest.raises(error, match=message):
        rrm.weighted_mean(torch.rand(4), torch.arange(4), **outputs)
    assert not rrm._buffer.has_losses
    assert (rrm._state.predictions.labels == UNKNOWN).all()


def test_index_out_of_range_records_nothing():
    rrm = RRM(N, contamination="auto")
    with pytest.raises(IndexError, match="index must lie in"):
        rrm.weighted_mean(torch.rand(2), torch.tensor([0, N]), logits=torch.rand(2, 3), labels=torch.tensor([0, 1]))
    assert (rrm._state.predictions.labels == UNKNOWN).all()


def test_outputs_are_not_needed_after_the_estimate_nor_where_nothing_is_recorded():
    rrm = until_estimate()
    rrm.weighted_mean(torch.rand(4), torch.arange(4))
    fresh = RRM(N, contamination="auto")
    fresh.weighted_mean(torch.rand(4), torch.arange(4), record=False)
    plain = RRM(N, contamination=0.1)
    plain.weighted_mean(torch.rand(4), torch.arange(4), logits=torch.rand(4, 3), labels=torch.zeros(4).long())
    batch = BatchRRM(N, contamination=0.1)
    batch.weighted_mean(torch.rand(4), torch.arange(4), logits=torch.rand(4, 3), labels=torch.zeros(4).long())


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"n": 99, "contamination": "auto"}, ValueError, "n=99 samples are too few for contamination='auto'"),
        ({"contamination": "most"}, ValueError, "contamination must be 'auto' or a number, got 'most'"),
        ({"contamination": "auto", "gamma": 1.0}, ValueError, "contamination or gamma, not both"),
        (
            {"contamination": 0.1, "warmup": "soon"},
            ValueError,
            "warmup must be 'auto' or a number of epochs, got 'soon'",
        ),
        ({"contamination": "auto", "seed": -1}, ValueError, "seed must be a whole number, at least 0, got -1"),
        ({"contamination": "auto", "epochs": 0}, ValueError, "epochs"),
        ({"contamination": "auto", "groups": [0] * 99}, ValueError, "groups must have one number for each"),
        ({"contamination": "auto", "ties": "share", "groups": [0] * N, "cap": 0.2}, ValueError, "ties='share'"),
    ],
)
def test_settings_that_contradict_are_refused(settings, error, message):
    with pytest.raises(error, match=message):
        RRM(**{"n": N, **settings})


def test_labels_of_one_logit_may_be_floats_in_a_column():
    rrm = RRM(N, contamination="auto")
    labels = torch.tensor([[0.0], [1.0], [torch.nan], [1.0]])
    rrm.weighted_mean(torch.rand(4), torch.arange(4), logits=torch.randn(4, 1), labels=labels)
    assert rrm._state.predictions.labels[:5].tolist() == [0, 1, -1, 1, -1]
    with pytest.raises(ValueError, match=r"labels must be 0 or 1, got 0\.75"):
        rrm.weighted_mean(torch.rand(1), torch.arange(1), logits=torch.randn(1), labels=torch.tensor([0.75]))


def test_outputs_that_are_all_nan_have_no_estimate():
    rrm = RRM(N, contamination="auto", warmup=1)
    outputs = {"logits": torch.full((N, 3), torch.nan), "labels": estimate_jobs.labels_of(N) % 3}
    rrm.weighted_mean(torch.rand(N), torch.arange(N), **outputs)
    with pytest.raises(ValueError, match="no sample that was held out has a label and outputs that are numbers"):
        rrm.step()


def test_model_that_has_learnt_nothing_prunes_nothing_and_warns():
    rrm = RRM(N, contamination="auto", warmup=1, groups=torch.arange(N) % 3)
    labels = estimate_jobs.labels_of(N)
    logits = torch.nn.functional.one_hot((labels + 1) % 4, 4).float()
    rrm.weighted_mean(torch.rand(N), torch.arange(N), logits=logits, labels=labels)
    with pytest.warns(UserWarning, match="the model had learnt nothing when the warm-up ended, after epoch 1"):
        plan = rrm.step()
    assert (rrm.estimate.contamination, rrm.estimate.interval, rrm.estimate.by_group) == (0, None, (0, 0, 0))
    assert plan.n_pruned.sum() == 0
    assert (rrm.weights == 1).all()


def test_estimate_of_most_labels_warns():
    estimate = dataclasses.replace(until_estimate().estimate, contamination=0.6)
    with pytest.warns(UserWarning, match="60% of the labels are estimated to be wrong: either most are, or the model"):
        _warn_of_doubtful(estimate, has_learnt=True, end="epoch 3")


def test_model_that_starts_late_is_waited_for():
    rrm = RRM(N, contamination="auto")
    for epoch in range(20):
        estimate_jobs.train_epoch(rrm, epoch if epoch >= 8 else -1, torch.arange(N))
        rrm.step()
    assert rrm.estimate is None or rrm.estimate.epoch > 10


@pytest.mark.parametrize("unseen", ["raise", "latest"])
def test_quarters_of_an_epoch_that_begins_again_are_counted_anew(unseen):
    whole, interrupted = (RRM(N, contamination="auto", epochs=6, unseen=unseen) for _ in range(2))
    estimate_jobs.train_epoch(interrupted, 0, torch.arange(N // 2))
    interrupted.discard_epoch()
    for rrm in (whole, interrupted):
        estimate_jobs.train_epoch(rrm, 0, torch.arange(N))
        rrm.step()
    rounds = whole._state.predictions.agreement.rounds
    assert sum(entry.n_held_out for entry in rounds) == int(held_out(0, N, 0).sum())
    assert interrupted._state.predictions.agreement == whole._state.predictions.agreement


def test_first_step_may_end_a_warmup_of_steps():
    rrm = RRM(N, contamination="auto", unit="step", warmup=1)
    estimate_jobs.train_epoch(rrm, 4, torch.arange(N), batch_size=N)
    assert rrm.step() is not None
    assert rrm.estimate.n == N


def test_estimate_without_predictions_is_an_error():
    rrm = RRM(N, contamination="auto", warmup=1, losses_from="pass")
    with pytest.raises(
        ValueError, match=r"contamination='auto' needs weighted_mean.*the first epoch has ended without"
    ):
        rrm.step(torch.rand(N))
    assert rrm.epoch == 0


# States, ranks and graphs.


@pytest.mark.parametrize("half", [0, 1, 4, 7, 8, 9])
@pytest.mark.parametrize(
    "settings", [{}, {"epochs": 9}, {"groups": torch.arange(N) % 3}, {"contamination": 0.1, "warmup": "auto"}]
)
def test_run_resumed_in_mid_epoch_has_the_same_bits(half, settings):
    settings = {"contamination": "auto", **settings}
    order = torch.randperm(N, generator=torch.Generator().manual_seed(1))

    def run(rrm, epochs, start=0):
        for epoch in epochs:
            estimate_jobs.train_epoch(rrm, epoch, order[start if epoch == epochs[0] else 0 :])
            rrm.step()
        return rrm.state_dict()

    whole = run(RRM(N, **settings), range(12))
    first = RRM(N, **settings)
    run(first, range(half))
    estimate_jobs.train_epoch(first, half, order[:304])
    second = RRM(N, **settings)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert differences(second.state_dict(), first.state_dict()) == []
    assert differences(run(second, range(half, 12), 304), whole) == []


@pytest.mark.parametrize("settings", [{}, {"groups": torch.arange(203) % 4}], ids=["all", "groups"])
@pytest.mark.parametrize("size", [2, 3])
def test_every_layout_gives_the_same_estimate_and_state(size, settings):
    settings = {"contamination": "auto", **settings}
    n = 203
    expected = {k: estimate_jobs.comparable(estimate_jobs.train(None, n, settings, range(k))) for k in (5, 16)}
    assert expected[16]["estimate"] != "None"
    for found in on_ranks(size, estimate_jobs.differences_by_layout, n, settings, expected, 5):
        assert found == [[]] * 6


def test_ranks_with_other_numbers_of_classes_are_refused():
    for message in on_ranks(2, estimate_jobs.error_of_other_classes, 200):
        assert "ranks have logits of different numbers of classes: 2, 3" in message


def test_compiled_loop_gives_the_same_state():
    eager, compiled = (RRM(N, contamination="auto") for _ in range(2))
    logits = estimate_jobs.logits_of_epoch(2, N)
    labels = estimate_jobs.labels_of(N)

    def mean(losses, index, logits, labels):
        return compiled.weighted_mean(losses, index, logits=logits, labels=labels)

    losses = F.cross_entropy(logits, labels, reduction="none")
    index = torch.arange(N)
    first = eager.weighted_mean(losses, index, logits=logits, labels=labels)
    second = torch.compile(mean, fullgraph=True, backend="eager")(losses, index, logits, labels)
    assert torch.equal(first, second)
    assert differences(eager.state_dict(), compiled.state_dict()) == []


@pytest.mark.parametrize("default", [torch.float64, torch.bfloat16])
def test_estimate_does_not_depend_on_defaults_of_torch_nor_inference_mode(default):
    expected = until_estimate()
    before = torch.get_default_dtype()
    torch.set_default_dtype(default)
    try:
        with torch.inference_mode():
            rrm = RRM(N, contamination="auto")
            estimate_jobs.train_epoch(rrm, 0, torch.arange(N))
            rrm.step()
        for epoch in range(1, expected.epoch):
            estimate_jobs.train_epoch(rrm, epoch, torch.arange(N))
            rrm.step()
    finally:
        torch.set_default_dtype(before)
    assert differences(rrm.state_dict(), expected.state_dict()) == []


DAMAGES = {
    "labels of another length": (lambda s: s.update(labels=s["labels"][1:]), "labels must be classes of 600 samples"),
    "a class out of range": (lambda s: s["passes"].fill_(9 << 16), "passes must be predictions of 4 classes"),
    "a doubt above 1": (lambda s: s["passes"].fill_(0x3C01), "passes must be predictions of 4 classes"),
    "more agreed than seen": (lambda s: s.update(rounds=[(5, 6, 7, 7)]), "rounds must have four counts each"),
    "no rounds": (lambda s: s.update(rounds=None), "rounds must have four counts each"),
    "three counts": (lambda s: s.update(rounds=[(5, 5, 7)]), "rounds must have four counts each"),
    "a negative count": (lambda s: s.update(n_calls=-1), "must be counts"),
    "a missing entry": (lambda s: s.pop("chosen"), "predictions must hold labels"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_predictions_are_refused(damage):
    state = trained(2).state_dict()
    change, message = DAMAGES[damage]
    change(state["predictions"])
    rrm = RRM(N, contamination="auto")
    with pytest.raises(ValueError, match=message):
        rrm.load_state_dict(state)
    assert rrm.epoch == 0


ESTIMATE_DAMAGES = {
    "contamination": (1.0, "contamination"),
    "interval": ([0.5, 0.2], "interval"),
    "epoch": (None, "epoch"),
    "n_held_out": (10_000, "n_held_out"),
    "pairs": (torch.zeros(2, 2, dtype=torch.int64), "pairs"),
}


@pytest.mark.parametrize("name", ESTIMATE_DAMAGES)
def test_damaged_estimate_is_refused(name):
    state = until_estimate().state_dict()
    value, message = ESTIMATE_DAMAGES[name]
    state["estimate"][name] = value
    with pytest.raises(ValueError, match=f"state's estimate has {message}"):
        RRM(N, contamination="auto").load_state_dict(state)


def test_state_with_and_without_estimation_do_not_mix():
    state = trained(2).state_dict()
    with pytest.raises(ValueError, match=r"contamination is 'auto' there and 0\.1 here"):
        RRM(N, contamination=0.1).load_state_dict(state)
    state["predictions"] = None
    with pytest.raises(ValueError, match="must hold either predictions or an estimate"):
        RRM(N, contamination="auto").load_state_dict(state)
    with pytest.raises(ValueError, match="other settings: seed is 0 there and 1 here"):
        RRM(N, contamination="auto", seed=1).load_state_dict(trained(2).state_dict())
