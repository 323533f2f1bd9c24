"""The estimate of a model that may have learnt nothing, and the doubts about it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import rrm_core
from rrm_core._agreement import UNKNOWN, Window, count_agreement
from rrm_core._learnt_estimate import NOTHING_LEARNT, doubt_about, estimate_if_learnt

LABELS = np.array([0, 1, 1, 0, UNKNOWN, 1, 0, 1])
PREDICTED = np.array([0, 1, 0, 0, 1, UNKNOWN, 0, 1])
CONFIDENCE = np.linspace(0.5, 0.9, 8)
HELD_OUT = np.arange(8) % 2 == 0


def test_only_samples_with_a_label_and_a_prediction_count():
    is_known = (LABELS >= 0) & (PREDICTED >= 0)
    expected = rrm_core.estimate_contamination(
        LABELS[is_known], PREDICTED[is_known], CONFIDENCE[is_known], HELD_OUT[is_known]
    )
    estimate = estimate_if_learnt(LABELS, PREDICTED, CONFIDENCE, HELD_OUT, has_learnt=True, epoch=3)
    assert repr(estimate) == repr(replace(expected, epoch=3))
    assert estimate.n == 6


def test_nothing_learnt_makes_all_shares_0():
    groups = rrm_core.Groups(np.array([0, 1] * 4), 2)
    estimate = estimate_if_learnt(LABELS, PREDICTED, CONFIDENCE, HELD_OUT, has_learnt=False, groups=groups, epoch=3)
    assert (estimate.contamination, estimate.interval, estimate.by_group) == (0, None, (0, 0))
    assert (estimate.basis, estimate.epoch) == (NOTHING_LEARNT, 3)


def test_no_sample_held_out_with_a_prediction_is_an_error():
    predicted = np.where(HELD_OUT, UNKNOWN, PREDICTED)
    with pytest.raises(ValueError, match="no sample that was held out has a label and outputs that are numbers"):
        estimate_if_learnt(LABELS, predicted, CONFIDENCE, HELD_OUT, has_learnt=True)


def doubt(contamination, *, has_learnt, is_used=True):
    estimate = estimate_if_learnt(LABELS, PREDICTED, CONFIDENCE, HELD_OUT, has_learnt=True)
    return doubt_about(
        replace(estimate, contamination=contamination),
        Window([count_agreement(LABELS, PREDICTED, HELD_OUT)]),
        has_learnt=has_learnt,
        is_used=is_used,
        end="after epoch 3",
        hint="labels are right",
    )


def test_doubts():
    assert doubt(0.3, has_learnt=True) is None
    assert doubt(0.6, has_learnt=True, is_used=False) is None
    assert doubt(0.6, has_learnt=True).startswith("60% of the labels are estimated to be wrong")
    message = doubt(0.3, has_learnt=False)
    # Of samples 0, 2 and 6 the last is not predicted as labelled; 0 is labelled twice and predicted three times.
    assert message.startswith("after epoch 3, the model predicted the labels of 3 samples held out not clearly more")
    assert "(67% and 67%), and no sample is pruned: it had learnt nothing yet" in message
    assert "or so few samples can't tell; train longer, or give a contamination" in message
    assert "its losses say as little" in doubt(0.3, has_learnt=False, is_used=False)


def test_groups_are_those_of_samples_with_a_label_and_a_prediction():
    # The two samples without one are in group 0, whose only confident prediction is contradicted.
    groups = rrm_core.Groups(np.array([0, 1, 0, 1, 0, 0, 1, 1]), 2)
    estimate = estimate_if_learnt(LABELS, PREDICTED, CONFIDENCE, HELD_OUT, has_learnt=True, groups=groups)
    is_known = (LABELS >= 0) & (PREDICTED >= 0)
    expected = rrm_core.estimate_contamination(
        LABELS[is_known],
        PREDICTED[is_known],
        CONFIDENCE[is_known],
        HELD_OUT[is_known],
        groups=rrm_core.Groups(groups.numbers[is_known], 2),
    )
    assert estimate.by_group == expected.by_group == pytest.approx((1, 0))


def test_few_samples_held_out_are_named_as_a_reason():
    labels = np.arange(400) % 2
    everything = np.ones(400, bool)
    estimate = estimate_if_learnt(labels, labels, np.ones(400), everything, has_learnt=True)
    window = Window([count_agreement(labels, 1 - labels, everything)])
    message = doubt_about(estimate, window, has_learnt=False, is_used=True, end="", hint="")
    assert "or so few samples can't tell" not in message
