"""The loss of ProMix for a batch: recorded numbers, weights, agreement, few samples."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.testing import assert_close

from rrm_torch.methods.fmix import FMixMask
from rrm_torch.methods.promix_loss import LossSettings, Mixing, Priors, agreement, step
from rrm_torch.methods.soft_labels import soft_cross_entropy
from support.fixture_networks import N_CLASSES
from support.promix_step import (
    CHOSEN,
    LABELS,
    SIZE,
    gradient_of,
    published_settings,
    step_batch,
    step_mixing,
    step_networks,
    step_priors,
)
from support.recorded_numbers import largest_difference, recorded_numbers
from support.torch_defaults import default_dtype

TOLERANCE = 1e-6
PRIOR_TOLERANCE = 5e-8
"""Smaller: a batch moves the priors by a ten-thousandth only."""
ONLY_CHOSEN = LossSettings(1.0, 0.0, confidence=0.999, agreement_confidence=0.999)
"""No sample is added to the chosen ones, and no label is guessed."""


def run_step(batch, settings=ONLY_CHOSEN, networks=None, priors=None):
    """Return the result of the recorded step for another batch, and the gradient."""
    networks = step_networks() if networks is None else networks
    priors = step_priors() if priors is None else priors
    result = step(networks, batch, step_mixing(), priors, settings)
    if result.loss.requires_grad:
        result.loss.backward()
    return result, gradient_of(networks)


def assert_same_bits(first, second):
    (result, gradient), (other, other_gradient) = first, second
    assert torch.equal(result.loss, other.loss)
    assert torch.equal(gradient, other_gradient)
    assert torch.equal(result.priors.chosen, other.priors.chosen)
    assert torch.equal(result.priors.unchosen, other.priors.unchosen)


# Recorded numbers


@pytest.mark.parametrize("epoch", [12, 60, 120, 400])
def test_step_has_the_recorded_gradient_and_priors(epoch, record_property):
    recorded = recorded_numbers("promix")[f"promix_{epoch}"]
    settings = published_settings().loss_at(epoch)
    assert settings.agrees == (epoch == 400)
    result, gradient = run_step(step_batch(), settings)
    priors = torch.cat([result.priors.chosen, result.priors.unchosen])
    differences = {
        "gradient": largest_difference(gradient, recorded["gradient"]),
        "priors": largest_difference(priors, recorded["priors"]),
    }
    for name, difference in differences.items():
        record_property(name, difference)
    assert differences["gradient"] < TOLERANCE, differences
    assert differences["priors"] < PRIOR_TOLERANCE, differences


def test_views_and_mixtures_are_forwards_of_their_own():
    networks = step_networks()
    before = copy.deepcopy(networks)
    batch = step_batch()
    run_step(batch, networks=networks)
    fmix = step_mixing().fmix
    for network, expected, chosen in zip(networks, before, CHOSEN, strict=True):
        x = batch.weak[chosen]
        for inputs in (batch.weak, batch.strong, 0.7 * x + 0.3 * x.roll(1, 0), fmix(x, torch.arange(len(x)).roll(2))):
            expected.both(inputs)
        norm, expected_norm = network.backbone.norm, expected.backbone.norm
        assert norm.num_batches_tracked == expected_norm.num_batches_tracked == 4
        assert_close(norm.running_mean, expected_norm.running_mean, atol=1e-7, rtol=1e-6)
        assert_close(norm.running_var, expected_norm.running_var, atol=1e-7, rtol=1e-6)


def test_loss_weights_of_an_epoch():
    settings = published_settings(confidence=0.99, agreement_confidence=0.95, debiasing=0.5)
    assert settings.loss_at(1) == LossSettings(0.02, 0.001, 0.99, 0.95, 0.5, agrees=False)
    assert settings.loss_at(50) == LossSettings(1.0, 0.05, 0.99, 0.95, 0.5, agrees=False)
    assert settings.loss_at(100) == LossSettings(1.0, 0.1, 0.99, 0.95, 0.5, agrees=False)
    assert settings.loss_at(101) == LossSettings(1.0, 0.0, 0.99, 0.95, 0.5, agrees=False)
    assert settings.loss_at(350) == settings.loss_at(101)
    assert settings.loss_at(351) == LossSettings(1.0, 0.0, 0.99, 0.95, 0.5, agrees=True)


# Weights


def test_labels_of_weight_1_have_the_bits_of_no_weights():
    settings = published_settings().loss_at(60)
    assert_same_bits(run_step(step_batch(), settings), run_step(step_batch(weights=torch.ones(2, SIZE)), settings))


@pytest.mark.parametrize("k", [0, 1])
@pytest.mark.parametrize("epoch", [60, 400])
def test_label_of_weight_0_has_no_influence(k, epoch):
    settings = published_settings(confidence=0.35, agreement_confidence=0.3).loss_at(epoch)
    # Of network k the sample is chosen, and its weight is 0; the other network must not use its label either.
    sample = (0, 1)[k]
    chosen = CHOSEN.clone()
    chosen[:, sample] = True
    weights = 1 + torch.arange(2.0 * SIZE).reshape(2, SIZE) / 10
    weights[:, sample] = 0
    runs = []
    for label in range(N_CLASSES):
        labels = LABELS.clone()
        labels[sample] = label
        runs.append(run_step(step_batch(labels, chosen, weights), settings))
    for run in runs[1:]:
        assert_same_bits(run, runs[0])


@pytest.mark.parametrize("k", [0, 1])
def test_weights_are_those_of_each_network(k):
    # The last sample is chosen by both; its label has weight 0 in network k alone.
    chosen = CHOSEN.clone()
    chosen[:, 7] = True
    weights = torch.ones(2, SIZE)
    weights[k, 7] = 0
    gradients = []
    for label in range(2):
        labels = LABELS.clone()
        labels[7] = label
        gradients.append(run_step(step_batch(labels, chosen, weights))[1].chunk(2))
    assert torch.equal(gradients[0][k], gradients[1][k])
    assert not torch.equal(gradients[0][1 - k], gradients[1][1 - k])


@pytest.mark.parametrize("factor", [0.0, 2.0])
def test_loss_of_chosen_samples_is_proportional_to_their_weights(factor):
    result, gradient = run_step(step_batch(weights=torch.ones(2, SIZE)))
    scaled, scaled_gradient = run_step(step_batch(weights=torch.full((2, SIZE), factor)))
    assert_close(scaled.loss, factor * result.loss)
    assert_close(scaled_gradient, factor * gradient)


def test_each_weight_multiplies_all_terms_of_its_label():
    # The loss is the sum over labels of weight times a term of this label.
    weights = torch.ones(2, SIZE)
    whole = run_step(step_batch(weights=weights))[0].loss
    terms = []
    for k in range(2):
        for sample in CHOSEN[k].nonzero()[:, 0]:
            single = torch.zeros(2, SIZE)
            single[k, sample] = 1
            terms.append(run_step(step_batch(weights=single))[0].loss)
    assert all(term > 0 for term in terms)
    assert_close(sum(terms), whole)


def test_weights_do_not_reach_guessed_labels():
    settings = LossSettings(1.0, 0.1, confidence=0.999, agreement_confidence=0.999)
    guessed = []
    for factor in (1.0, 2.0):
        weights = torch.where(CHOSEN, 1.0, factor)
        guessed.append(run_step(step_batch(weights=weights), settings))
    assert_same_bits(*guessed)


def test_labels_added_by_confidence_have_their_weights():
    settings = published_settings(confidence=0.3).loss_at(120)
    result, _ = run_step(step_batch(), settings)
    assert (result.n_chosen > CHOSEN.sum(1)).any(), "no sample is added"
    outside, _ = run_step(step_batch(weights=torch.where(CHOSEN, 1.0, 3.0)), settings)
    assert outside.loss > result.loss


# Matched confidence


@pytest.mark.parametrize("confidence", [0.15, 0.2, 0.25, 0.3])
def test_samples_are_added_whose_label_the_primary_head_predicts_with_confidence(confidence):
    batch = step_batch()
    p = torch.stack([network.both(batch.weak).primary.softmax(1) for network in step_networks()])
    chosen = CHOSEN | (p[:, torch.arange(SIZE), LABELS] > confidence)
    assert (chosen != CHOSEN).any()
    # Priors far from uniform, by which confidence is not shifted.
    prior = torch.tensor([0.9, 0.07, 0.01, 0.01, 0.01]).expand(2, -1)
    priors = Priors(prior, prior.flip(1))
    result = run_step(batch, LossSettings(1.0, 0.1, confidence, 0.999), priors=priors)
    expected = run_step(step_batch(chosen=chosen), LossSettings(1.0, 0.1, 0.999, 0.999), priors=priors)
    assert_same_bits(result, expected)


def test_confidence_adds_no_pruned_sample():
    pruned = torch.zeros(2, SIZE, dtype=torch.bool)
    pruned[0, 1] = pruned[1, 3] = True
    everything = torch.ones(2, SIZE, dtype=torch.bool)
    settings = LossSettings(1.0, 0.1, 1e-6, 0.999)
    without = run_step(step_batch(pruned=pruned), settings)
    assert_same_bits(without, run_step(step_batch(chosen=everything & ~pruned), LossSettings(1.0, 0.1, 0.999, 0.999)))
    # Those that are chosen with weight 0 stay.
    assert_same_bits(run_step(step_batch(pruned=CHOSEN), settings), run_step(step_batch(chosen=everything), settings))


# Guessed labels


def test_guess_is_the_sharpened_prediction_of_the_primary_head_without_the_prior():
    # Nothing is chosen, so that the loss is that of the guesses.
    nothing = torch.zeros(2, SIZE, dtype=torch.bool)
    settings = LossSettings(0.5, 0.2, confidence=0.999, agreement_confidence=0.999, debiasing=0.7)
    networks = step_networks()
    batch = step_batch(chosen=nothing)
    expected = 0.0
    for network, prior in zip(copy.deepcopy(networks), step_priors().unchosen, strict=True):
        weak, strong = network.both(batch.weak), network.both(batch.strong)
        debiased = weak.primary.softmax(1) / prior**0.7
        targets = debiased**2
        targets = (targets / targets.sum(1, keepdim=True)).detach()
        shift = 0.7 * prior.log()
        expected = expected + 0.2 * soft_cross_entropy(weak.pseudo + shift, targets).mean()
        expected = expected + 0.2 * 0.5 * soft_cross_entropy(strong.pseudo + shift, targets).mean()
    result, gradient = run_step(batch, settings, networks)
    assert_close(result.loss, expected)
    of_primary_head = gradient.chunk(2)[0][-2 * (4 * N_CLASSES + N_CLASSES) : -(4 * N_CLASSES + N_CLASSES)]
    assert (of_primary_head == 0).all()


# Agreement


def two_networks(*rows):
    """Return two networks' probabilities from rows (class, confidence, other class, other confidence)."""
    first, second = torch.zeros(len(rows), 3), torch.zeros(len(rows), 3)
    for i, (k, p, other_k, other_p) in enumerate(rows):
        first[i] = (1 - p) / 2
        first[i, k] = p
        second[i] = (1 - other_p) / 2
        second[i, other_k] = other_p
    return [first, second]


def test_agreement_needs_one_class_and_the_confidence_of_both():
    probabilities = two_networks(
        (0, 0.9, 0, 0.95),
        (0, 0.9, 1, 0.95),
        (2, 0.9, 2, 0.7),
        (2, 0.7, 2, 0.9),
        (1, 0.99, 1, 0.81),
        (1, 0.99, 1, 0.99),
    )
    chosen = torch.tensor([False] * 5 + [True])
    assert agreement(probabilities, chosen, 0.8).tolist() == [True, False, False, False, True, False]
    assert agreement(probabilities[::-1], chosen, 0.8).tolist() == [True, False, False, False, True, False]
    assert not agreement(probabilities, chosen, 0.96).any()


def test_agreement_adds_the_most_confident_until_90_percent_have_a_label():
    # 20 samples, of which 14 are chosen: 4 are added, in the order of the mean of both confidences.
    pairs = [(0.99, 0.83), (0.9, 0.9), (0.85, 0.99), (0.97, 0.96), (0.82, 0.85), (0.95, 0.9)]
    rows = [(1, p, 1, other) for p, other in pairs] + [(0, 0.99, 0, 0.99)] * 14
    chosen = torch.arange(20) >= 6
    added = agreement(two_networks(*rows), chosen, 0.8)
    assert added.nonzero()[:, 0].tolist() == [0, 2, 3, 5]


@pytest.mark.parametrize(("n_chosen", "n_added"), [(0, 9), (8, 1), (9, 0), (10, 0), (5, 4)])
def test_agreement_fills_what_is_free(n_chosen, n_added):
    probabilities = two_networks(*[(2, 0.95, 2, 0.95)] * 10)
    chosen = torch.arange(10) < n_chosen
    added = agreement(probabilities, chosen, 0.9)
    assert int(added.sum()) == n_added
    assert not (added & chosen).any()


def test_agreement_adds_all_where_they_fit():
    probabilities = two_networks(*[(2, 0.95, 2, 0.95)] * 3, *[(0, 0.4, 0, 0.4)] * 7)
    assert agreement(probabilities, torch.zeros(10, dtype=torch.bool), 0.9).tolist() == [True] * 3 + [False] * 7


def agreeing_networks():
    """Return networks that predict one class, which most samples don't have; the two differ in their confidence."""
    networks = step_networks()
    with torch.no_grad():
        for network, shift in zip(networks, (2.5, 3.0), strict=True):
            network.primary.bias[2] += shift
    return networks


@pytest.mark.parametrize("weighted", [False, True])
def test_agreed_samples_learn_the_predicted_class_with_weight_1(weighted):
    settings = LossSettings(1.0, 0.1, confidence=0.999, agreement_confidence=0.5, agrees=True)
    chosen = torch.zeros(2, SIZE, dtype=torch.bool)
    chosen[:, :3] = True
    weights = torch.where(chosen, 1.5, 0.2) if weighted else None
    result, gradient = run_step(step_batch(chosen=chosen, weights=weights), settings, agreeing_networks())
    # Of 8 samples 7 may have a label.
    assert result.n_chosen.tolist() == [7, 7]
    batch = step_batch()
    probabilities = [network.both(batch.weak).primary.softmax(1) for network in agreeing_networks()]
    agreed = agreement(probabilities, chosen[0], 0.5)
    assert int(agreed.sum()) == 4
    labels = torch.where(agreed, probabilities[0].argmax(1), LABELS)
    assert (labels[agreed] != LABELS[agreed]).any()
    weights = torch.where(chosen, 1.5, 1.0) if weighted else None
    settings = LossSettings(1.0, 0.1, confidence=0.999, agreement_confidence=0.999)
    expected, expected_gradient = run_step(step_batch(labels, chosen | agreed, weights), settings, agreeing_networks())
    assert torch.equal(result.loss, expected.loss)
    assert torch.equal(gradient, expected_gradient)


def test_the_class_of_agreed_samples_is_guessed_without_the_prior():
    settings = LossSettings(1.0, 0.0, confidence=0.999, agreement_confidence=0.5, debiasing=0.9, agrees=True)
    chosen = torch.zeros(2, SIZE, dtype=torch.bool)
    chosen[:, :3] = True
    networks = [agreeing_networks()[0] for _ in range(4)]  # equal ones, which guess the same
    # They predict class 2 of most samples, and nearly all predictions so far were of class 2.
    prior = torch.tensor([0.001, 0.001, 0.996, 0.001, 0.001])
    priors = Priors(torch.stack([prior, prior]), step_priors().unchosen)
    with torch.no_grad():
        logits = agreeing_networks()[0].both(step_batch().weak).primary
    agreed = agreement([logits.softmax(1)] * 2, chosen[0], 0.5)
    guesses = (logits - 0.9 * prior.log()).argmax(1)
    assert (guesses[agreed] != logits.argmax(1)[agreed]).any()
    result, gradient = run_step(step_batch(chosen=chosen), settings, networks[:2], priors)
    settings = LossSettings(1.0, 0.0, confidence=0.999, agreement_confidence=0.999, debiasing=0.9)
    labels = torch.where(agreed, guesses, LABELS)
    expected, expected_gradient = run_step(step_batch(labels, chosen | agreed), settings, networks[2:], priors)
    assert torch.equal(result.loss, expected.loss)
    assert torch.equal(gradient, expected_gradient)


def test_agreed_samples_count_for_the_priors_of_samples_without_a_label():
    chosen = torch.zeros(2, SIZE, dtype=torch.bool)
    chosen[:, :3] = True
    with_agreement, without = (
        run_step(
            step_batch(chosen=chosen),
            LossSettings(1.0, 0.1, confidence=0.999, agreement_confidence=0.5, agrees=agrees),
            agreeing_networks(),
        )[0]
        for agrees in (True, False)
    )
    assert with_agreement.n_chosen.tolist() != without.n_chosen.tolist()
    assert torch.equal(with_agreement.priors.chosen, without.priors.chosen)
    assert torch.equal(with_agreement.priors.unchosen, without.priors.unchosen)


def test_agreement_adds_pruned_samples_with_the_predicted_class():
    settings = LossSettings(1.0, 0.0, confidence=0.999, agreement_confidence=0.5, agrees=True)
    chosen = torch.zeros(2, SIZE, dtype=torch.bool)
    chosen[:, :4] = True
    batches = [step_batch(chosen=chosen, pruned=pruned) for pruned in (None, ~chosen)]
    first, second = (run_step(batch, settings, agreeing_networks()) for batch in batches)
    assert first[0].n_chosen.tolist() == [7, 7]
    assert_same_bits(first, second)


def test_without_agreement_confident_networks_add_nothing():
    settings = LossSettings(1.0, 0.0, confidence=0.999, agreement_confidence=0.5, agrees=False)
    result, _ = run_step(step_batch(), settings, agreeing_networks())
    assert result.n_chosen.tolist() == CHOSEN.sum(1).tolist()


# Priors


def test_uniform_priors_shift_nothing():
    priors = Priors.uniform(4)
    assert_close(priors.chosen, torch.full((2, 4), 0.25))
    assert_close(priors.unchosen, torch.full((2, 4), 0.25))


def test_uniform_priors_do_not_depend_on_the_default_dtype():
    # A moving average in bfloat16 would stay where it is.
    with default_dtype(torch.bfloat16):
        priors = Priors.uniform(4)
    assert priors.chosen.dtype == priors.unchosen.dtype == torch.float32


def test_priors_move_towards_the_mean_prediction_of_their_samples():
    before = step_priors()
    probabilities = [torch.rand(4, N_CLASSES, generator=torch.Generator().manual_seed(k)).softmax(1) for k in range(2)]
    chosen = [torch.tensor([True, False, True, False]), torch.tensor([True, True, True, False])]
    after = before.updated(probabilities, chosen)
    for k in range(2):
        means = probabilities[k][chosen[k]].mean(0), probabilities[k][~chosen[k]].mean(0)
        assert_close(after.chosen[k], 0.9999 * before.chosen[k] + 0.0001 * means[0], atol=1e-8, rtol=1e-7)
        assert_close(after.unchosen[k], 0.9999 * before.unchosen[k] + 0.0001 * means[1], atol=1e-8, rtol=1e-7)
    assert_close(before.chosen, step_priors().chosen, atol=0, rtol=0)


@pytest.mark.parametrize("is_chosen", [True, False])
def test_a_prior_without_samples_in_the_batch_stays_as_it_is(is_chosen):
    batch = step_batch(chosen=torch.full((2, SIZE), is_chosen))
    result, _ = run_step(batch)
    before = step_priors()
    assert torch.equal(result.priors.unchosen, before.unchosen) == is_chosen
    assert torch.equal(result.priors.chosen, before.chosen) == (not is_chosen)


# Few samples


@pytest.mark.parametrize("pseudo_weight", [0.0, 0.1])
@pytest.mark.parametrize("n_chosen", [0, 1, 2, SIZE])
def test_any_number_of_chosen_samples_has_a_finite_loss(n_chosen, pseudo_weight):
    chosen = torch.zeros(2, SIZE, dtype=torch.bool)
    chosen[0, :n_chosen] = True
    chosen[1] = CHOSEN[1]
    settings = LossSettings(1.0, pseudo_weight, confidence=0.999, agreement_confidence=0.999, agrees=True)
    result, gradient = run_step(step_batch(chosen=chosen), settings)
    assert result.loss.isfinite()
    assert gradient.isfinite().all()
    assert (gradient.chunk(2)[0] != 0).any() == (n_chosen > 0 or pseudo_weight > 0)
    assert result.n_chosen.tolist() == [n_chosen, 4]


def test_a_single_chosen_sample_is_not_mixed():
    networks = step_networks()
    before = copy.deepcopy(networks)
    chosen = torch.zeros(2, SIZE, dtype=torch.bool)
    chosen[0, 3] = True
    batch = step_batch(chosen=chosen)
    result, _ = run_step(batch, networks=networks)
    shift = 0.8 * step_priors().chosen[0].log()
    heads = [*before[0].both(batch.weak), *before[0].both(batch.strong)]
    assert_close(result.loss, sum(-(head + shift).log_softmax(1)[3, LABELS[3]] for head in heads))
    assert networks[0].backbone.norm.num_batches_tracked == 2


def test_batches_of_two_samples_can_be_mixed():
    x = step_batch().weak[:2]
    batch = step_batch(LABELS[:2], torch.ones(2, 2, dtype=torch.bool))
    batch = type(batch)(x, x, batch.labels, batch.chosen)
    mixing = Mixing(0.6, FMixMask(torch.ones(1, 8, 8), 1.0), lambda m: torch.arange(m).flip(0))
    assert step(step_networks(), batch, mixing, step_priors(), ONLY_CHOSEN).loss.isfinite()
