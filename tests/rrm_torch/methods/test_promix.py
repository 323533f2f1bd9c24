"""ProMix: training, what each network chooses, few samples, and arguments."""

from __future__ import annotations

import inspect
import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from rrm_torch import RRM, Checkpoint
from rrm_torch.methods.draws import Draws
from rrm_torch.methods.promix import ProMix, draw_mixing
from rrm_torch.methods.promix_network import TwoHeadNetwork
from rrm_torch.methods.soft_labels import negative_entropy
from rrm_torch.methods.training_set import TrainingSet
from support.small_methods import N_CLASSES, N, networks, noisy_set, rrms
from support.small_promix import (
    make_promix,
    noisy_images,
    numbered_images,
    record_steps,
    script_promix,
    two_head_networks,
    visited,
)

INDEX = torch.arange(N)
BY_CLASS = INDEX % N_CLASSES
UP = INDEX.float()
DOWN = N - INDEX.float()
FIRST = torch.arange(24)
LAST = torch.arange(16, 48)


def is_finite(row):
    return bool(torch.tensor(row["loss"]).isfinite().all())


# Training


def test_learns_the_right_classes_and_chooses_right_labels():
    method = make_promix(share=0.6)
    history = method.fit(12)
    assert [row["epoch"] for row in history] == list(range(1, 13))
    truth = INDEX % N_CLASSES
    is_wrong = method.data.labels != truth
    for division in method.divisions:
        assert is_wrong[division.labelled].float().mean() < is_wrong.float().mean() / 2
    predictor = method.predictor.eval()
    assert (predictor(method.data.inputs).argmax(1) == truth).float().mean() > 0.9


def test_predictor_adds_the_logits_of_the_primary_heads():
    method = make_promix()
    x = method.data.inputs
    predictor = method.predictor.eval()
    assert torch.equal(predictor(x), method.models[0].both(x).primary + method.models[1].both(x).primary)


def test_warm_up_trains_the_primary_heads_of_both_networks(monkeypatch):
    method = make_promix(warmup=40)
    pseudo_heads = [model.pseudo.weight.clone() for model in method.models]
    steps = record_steps(monkeypatch)
    method.fit(40)
    assert not steps
    assert set(method.history[-1]) == {"epoch", "loss"}
    assert method.divisions is None
    truth = INDEX % N_CLASSES
    for model, pseudo_head in zip(method.models, pseudo_heads, strict=True):
        assert (model.eval()(method.data.inputs).argmax(1) == truth).float().mean() > 0.7
        assert torch.equal(model.pseudo.weight, pseudo_head)
    method.fit(41)
    assert len(steps) == 3


def test_confidence_penalty_makes_the_warm_up_less_confident():
    entropies = []
    for penalty in (0.0, 5.0):
        method = make_promix(confidence_penalty=penalty, warmup=10)
        method.fit(10)
        logits = [model.eval()(method.data.inputs).detach() for model in method.models]
        entropies.append([-float(negative_entropy(each)) for each in logits])
    assert all(penalised > usual + 0.1 for usual, penalised in zip(*entropies, strict=True))


def test_defaults_are_the_published_ones():
    defaults = {name: parameter.default for name, parameter in inspect.signature(ProMix).parameters.items()}
    published = {
        "warmup": 10,
        "batch_size": 256,
        "share": 0.5,
        "quota": "balanced",
        "confidence": 0.99,
        "agreement_confidence": None,
        "debiasing": 0.8,
        "ramp": 50,
        "pseudo_weight": 0.1,
        "pseudo_epochs": 100,
        "agreement_epoch": 350,
        "confidence_penalty": 0,
    }
    assert {name: defaults[name] for name in published} == published
    assert defaults["optimizer"].keywords == {"lr": 0.05, "momentum": 0.9, "weight_decay": 5e-4}


def test_bfloat16_trains_with_finite_losses():
    history = make_promix(autocast=torch.bfloat16, rrm=rrms(), agreement_epoch=0).fit(3)
    assert all(is_finite(row) for row in history)


# What is chosen


def test_each_network_chooses_the_smallest_of_its_own_losses_in_each_class(monkeypatch):
    method = make_promix(numbered_images(BY_CLASS), share=0.22)
    monkeypatch.setattr(method, "losses_of", lambda k: (UP, DOWN)[k])
    row = method.fit(2)[-1]
    # Of each class 4 of 16.
    assert [division.labelled.tolist() for division in method.divisions] == [list(range(12)), list(range(36, 48))]
    for division in method.divisions:
        assert torch.cat([division.labelled, division.unlabelled]).sort().values.tolist() == INDEX.tolist()
    assert (row["labelled"], row["pruned"]) == ([12, 12], [0, 0])


def test_share_rises_to_the_final_one(monkeypatch):
    method = make_promix(share=0.25, final_share=0.75, ramp=4, warmup=1)
    method.fit(6)
    # Of each of three classes.
    assert [row["labelled"][0] for row in method.history[1:]] == [3 * math.ceil(s * 16) for s in (0.5, 0.625, 0.75)] + [
        36,
        36,
    ]


@pytest.mark.parametrize(("quota", "n_labelled"), [("balanced", [8, 8, 6]), ("class", [12, 9, 3])])
def test_quota_of_a_class(quota, n_labelled):
    labels = torch.cat([torch.zeros(24), torch.ones(18), torch.full((6,), 2)]).long()
    method = make_promix(numbered_images(labels), share=0.5, quota=quota)
    method.fit(2)
    for division in method.divisions:
        assert torch.bincount(labels[division.labelled]).tolist() == n_labelled


def test_batches_hold_each_sample_once_with_what_both_networks_chose(monkeypatch):
    labels = (INDEX * 7 % 5) % N_CLASSES
    data = numbered_images(labels)
    data = TrainingSet(data.inputs, labels, N_CLASSES, strong=lambda x, generator: -x)
    method = script_promix(monkeypatch, data, [FIRST, LAST], [UP, DOWN])
    steps = record_steps(monkeypatch)
    method.fit(2)
    assert torch.cat([visited(step) for step in steps]).sort().values.tolist() == INDEX.tolist()
    for step in steps:
        index = visited(step)
        assert torch.equal(step.batch.chosen, torch.stack([torch.isin(index, FIRST), torch.isin(index, LAST)]))
        assert torch.equal(step.batch.labels.argmax(1), labels[index])
        assert torch.equal(step.batch.strong, -step.batch.weak)
        assert step.batch.weights is None
        assert step.are_training == [True, True]
    n_chosen = torch.stack([step.result.n_chosen for step in steps]).sum(0)
    assert method.history[-1]["labelled_in_batches"] == n_chosen.tolist()


def test_views_of_a_sample_differ(monkeypatch):
    steps = record_steps(monkeypatch)
    make_promix().fit(2)
    assert all(not torch.equal(step.batch.weak, step.batch.strong) for step in steps)


def test_settings_reach_the_step(monkeypatch):
    options = {"confidence": 0.9, "debiasing": 0.3, "pseudo_weight": 0.4, "pseudo_epochs": 2, "agreement_epoch": 3}
    steps = record_steps(monkeypatch)
    make_promix(batch_size=N, **options).fit(4)
    settings = [step.settings for step in steps]
    assert [each.consistency_weight for each in settings] == [0.5, 0.75, 1.0]
    assert [each.pseudo_weight for each in settings] == [0.4, 0, 0]
    assert [each.agrees for each in settings] == [False, False, True]
    assert {(each.confidence, each.agreement_confidence, each.debiasing) for each in settings} == {(0.9, 0.9, 0.3)}
    steps.clear()
    make_promix(agreement_confidence=0.7, **options).fit(2)
    assert {(step.settings.confidence, step.settings.agreement_confidence) for step in steps} == {(0.9, 0.7)}


def test_draws_of_batches_differ(monkeypatch):
    steps = record_steps(monkeypatch)
    make_promix().fit(3)
    assert len({step.mixing.share for step in steps}) == len(steps) == 6
    assert len({step.mixing.fmix.share for step in steps}) == 6


def test_mixup_keeps_the_larger_part_and_fmix_does_not():
    images = torch.zeros(2, 3, 6, 10)
    mixings = [draw_mixing(images, Draws(seed)) for seed in range(300)]
    shares = torch.tensor([mixing.share for mixing in mixings])
    assert shares.min() >= 0.5
    # The mean of max(l, 1 - l) for Beta(4, 4).
    assert_close(shares.mean(), torch.tensor(0.5 + 0.1367), atol=0.02, rtol=0)
    areas = torch.tensor([mixing.fmix.share for mixing in mixings])
    assert_close(areas.quantile(torch.tensor([0.1, 0.9])), torch.tensor([0.1, 0.9]), atol=0.1, rtol=0)
    assert mixings[0].fmix.mask.shape == (1, 6, 10)
    assert mixings[0].permutation(5).sort().values.tolist() == list(range(5))


def test_priors_are_carried_from_batch_to_batch_and_from_epoch_to_epoch(monkeypatch):
    steps = record_steps(monkeypatch)
    make_promix().fit(3)
    first = steps[0].priors
    assert torch.equal(first.chosen, torch.full((2, N_CLASSES), 1 / N_CLASSES))
    assert torch.equal(first.unchosen, first.chosen)
    for step, later in pairwise(steps):
        assert not torch.equal(step.priors.chosen, later.priors.chosen)
        assert torch.equal(step.result.priors.chosen, later.priors.chosen)
        assert torch.equal(step.result.priors.unchosen, later.priors.unchosen)


# Few samples, and losses that are not finite


def test_batches_without_a_label_or_a_guess_are_no_error(monkeypatch):
    method = make_promix(batch_size=2, pseudo_epochs=1, share=0.1, confidence=0.99999)
    steps = record_steps(monkeypatch)
    row = method.fit(3)[-1]
    assert any((step.result.n_chosen == 0).all() for step in steps)
    assert is_finite(row)


@pytest.mark.parametrize("options", [{}, {"agreement_epoch": 0, "agreement_confidence": 0.4}, {"share": 1.0}])
@pytest.mark.parametrize("n", [33, 47, 49])
def test_any_number_of_samples_can_be_trained_on(n, options):
    assert is_finite(make_promix(noisy_images(n), **options).fit(3)[-1])


@pytest.mark.parametrize("quota", ["balanced", "class"])
def test_missing_and_small_classes_are_no_error(quota):
    data = noisy_images()
    labels = torch.where(data.labels == 1, 0, data.labels)
    labels[5] = 1
    for missing in (False, True):
        if missing:
            labels[5] = 0
        images = TrainingSet(data.inputs, labels, N_CLASSES, weak=data.weak, strong=data.strong)
        method = make_promix(images, quota=quota, rrm=rrms())
        assert is_finite(method.fit(3)[-1])
        assert (labels[method.divisions[0].labelled] == 1).sum() == (not missing)


@pytest.mark.parametrize("rrm", [None, {}, {"groups": noisy_images().labels}])
def test_infinite_losses_are_the_highest(monkeypatch, rrm):
    losses = UP.clone()
    losses[:6] = torch.inf
    method = make_promix(share=1.0, contamination=0.125, rrm=None if rrm is None else rrms(**rrm))
    monkeypatch.setattr(method, "losses_of", lambda k: losses)
    assert is_finite(method.fit(2)[-1])
    assert len(method.divisions[0].labelled) == N
    if rrm == {}:
        assert method.divisions[0].pruned.tolist() == list(range(6))
    if rrm is not None:
        assert method.rrm[0].weights.isfinite().all()
    method = make_promix(share=0.5)
    monkeypatch.setattr(method, "losses_of", lambda k: losses)
    method.fit(2)
    assert method.divisions[0].labelled.min() == 6


@pytest.mark.parametrize("with_rrm", [False, True])
def test_nan_losses_are_refused_by_name(monkeypatch, with_rrm):
    losses = UP.clone()
    losses[[7, 30]] = torch.nan
    method = make_promix(rrm=rrms() if with_rrm else None)
    monkeypatch.setattr(method, "losses_of", lambda k: losses)
    with pytest.raises(ValueError, match="losses must not be NaN, got NaN for sample 7, and 2 of 48; a lower learning"):
        method.fit(2)


# Arguments


def without_images():
    points = noisy_set()
    return TrainingSet(points.inputs, points.labels, N_CLASSES, weak=points.weak, strong=points.weak)


def networks_of_other_classes():
    return tuple(TwoHeadNetwork(nn.Sequential(nn.Flatten(), nn.Linear(16, 8)), 8, 5) for _ in range(2))


WRONG = {
    "a list of models": ({"models": list(two_head_networks())}, TypeError, "models must be a tuple of two modules"),
    "a contamination to estimate": (
        {"contamination": "auto"},
        TypeError,
        "contamination must be a number in .* or None",
    ),
    "models with one head": ({"models": networks()}, TypeError, "models must be two TwoHeadNetworks"),
    "the same model twice": ({"models": two_head_networks()[:1] * 2}, ValueError, "models must be two networks"),
    "models of other classes": (
        {"models": networks_of_other_classes()},
        ValueError,
        "models must have the 3 classes of the training set, got 5",
    ),
    "no training set": ({"data": torch.zeros(3)}, TypeError, "data must be a TrainingSet, got Tensor"),
    "no strong augmentation": ({"data": noisy_set()}, ValueError, "data must have a strong augmentation, got none"),
    "a single RRM": ({"rrm": RRM(N, warmup=1)}, TypeError, "rrm must be a tuple of two RRMs"),
    "the same RRM twice": ({"rrm": rrms(gamma=1.0)[:1] * 2}, ValueError, "rrm must be two objects"),
    "RRMs of other samples": ({"rrm": rrms(N + 1)}, ValueError, f"made for the {N} samples .*, got n={N + 1}"),
    "RRMs that count steps": ({"rrm": rrms(unit="step", gamma=1.0)}, ValueError, "rrm must count epochs"),
    "no contamination": ({"rrm": rrms()}, ValueError, "contamination must be given with an rrm that has neither"),
    "one without contamination": (
        {"rrm": (rrms(gamma=1.0)[0], rrms()[0])},
        ValueError,
        "contamination must be given with an rrm that has neither",
    ),
    "contamination of 1": ({"contamination": 1.0}, ValueError, r"contamination must lie in \[0, 1\), got 1"),
    "negative contamination": ({"contamination": -0.1}, ValueError, r"contamination must lie in \[0, 1\), got -0.1"),
    "on_pruned": ({"on_pruned": "keep"}, ValueError, "on_pruned must be 'drop' or 'unlabelled', got 'keep'"),
    "warmup": ({"warmup": 0}, ValueError, "warmup must be at least 1, got 0"),
    "batch_size": ({"batch_size": 1}, ValueError, "batch_size must be at least 2, got 1"),
    "share": ({"share": 0.0}, ValueError, r"share must lie in \(0, 1\], got 0"),
    "final_share": ({"final_share": 1.1}, ValueError, r"final_share must lie in \(0, 1\], got 1.1"),
    "quota": ({"quota": "all"}, ValueError, "quota must be 'balanced' or 'class', got 'all'"),
    "confidence": ({"confidence": 1.0}, ValueError, r"confidence must lie in \(0, 1\), got 1"),
    "agreement_confidence": (
        {"agreement_confidence": 0.0},
        ValueError,
        r"agreement_confidence must lie in \(0, 1\), got 0",
    ),
    "debiasing": ({"debiasing": -1.0}, ValueError, "debiasing must be finite and at least 0, got -1"),
    "debiasing of NaN": ({"debiasing": math.nan}, ValueError, "debiasing must be finite and at least 0, got nan"),
    "ramp": ({"ramp": 0}, ValueError, "ramp must be above 0 epochs, got 0"),
    "pseudo_weight": ({"pseudo_weight": -0.1}, ValueError, "pseudo_weight must be finite and at least 0, got -0.1"),
    "pseudo_epochs": ({"pseudo_epochs": 0}, ValueError, "pseudo_epochs must be at least 1, got 0"),
    "confidence_penalty": (
        {"confidence_penalty": -1.0},
        ValueError,
        "confidence_penalty must be finite and at least 0, got -1",
    ),
    "autocast": ({"autocast": torch.float16}, ValueError, "autocast must be torch.bfloat16 or None"),
    "seed": ({"seed": -1}, ValueError, "seed must be at least 0, got -1"),
}


@pytest.mark.parametrize(("changes", "kind", "message"), WRONG.values(), ids=WRONG)
def test_wrong_arguments_are_refused(changes, kind, message):
    with pytest.raises(kind, match=message):
        ProMix(**{"models": two_head_networks(), "data": noisy_images(), **changes})


def test_inputs_that_are_no_images_are_refused_before_training():
    with pytest.raises(ValueError, match=r"data must hold images, of which FMix mixes regions, got .* \(16, 2\)"):
        make_promix(without_images()).fit(1)


def test_numpy_scalars_are_accepted_as_settings(tmp_path):
    method = make_promix(
        share=np.float64(0.5), confidence=np.float32(0.9), warmup=np.int64(1), seed=np.int64(2), rrm=rrms()
    )
    method.fit(2, checkpoint=Checkpoint(tmp_path / "run.pt", method=method))
    assert method.epoch == 2
