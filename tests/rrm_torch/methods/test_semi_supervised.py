from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from rrm_torch.methods.mixup import MixUp
from rrm_torch.methods.semi_supervised import guess_targets, loss_terms, mix
from rrm_torch.methods.soft_labels import mean_prediction, sharpen
from support.fixture_networks import filled, small_network
from support.recorded_numbers import LABELS, PARTNERS, division_batch, division_mixup


def pair():
    return filled(small_network(), 10).train(), filled(small_network(), 20).eval()


def terms_and_gradient(batch, mixup=None):
    model, other = pair()
    mixed = mix(batch, guess_targets(model, other, batch, 0.5), mixup or division_mixup())
    terms = loss_terms(model(mixed.inputs), mixed, 25.0)
    terms.total.backward()
    return terms, torch.cat([parameter.grad.flatten() for parameter in model.parameters()])


def outcome(batch):
    """Return the bits of all terms and of the gradient."""
    terms, gradient = terms_and_gradient(batch)
    return [term.tolist() for term in terms[:3]], gradient.tolist()


def test_labels_of_unlabelled_samples_are_guessed_by_both_networks():
    batch = division_batch()
    targets = guess_targets(*pair(), batch, 0.5)
    model, other = pair()
    outputs = [network(view) for network in (model, other) for view in batch.unlabelled]
    assert_close(targets.unlabelled, sharpen(mean_prediction(outputs), 0.5))


def test_labelled_targets_keep_a_share_of_the_label():
    batch = division_batch()
    targets = guess_targets(*pair(), batch, 0.5).labelled
    model, _ = pair()
    with torch.no_grad():
        for view in batch.unlabelled:
            model(view)
        prediction = mean_prediction([model(batch.first), model(batch.second)])
    clean = batch.clean_probability[:, None]
    assert_close(targets, sharpen(clean * batch.labels + (1 - clean) * prediction, 0.5))


def test_a_certain_label_is_its_target():
    batch = replace(division_batch(), clean_probability=torch.ones(4))
    assert torch.equal(guess_targets(*pair(), batch, 0.5).labelled, batch.labels)


def test_guesses_pass_no_gradient_on():
    targets = guess_targets(*pair(), division_batch(), 0.5)
    assert not targets.labelled.requires_grad
    assert not targets.unlabelled.requires_grad


def test_unit_weights_are_no_weights():
    assert outcome(division_batch(weights=torch.ones(4))) == outcome(division_batch())


@pytest.mark.parametrize("pruned", range(4))
def test_a_pruned_label_has_no_influence(pruned):
    weights = torch.full((4,), 4 / 3)
    weights[pruned] = 0
    outcomes = []
    for label in range(5):
        labels = LABELS.clone()
        labels[pruned] = label
        outcomes.append(outcome(division_batch(labels, weights)))
    assert all(each == outcomes[0] for each in outcomes[1:])


def test_a_label_that_is_not_pruned_has_influence():
    labels = LABELS.clone()
    labels[1] = 0
    weights = torch.tensor([4 / 3, 0.1, 4 / 3, 4 / 3])
    assert outcome(division_batch(labels, weights)) != outcome(division_batch(LABELS, weights))


def test_weights_multiply_targets_before_mixing():
    weights = torch.tensor([0.0, 2.0, 0.5, 1.5])
    batch = division_batch(weights=weights)
    targets = guess_targets(*pair(), batch, 0.5)
    mixed = mix(batch, targets, division_mixup())
    labelled = targets.labelled * weights[:, None]
    rows = torch.cat([labelled, labelled, targets.unlabelled, targets.unlabelled])
    assert_close(mixed.labelled, (0.7 * rows + 0.3 * rows[PARTNERS])[:8])


def test_targets_of_the_squared_error_have_no_weights():
    batch = division_batch(weights=torch.tensor([0.5, 2.0, 0.5, 1.0]))
    targets = guess_targets(*pair(), batch, 0.5)
    rows = torch.cat([targets.labelled, targets.labelled, targets.unlabelled, targets.unlabelled])
    expected = (0.7 * rows + 0.3 * rows[PARTNERS])[8:]
    assert_close(mix(batch, targets, division_mixup()).unlabelled, expected)
    assert_close(expected.sum(1), torch.ones(8))


def test_a_weight_scales_the_loss_of_its_label():
    # Without partners the labelled loss is the weighted mean of the samples' losses.
    mixup = MixUp(1.0, PARTNERS)
    batch = division_batch()
    unit, _ = terms_and_gradient(batch, mixup)
    singles = []
    for i in range(4):
        weights = torch.zeros(4)
        weights[i] = 1
        # All labels are certain, so that a weight of 0 does not change another target.
        singles.append(terms_and_gradient(replace(batch, weights=weights), mixup)[0].labelled)
    assert_close(sum(singles), unit.labelled)
    doubled, _ = terms_and_gradient(replace(batch, weights=torch.tensor([2.0, 1.0, 1.0, 1.0])), mixup)
    assert_close(doubled.labelled, unit.labelled + singles[0])
    assert_close(doubled.unlabelled, unit.unlabelled, atol=0, rtol=0)


def test_a_batch_without_unlabelled_samples_has_no_unlabelled_loss():
    batch = replace(division_batch(), unlabelled=None)
    assert batch.n_rows == 8
    model, other = pair()
    targets = guess_targets(model, other, batch, 0.5)
    mixed = mix(batch, targets, MixUp(0.7, torch.arange(8).flip(0)))
    assert targets.unlabelled is None
    assert len(mixed.unlabelled) == 0
    terms = loss_terms(model(mixed.inputs), mixed, 25.0)
    assert terms.unlabelled == 0
    assert_close(terms.total, terms.labelled + terms.penalty)


def test_total_is_the_weighted_sum_of_the_terms():
    terms, _ = terms_and_gradient(division_batch())
    assert_close(terms.total, terms.labelled + 25 * terms.unlabelled + terms.penalty)


def test_autocast_keeps_no_casts_of_the_guesses_for_the_pass_that_trains(monkeypatch):
    cleared = []
    clear = torch.clear_autocast_cache

    def record():
        cleared.append(torch.is_autocast_enabled("cpu"))
        clear()

    monkeypatch.setattr(torch, "clear_autocast_cache", record)
    batch = division_batch()
    model, other = pair()
    with torch.autocast("cpu", torch.bfloat16):
        mixed = mix(batch, guess_targets(model, other, batch, 0.5), division_mixup())
        assert cleared == [True]
        terms = loss_terms(model(mixed.inputs), mixed, 25.0)
    terms.total.backward()
    assert all(parameter.grad.count_nonzero() > 0 for parameter in model.parameters())
