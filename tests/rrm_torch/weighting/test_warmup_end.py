"""When a warm-up of ``warmup="auto"`` ends."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from rrm_core._agreement import Round
from rrm_core._warmup_end import Agreement
from rrm_torch import RRM
from rrm_torch.weighting.held_out import held_out
from support import estimate_jobs
from support.estimate_jobs import N, until_estimate


def agreement_of(shares, n_calls=None, size=100, trained=None, by_chance=0.1):
    """Return the agreement of rounds with these shares, where predictions agree with so many labels by chance.

    A round has 100 calls, unless `n_calls` in all are given.
    """
    if n_calls is None:
        n_calls = 100 * len(shares)
    pairs = round(by_chance * size**2)
    rounds = [Round(size, round(size * share), size, round(size * (trained or share)), pairs) for share in shares]
    return Agreement(tuple(rounds), n_calls)


def test_peak_is_the_round_of_the_highest_mean_over_three():
    agreement = agreement_of([0.3, 0.9, 0.3, 0.6, 0.6, 0.6, 0.5])
    assert np.add(agreement.smoothed(), 0.1) == pytest.approx([0.3, 0.6, 0.5, 0.6, 0.5, 0.6, 1.7 / 3])
    assert agreement.peak == 2
    assert agreement.is_over


def test_chosen_round_is_replaced_by_a_share_that_is_higher_by_a_standard_error():
    # The standard error of .5 in 100 samples is .05.
    assert agreement_of([0.5, 0.58, 0.54]).chosen == 1
    assert agreement_of([0.5, 0.7]).chosen == 2
    assert agreement_of([0.5, 0.7, 0.9]).chosen == 3
    assert agreement_of([0.5, 0.58, 0.54], size=10_000).chosen == 2
    assert Agreement().chosen == 0


def test_best_rounds_are_those_of_the_highest_kappa():
    # Means over three rounds: .3, .6, .5, .6, .5, .6 and .567.
    assert agreement_of([0.3, 0.9, 0.3, 0.6, 0.6, 0.6, 0.5]).best.share == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("shares", "n_calls", "is_over"),
    [
        ([0.5], 100, False),
        ([0.5, 0.4], 200, False),
        ([0.5, 0.4, 0.3], 300, False),
        ([0.5, 0.4, 0.3, 0.3], 400, True),
        ([0.1, 0.2, 0.3, 0.4, 0.5], 500, False),
        # A plateau near guesses, where the model has not learnt much yet, is given nine rounds.
        ([0.2] * 9, 900, False),
        ([0.2] * 10, 1000, True),
        # Guesses.
        ([0.1] * 20, 2000, False),
        ([0.1, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3], 800, True),
        # 25 calls a round: the patience is four rounds.
        ([0.5, 0.4, 0.3, 0.3], 100, False),
        ([0.5, 0.4, 0.3, 0.3, 0.3], 125, True),
    ],
)
def test_warmup_ends_after_three_rounds_without_a_rise_or_a_hundred_calls(shares, n_calls, is_over):
    assert agreement_of(shares, n_calls).is_over == is_over


@pytest.mark.parametrize(
    ("share", "by_chance", "size", "has_learnt"),
    [
        (0.2, 0.1, 100, True),
        (0.18, 0.1, 100, False),
        # Two classes, of which guesses get half right; three in ten labels are wrong.
        (0.58, 0.5, 750, True),
        (0.54, 0.5, 750, False),
        # Two standard errors of few samples.
        (0.58, 0.5, 100, False),
        # A rare class: a constant prediction agrees with all other labels.
        (0.95, 0.95, 1000, False),
        (0.97, 0.92, 1000, True),
        (1.0, 1.0, 1000, False),
    ],
)
def test_model_has_learnt_if_it_agrees_more_than_by_chance(share, by_chance, size, has_learnt):
    agreement = agreement_of([share, share], size=size, by_chance=by_chance)
    assert agreement.has_learnt == has_learnt
    assert agreement.is_rising != has_learnt


def test_constant_prediction_is_replaced_by_one_that_finds_the_rare_class():
    constant = Round(1000, 950, 1000, 950, 950_000)
    # Agrees with fewer labels, but finds 30 of the 50 rare ones: 60 predictions of the rare class, 940 of the other.
    better = Round(1000, 940, 1000, 940, 940 * 950 + 60 * 50)
    agreement = Agreement((constant, better), 100)
    assert agreement.smoothed()[0] == 0
    assert agreement.chosen == agreement.peak == 2


@pytest.mark.parametrize(
    ("shares", "trained", "size", "is_over"),
    [
        ([0.5, 0.5], 0.9, 100, False),
        ([0.5, 0.5, 0.5], 0.64, 100, False),
        ([0.5, 0.5, 0.5], 0.66, 100, True),
        # Three standard errors of few samples: 0.3.
        ([0.52, 0.52, 0.52], 0.8, 25, False),
        ([0.52, 0.52, 0.52], 0.84, 25, True),
        # Few samples of each class: the model memorises them while it still learns.
        ([0.3, 0.4, 0.5], 0.9, 100, False),
    ],
)
def test_warmup_ends_when_samples_are_memorised(shares, trained, size, is_over):
    assert agreement_of(shares, trained=trained, size=size).is_over == is_over


@pytest.mark.parametrize(
    ("shares", "is_rising"),
    [([0.5], True), ([0.5, 0.5], False), ([0.3, 0.4], True), ([0.5, 0.51, 0.5, 0.51, 0.5], False)],
)
def test_model_is_still_learning_if_the_agreement_rises_much(shares, is_rising):
    assert agreement_of(shares).is_rising == is_rising


@pytest.mark.parametrize(("n_calls", "is_rising"), [(4 * 20, True), (4 * 100, True), (4 * 200, True), (4 * 300, False)])
def test_rise_that_is_notable_grows_with_the_calls_of_a_round(n_calls, is_rising):
    # The last round is .1 above the first: between twice and three times the notable rise.
    assert agreement_of([0.5, 0.6, 0.6, 0.6], n_calls).is_rising == is_rising


def test_steep_rise_is_notable_however_long_the_rounds_are():
    assert not agreement_of([0.3, 0.4, 0.5], 3 * 5000, trained=0.9).is_rising
    steep = agreement_of([0.3, 0.5, 0.7], 3 * 5000, trained=0.9)
    assert steep.is_rising
    assert not steep.is_over


def test_rounds_without_samples_have_agreement_zero():
    agreement = Agreement((Round(0, 0, 0, 0, 0),) * 2, 2)
    assert agreement.smoothed() == [0, 0]
    assert not agreement.rounds[0].is_memorising
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
    assert rrm.plan.n_pruned == int(0.1 * rrm.plan.n)
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
