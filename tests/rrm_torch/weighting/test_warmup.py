"""What a warm-up that holds out samples warns of and refuses, and its end where steps are counted."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from rrm_core._agreement import UNKNOWN
from rrm_torch import RRM
from rrm_torch.weighting.layout import SingleProcess
from rrm_torch.weighting.settings import Settings
from rrm_torch.weighting.warmup import warn_of_pruned_classes
from support import estimate_jobs
from support.estimate_jobs import N


def test_model_that_has_learnt_nothing_prunes_nothing_and_warns():
    rrm = RRM(N, contamination="auto", warmup=1, groups=torch.arange(N) % 3)
    labels = estimate_jobs.labels_of(N)
    logits = torch.nn.functional.one_hot((labels + 1) % 4, 4).float()
    rrm.weighted_mean(torch.rand(N), torch.arange(N), logits=logits, labels=labels)
    with pytest.warns(UserWarning, match="after epoch 1, .* by chance .*, and no sample is pruned"):
        plan = rrm.step()
    assert (rrm.estimate.contamination, rrm.estimate.interval, rrm.estimate.by_group) == (0, None, (0, 0, 0))
    assert plan.n_pruned.sum() == 0
    assert (rrm.weights == 1).all()


def test_rare_class_that_is_never_predicted_is_kept():
    rrm = RRM(N, contamination="auto", epochs=12)
    labels = (torch.arange(N) % 20 == 0).long()
    for epoch in range(4):
        noise = torch.rand(N, generator=torch.Generator().manual_seed(epoch))
        logits = torch.stack([1 + noise, torch.zeros(N)], 1)
        rrm.weighted_mean(torch.rand(N), torch.arange(N), logits=logits, labels=labels)
        if epoch < 3:
            assert rrm.step() is None
    with pytest.warns(UserWarning, match="after epoch 4, .* by chance .*, and no sample is pruned"):
        assert rrm.step().n_pruned == 0


def test_warmup_of_a_model_that_has_learnt_nothing_warns_where_the_contamination_is_given():
    rrm = RRM(N, contamination=0.2, warmup="auto", epochs=3)
    logits = torch.rand(N, 4, generator=torch.Generator().manual_seed(0))
    rrm.weighted_mean(torch.rand(N), torch.arange(N), logits=logits, labels=estimate_jobs.labels_of(N))
    with pytest.warns(UserWarning, match="by chance .*, and its losses say as little about the labels") as caught:
        assert rrm.step().n_pruned > 0
    assert caught[0].filename == __file__


def train_with_groups(groups, **settings):
    """Train for an epoch, and end it."""
    rrm = RRM(N, contamination="auto", groups=groups, **settings)
    estimate_jobs.train_epoch(rrm, 0, torch.arange(N))
    rrm.step()
    return rrm


@pytest.mark.parametrize("rename", [lambda label: label, lambda label: 3 - label])
def test_shares_of_the_given_classes_are_not_estimated(rename):
    with pytest.raises(ValueError, match=r"each group has one given class of its own.* Give cap=0\.5: one share is"):
        train_with_groups(rename(estimate_jobs.labels_of(N)))


def test_shares_of_sources_are_estimated_though_each_gives_one_class():
    labels = estimate_jobs.labels_of(N)
    # Two rules for each class.
    assert train_with_groups(2 * labels + torch.arange(N) % 2).epoch == 1
    assert train_with_groups(labels, cap=0.5).epoch == 1
    assert train_with_groups(torch.zeros(N, dtype=torch.int64)).epoch == 1


def test_sources_are_compared_with_the_classes_of_all_samples():
    labels = estimate_jobs.labels_of(N)
    groups = labels.clone()
    groups[N // 2 :] = (labels[N // 2 :] + 1) % 4
    rrm = RRM(N, contamination="auto", groups=groups, unit="step")
    for batch in torch.arange(N).split(50):
        estimate_jobs.train_epoch(rrm, 0, batch, batch_size=50)
        rrm.step()
    assert rrm.epoch == 12


LABELS = torch.tensor([0] * 20 + [1] * 10 + [3] * 4 + [UNKNOWN])


def warn_of_pruned(pruned, members=None, **settings):
    """Warn of the classes of `LABELS` that a reweight prunes."""
    masks = [torch.zeros(len(LABELS), dtype=torch.bool) for _ in range(2)]
    for mask, samples in zip(masks, (pruned, members or ()), strict=True):
        mask[list(samples)] = True
    chosen = Settings(n=len(LABELS), **{"contamination": 0.2, **settings})
    layout = SingleProcess(len(LABELS))
    warn_of_pruned_classes(LABELS, masks[0], masks[1] if members else None, layout, chosen, stacklevel=1)


@pytest.mark.parametrize(
    ("pruned", "members", "message"),
    [
        (range(20, 29), None, r"almost all labels of 1 of 3 classes \(1\): a rare class is learnt late"),
        (range(30), None, r"2 of 3 classes \(0, 1\).* and cap=0\.5, which keeps half"),
        (range(20, 25), [*range(20), *range(20, 25), 30], r"1 of 3 classes \(1\)"),
    ],
)
def test_class_that_is_pruned_almost_whole_is_named(pruned, members, message):
    with pytest.warns(UserWarning, match=message):
        warn_of_pruned(pruned, members)


@pytest.mark.parametrize(
    "settings",
    [{"contamination": None, "gamma": 1.0}, {"groups": np.arange(len(LABELS)) % 2}],
    ids=["gamma", "sources"],
)
def test_class_that_cannot_have_a_cap_needs_a_longer_warmup(settings):
    with pytest.warns(UserWarning, match=r"\(1\).*; make RRM with a longer warmup"):
        warn_of_pruned(range(20, 30), **settings)


@pytest.mark.parametrize("pruned", [range(20, 28), range(30, 35), ()])
def test_class_of_which_some_is_kept_or_little_is_known_is_not_named(pruned):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_pruned(pruned)


def train_on_a_rare_class(**settings):
    """End a warm-up in which one class in thirty was never predicted; the losses are cross-entropies."""
    true = torch.arange(N) % 30
    labels = torch.where(true == 29, 2, true % 2)
    rrm = RRM(N, contamination="auto", warmup=1, **dict.fromkeys(settings.pop("groups", ()), labels), **settings)
    logits = torch.nn.functional.one_hot(true % 2, 3).float() + 1e-3 * torch.rand(N, 3)
    losses = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    rrm.weighted_mean(losses, torch.arange(N), logits=logits, labels=labels)
    return rrm, labels


@pytest.mark.parametrize("mu", [1, 0.5])
def test_first_reweight_warns_of_a_rare_class_that_it_prunes(mu):
    rrm, labels = train_on_a_rare_class(mu=mu)
    with pytest.warns(UserWarning, match=r"almost all labels of 1 of 3 classes \(2\)") as caught:
        rrm.step(contamination=0.04)
    assert caught[0].filename == __file__
    assert (labels[rrm.flagged()] == 2).sum() > 0.8 * (labels == 2).sum()


def test_cap_keeps_half_of_a_rare_class():
    rrm, labels = train_on_a_rare_class(groups=["groups"], cap=0.5)
    rrm.step(contamination=0.04)
    assert (rrm.weights[labels == 2] == 0).float().mean() <= 0.5


@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_warmup_of_steps_visits_every_sample(epochs):
    rrm = RRM(N, contamination="auto", unit="step", epochs=epochs)
    for step, batch in enumerate(torch.arange(N).split(50), 1):
        estimate_jobs.train_epoch(rrm, 4, batch, batch_size=50)
        plan = rrm.step()
        assert (plan is not None) == (step == 12)
