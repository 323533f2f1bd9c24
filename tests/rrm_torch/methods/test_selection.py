from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from rrm_torch.methods.selection import (
    MixtureSettings,
    class_wise_small_loss,
    low_probability,
    normalise,
    otsu_threshold,
)
from support.fixture_networks import fill
from support.recorded_numbers import largest_difference, recorded_numbers

LOSSES = 4 * fill(500, 7).abs() ** 3
LABELS = torch.arange(500) % 5


def mask_of(hexadecimal, n=500):
    return torch.from_numpy(np.unpackbits(np.frombuffer(bytes.fromhex(hexadecimal), np.uint8))[:n]).bool()


def clean_probability(losses, labels=None, **options):
    labels = torch.zeros(len(losses), dtype=torch.int64) if labels is None else labels
    settings = MixtureSettings(**options)
    return low_probability(normalise(losses, settings.clip), labels, settings)


def noisy_losses(n=1000, share=0.3):
    """Return losses of two overlapping kinds, up to 5, and which of them are those of wrong labels."""
    generator = torch.Generator().manual_seed(0)
    is_wrong = torch.arange(n) < share * n
    right = 0.3 + 0.4 * torch.randn(n, generator=generator).abs()
    wrong = 3 + 0.6 * torch.randn(n, generator=generator)
    return torch.where(is_wrong, wrong, right).clamp(0, 5), is_wrong


def test_mixture_selects_the_recorded_samples():
    recorded = recorded_numbers("selection")
    probability = clean_probability(LOSSES, LABELS)
    assert torch.equal(probability > 0.5, mask_of(recorded["gmm_mask_hex"]))
    assert int((probability > 0.5).sum()) == recorded["gmm_selected"]
    difference = largest_difference(probability[:20], recorded["gmm_first_20"])
    print("largest difference of a probability:", difference)
    assert difference < 1e-6


def test_class_wise_small_loss_selects_the_recorded_samples():
    mask = mask_of(recorded_numbers("selection")["css_mask_hex"])
    assert torch.equal(class_wise_small_loss(LOSSES, LABELS, 0.5, 5), mask)


def test_normalised_values_lie_between_0_and_1():
    assert_close(normalise(torch.tensor([2.0, 6.0, 3.0])), torch.tensor([0.0, 1.0, 0.25]))
    assert_close(normalise(torch.tensor([2.0, 6.0], dtype=torch.bfloat16)), torch.tensor([0.0, 1.0]))
    assert normalise(torch.tensor([2.0, 6.0], dtype=torch.float64)).dtype == torch.float64


@pytest.mark.parametrize("n", [0, 1, 5])
def test_equal_values_are_normalised_to_0(n):
    assert torch.equal(normalise(torch.full((n,), 3.0)), torch.zeros(n))


@pytest.mark.parametrize("value", [torch.inf, torch.nan])
def test_values_that_are_not_finite_are_refused_by_name(value):
    with pytest.raises(ValueError, match=f"must be finite .*, got {value} for sample 2, and 2 of 5 .*clip=0.99"):
        normalise(torch.tensor([1.0, 2.0, value, 4.0, value]))


def test_clip_cuts_infinite_values_off():
    values = normalise(torch.tensor([0.0, 1.0, torch.inf, 4.0]), clip=1.0)
    assert_close(values, torch.tensor([0.0, 0.25, 1.0, 1.0]))


def test_clip_does_not_hide_nan():
    with pytest.raises(ValueError, match="got nan for sample 1"):
        normalise(torch.tensor([0.0, torch.nan]), clip=0.99)


@pytest.mark.parametrize("clip", [0.0, 1.5, -0.1])
def test_clip_outside_0_and_1_is_refused(clip):
    with pytest.raises(ValueError, match=r"clip must lie in \(0, 1\]"):
        MixtureSettings(clip=clip)


def test_one_outlier_spoils_the_selection_only_without_clip():
    losses, is_wrong = noisy_losses()

    def share_of_wrong(losses, **options):
        return float(is_wrong[clean_probability(losses, **options) > 0.5].float().mean())

    usual = share_of_wrong(losses)
    with_outlier = losses.clone()
    with_outlier[0] = 30
    assert share_of_wrong(with_outlier) > usual + 0.05
    assert share_of_wrong(with_outlier, clip=0.99) <= usual + 0.005
    with_outlier[0] = torch.inf
    assert share_of_wrong(with_outlier, clip=0.99) <= usual + 0.005


def test_a_mixture_by_class_selects_samples_of_a_hard_class():
    losses, is_wrong = noisy_losses(400)
    generator = torch.Generator().manual_seed(1)
    hard = 2.5 + 0.3 * torch.randn(100, generator=generator)
    hard[:30] += 2
    labels = torch.cat([torch.zeros(400), torch.ones(100)]).long()
    values = torch.cat([losses, hard])
    assert (clean_probability(values, labels) > 0.5)[labels == 1].float().mean() < 0.05
    of_hard = (clean_probability(values, labels, by_class=True) > 0.5)[labels == 1]
    assert of_hard[30:].float().mean() > 0.9
    assert of_hard[:30].float().mean() < 0.1
    of_easy = (clean_probability(values, labels, by_class=True) > 0.5)[labels == 0]
    assert is_wrong[of_easy.nonzero()[:, 0]].float().mean() < 0.05


@pytest.mark.parametrize("by_class", [False, True])
@pytest.mark.parametrize("losses", [torch.full((6,), 2.0), torch.tensor([2.0])])
def test_losses_that_are_all_equal_are_all_selected(losses, by_class):
    assert torch.equal(clean_probability(losses, by_class=by_class), torch.ones(len(losses)))


def test_a_class_with_one_sample_is_selected():
    losses, _ = noisy_losses(100)
    labels = torch.zeros(100, dtype=torch.int64)
    labels[0] = 4  # of a wrong label; classes 1 to 3 have no sample
    assert clean_probability(losses, labels, by_class=True)[0] == 1


@pytest.mark.parametrize("by_class", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_probabilities_have_the_type_of_the_values(dtype, by_class):
    losses, _ = noisy_losses(100)
    assert clean_probability(losses.to(dtype), by_class=by_class).dtype == dtype


def test_probability_is_that_of_the_lower_component():
    losses, is_wrong = noisy_losses()
    probability = clean_probability(losses)
    assert probability[~is_wrong].mean() > 0.9
    assert probability[is_wrong].mean() < 0.1


def test_missing_scikit_learn_names_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.mixture", None)
    with pytest.raises(ImportError, match="pip install scikit-learn"):
        MixtureSettings()


def test_balanced_quota_is_at_most_the_class():
    labels = torch.tensor([0, 0, 0, 0, 0, 0, 0, 1])
    chosen = class_wise_small_loss(torch.arange(8.0), labels, 0.5, 2)
    assert chosen.nonzero()[:, 0].tolist() == [0, 1, 7]


def test_class_quota_is_a_share_of_the_class():
    labels = torch.tensor([0, 0, 0, 0, 0, 0, 1, 1])
    chosen = class_wise_small_loss(torch.arange(8.0).flip(0), labels, 0.5, 3, quota="class")
    assert chosen.nonzero()[:, 0].tolist() == [3, 4, 5, 7]


def test_small_losses_may_be_infinite_but_not_nan():
    losses = torch.tensor([torch.inf, 2.0, 1.0, torch.inf])
    labels = torch.zeros(4, dtype=torch.int64)
    assert class_wise_small_loss(losses, labels, 0.75, 1).tolist() == [True, True, True, False]
    losses[1] = torch.nan
    with pytest.raises(ValueError, match="losses must not be NaN, got NaN for sample 1, and 1 of 4"):
        class_wise_small_loss(losses, labels, 0.75, 1)


def test_small_losses_that_tie_are_chosen_in_order():
    chosen = class_wise_small_loss(torch.ones(6), torch.zeros(6, dtype=torch.int64), 0.5, 1)
    assert chosen.nonzero()[:, 0].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("values", "expected"),
    [([0.0, 1.0, 10.0, 11.0], 5.5), ([3.0, 3.0, 3.0], 3.0), ([7.0], 7.0), ([1.0, 1.0, 1.0, 5.0], 3.0)],
)
def test_otsu_threshold_lies_between_the_two_parts(values, expected):
    assert otsu_threshold(np.array(values)) == expected


def test_otsu_threshold_maximises_the_variance_between_the_parts():
    values = np.random.default_rng(0).normal(size=40).round(1)
    candidates = np.unique(values)

    def between(threshold):
        low, high = values[values <= threshold], values[values > threshold]
        return len(low) * len(high) * (low.mean() - high.mean()) ** 2

    best = max(between(threshold) for threshold in candidates[:-1])
    assert between(otsu_threshold(values)) == pytest.approx(best)
