"""The estimate of ``contamination="auto"``, and what it needs."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

import rrm_core
from rrm_core._agreement import UNKNOWN, Round
from rrm_core._warmup_end import Agreement
from rrm_torch import RRM, BatchRRM
from rrm_torch.weighting.estimation import combine_passes
from rrm_torch.weighting.held_out import held_out
from rrm_torch.weighting.outputs import encode_predictions
from support import estimate_jobs
from support.estimate_jobs import N, trained, until_estimate


def rounds_of(n_epochs):
    """Return the rounds that the outputs of some epochs give, counted pair by pair."""
    labels = estimate_jobs.labels_of(N)
    mask = held_out(0, N, 0)
    rounds = []
    for epoch in range(n_epochs):
        predicted = estimate_jobs.logits_of_epoch(epoch, N).argmax(1)
        agreed = predicted == labels
        counts = (int(values.sum()) for part in (mask, ~mask) for values in (part, agreed & part))
        pairs = predicted[mask][:, None] == labels[mask]
        rounds.append(Round(*counts, int(pairs.sum())))
    return tuple(rounds)


def test_rounds_count_what_agrees_and_what_would_by_chance():
    assert trained(3)._state.predictions.agreement.rounds == rounds_of(3)


def test_estimate_is_that_of_three_epochs_up_to_the_chosen_one():
    rrm = until_estimate()
    labels = estimate_jobs.labels_of(N)
    mask = held_out(0, N, 0)
    chosen = Agreement(rounds_of(rrm.epoch), 150 * rrm.epoch).chosen
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
    sizes = np.bincount(groups[~held_out(0, N, 0)])
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


CLASSES = torch.tensor([0, 1, 2, 0])
LOGITS = torch.zeros(4, 3)


@pytest.mark.parametrize(
    ("outputs", "error", "message"),
    [
        ({}, ValueError, "got no logits and no labels;.*where outputs aren't classes, give contamination and"),
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
