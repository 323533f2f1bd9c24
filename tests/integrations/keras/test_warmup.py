"""The warm-up of rrm_keras without a model: rounds, predictions, estimate, state."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from rrm_keras.classes import are_probabilities, predict_classes, read_labels
from rrm_keras.run import Run, Scores, begin
from rrm_keras.settings import make_settings
from rrm_keras.state import load_states, save_states
from rrm_keras.warmup import Predictions, combine_passes
from rrm_torch.weighting.estimation import combine_passes as combine_encoded
from rrm_torch.weighting.held_out import held_out, warmup_weights
from rrm_torch.weighting.outputs import encode_predictions

N = 1000
DEFAULTS = {
    "contamination": "auto",
    "warmup": None,
    "every": 1,
    "mu": 1.0,
    "redistribute": "kept",
    "ties": "keep",
    "groups": None,
    "cap": None,
    "seed": 0,
}


def settings(**options):
    return make_settings(N, **{**DEFAULTS, **options})


def scores(labels, accuracy, rng):
    """Return scores of a model that predicts labels with an accuracy."""
    predicted = np.where(rng.random(N) < accuracy, labels, (labels + 1) % 10).astype(np.int32)
    return Scores(rng.random(N).astype(np.float32), labels, Predictions(predicted, rng.random(N)))


def test_held_out_samples_and_weights_are_those_of_rrm_torch():
    state = begin(settings(seed=3))
    np.testing.assert_array_equal(state.warmup.held_out, held_out(0, N, 3).numpy())
    np.testing.assert_array_equal(state.weights, warmup_weights(N, 0, N, 3, keeps_mass=True).numpy())
    state = begin(settings(redistribute="drop"))
    np.testing.assert_array_equal(state.weights, warmup_weights(N, 0, N, 0, keeps_mass=False).numpy())


def test_a_warmup_ends_when_the_agreement_stops_rising():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, N)
    run = Run(settings(), epochs=90, n_batches=40)
    state = begin(run.settings)
    for accuracy in (0.2, 0.4, 0.6, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7):
        assert run.needs_scores(state)
        state = run.end_epoch(state, scores(labels, accuracy, rng))
        if state.warmup is None:
            break
    assert 6 <= state.warmup_end <= 10
    assert state.estimate.epoch == state.warmup_end
    # Errors that differ between epochs are outvoted.
    assert 0.1 < state.estimate.contamination < 0.3
    assert state.n_reweights == 1
    assert not state.is_pruned[held_out(0, N, 0).numpy()].any()


def test_states_are_the_same_after_a_file(tmp_path):
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 10, N)
    run = Run(settings(mu=0.5), epochs=12, n_batches=40)
    states = [begin(run.settings)]
    for _ in range(6):
        states.append(run.end_epoch(states[-1], scores(labels, 0.7, rng)))
    assert {state.warmup is None for state in states} == {True, False}
    for previous, state in itertools.pairwise(states):
        save_states(tmp_path / "rrm.npz", run.settings, [state, previous])
        loaded = load_states(tmp_path / "rrm.npz", run.settings)
        for before, after in zip([state, previous], loaded, strict=True):
            follow_up = scores(labels, 0.7, np.random.default_rng(2))
            assert run.plan_again(after) == before.plan
            if before.warmup is not None:
                assert arrays_of(after.warmup.passes) == arrays_of(before.warmup.passes)
                assert arrays_of(after.warmup.best_passes) == arrays_of(before.warmup.best_passes)
            first = run.end_epoch(before, follow_up)
            second = run.end_epoch(after, follow_up)
            np.testing.assert_array_equal(first.weights, second.weights)
            np.testing.assert_array_equal(first.excess_sum, second.excess_sum)
            assert repr(first.estimate) == repr(second.estimate)
            assert (first.epoch, first.warmup_end) == (second.epoch, second.warmup_end)


def arrays_of(passes):
    """Return the arrays of predictions as lists, which can be compared."""
    return [[array.tolist() for array in predictions] for predictions in passes]


def test_a_model_that_has_learnt_nothing_warns_where_the_contamination_is_given():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, N)
    run = Run(settings(contamination=0.2, warmup="auto"), epochs=3, n_batches=40)
    with pytest.warns(UserWarning, match="by chance .*, and its losses say as little about the labels"):
        run.end_epoch(begin(run.settings), scores(labels, 0.0, rng))


def test_passes_are_combined_as_by_rrm_torch():
    import torch

    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 50, 4, generator=generator)
    codes = torch.stack([encode_predictions(part, 0) for part in logits])
    expected, sums = combine_encoded(codes)
    passes = tuple(predict_classes(part.numpy().astype(np.float64), from_logits=True) for part in logits)
    predicted, confidence = combine_passes(passes)
    np.testing.assert_array_equal(predicted, expected.numpy())
    np.testing.assert_allclose(confidence, sums.numpy(), atol=1e-3)


def test_outputs_become_classes():
    nan = np.array([[0.0, 2.0], [np.nan, 0.0]])
    predicted, confidence = predict_classes(nan, from_logits=True)
    assert predicted.tolist() == [1, -1]
    assert confidence[0] == pytest.approx(1 / (1 + np.exp(-2)))
    assert predict_classes(np.array([-3.0, 3.0]), from_logits=True).predicted.tolist() == [0, 1]
    assert predict_classes(np.array([0.2, 0.9]), from_logits=False).confidence.tolist() == pytest.approx([0.8, 0.9])
    assert are_probabilities(np.array([[0.2, 0.8]]))
    assert not are_probabilities(np.array([[0.2, 0.9]]))
    assert not are_probabilities(np.array([0.2, 1.1]))


def test_targets_become_classes():
    assert read_labels(np.array([[0.0], [1.0]]), 2, "auto").tolist() == [0, 1]
    assert read_labels(np.array([[0.1, 0.9], [1.0, 0.0]]), 2, "auto").tolist() == [1, 0]
    assert read_labels(np.array([2, -5]), 3, "auto").tolist() == [2, -1]
    with pytest.raises(ValueError, match="needs targets that are classes"):
        read_labels(np.array([0.5]), 3, "auto")
