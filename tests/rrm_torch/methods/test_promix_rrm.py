"""ProMix with RRM: what it plans over, its contamination, its weights and the samples that it prunes."""

from __future__ import annotations

import pytest
import torch

from rrm_torch import RRM
from rrm_torch.methods import promix
from rrm_torch.methods.division import Division
from rrm_torch.methods.training_set import TrainingSet
from support.promix_step import published_settings
from support.small_methods import N_CLASSES, N, check_only_plan, rrms
from support.small_promix import (
    digest_of,
    make_promix,
    noisy_images,
    numbered_images,
    record_steps,
    script_promix,
    visited,
)
from support.torch_defaults import default_dtype

INDEX = torch.arange(N)
BY_CLASS = INDEX % N_CLASSES
UP = INDEX.float()
DOWN = N - INDEX.float()
FIRST = torch.arange(24)
LAST = torch.arange(16, 48)


def test_rrm_plans_over_the_chosen_samples_by_losses_of_the_same_network(monkeypatch):
    # Half of the samples and two thirds are chosen, of 60 % wrong labels.
    method = script_promix(monkeypatch, noisy_images(), [FIRST, LAST], [UP, DOWN], rrm=rrms())
    row = method.fit(2)[-1]
    # The first network has losses that ascend, the second one losses that descend.
    assert method.divisions[0].pruned.tolist() == list(range(20, 24))
    assert method.divisions[1].pruned.tolist() == list(range(16, 28))
    for rrm, chosen, contamination in zip(method.rrm, (FIRST, LAST), (0.2, 0.4), strict=True):
        check_only_plan(rrm, chosen, contamination)
    assert (row["labelled"], row["pruned"]) == ([24, 32], [4, 12])


@pytest.mark.parametrize(
    ("contamination", "chosen_share", "expected"),
    [(0.4, 0.5, 0.0), (0.4, 0.6, 0.0), (0.4, 0.8, 0.25), (0.6, 0.5, 0.2), (0.3, 1.0, 0.3), (0.0, 0.7, 0.0)],
)
def test_contamination_of_the_chosen_is_what_the_others_leave(contamination, chosen_share, expected):
    settings = published_settings(contamination=contamination)
    assert settings.contamination_of(chosen_share) == pytest.approx(expected)


def test_contamination_of_the_chosen_is_unknown_without_that_of_all():
    assert published_settings(contamination=None).contamination_of(0.5) is None


@pytest.mark.parametrize(
    ("options", "contamination", "n_pruned"), [({"contamination": 0.25}, 0.25, 6), ({"gamma": 3.5}, None, 20)]
)
@pytest.mark.parametrize("of_all", [None, 0.9])
def test_rrm_keeps_its_own_threshold(monkeypatch, options, contamination, n_pruned, of_all):
    method = script_promix(
        monkeypatch, noisy_images(), [FIRST, FIRST], [UP, DOWN], rrm=rrms(**options), contamination=of_all
    )
    method.fit(2)
    for rrm in method.rrm:
        [entry] = rrm.trajectory.rounds
        assert entry.contamination == contamination
        assert not entry.is_given
        assert entry.n_pruned == n_pruned


def test_weights_reach_the_batches(monkeypatch):
    method = script_promix(monkeypatch, numbered_images(BY_CLASS), [FIRST, LAST], [UP, DOWN], rrm=rrms())
    steps = record_steps(monkeypatch)
    method.fit(2)
    for step in steps:
        index = visited(step)
        assert torch.equal(step.batch.weights, torch.stack([rrm.weights[index] for rrm in method.rrm]))
        pruned = torch.stack([torch.isin(index, division.pruned) for division in method.divisions])
        assert torch.equal(step.batch.pruned, pruned)
        assert torch.equal(step.batch.weights == 0, pruned)
        assert (step.batch.weights[~step.batch.chosen] == 1).all()


@pytest.mark.parametrize("options", [{"pseudo_epochs": 2, "agreement_epoch": 2, "confidence": 0.6}, {}])
def test_rrm_that_prunes_nothing_leaves_the_bits_of_no_rrm(options):
    digests = []
    for rrm in (None, rrms(gamma=1e9)):
        method = make_promix(rrm=rrm, **options)
        method.fit(5)
        digests.append(digest_of(method))
    assert digests[0] == digests[1]
    assert method.history[-1]["pruned"] == [0, 0]
    assert all(len(rrm.trajectory.rounds) == 4 for rrm in method.rrm)


@pytest.mark.parametrize("confidence", [0.01, 0.999])
@pytest.mark.parametrize("on_pruned", ["drop", "unlabelled"])
def test_label_of_a_pruned_sample_has_no_influence_on_an_epoch(monkeypatch, on_pruned, confidence):
    # Every label is added whose confidence exceeds 0.01, but not that of a sample that RRM pruned.
    digests = []
    for label in range(N_CLASSES):
        labels = BY_CLASS.clone()
        labels[23] = label  # the highest loss of both networks' sets
        data = TrainingSet(noisy_images().inputs, labels, N_CLASSES, strong=lambda x, generator: x)
        method = script_promix(
            monkeypatch,
            data,
            [FIRST, FIRST[8:]],
            [UP, UP + 1],
            rrm=rrms(contamination=0.1),
            on_pruned=on_pruned,
            confidence=confidence,
            agreement_epoch=0,
            agreement_confidence=0.5,
        )
        method.fit(2)
        assert all(23 in division.pruned for division in method.divisions)
        digests.append(digest_of(method))
    assert digests[0] == digests[1] == digests[2]


@pytest.mark.parametrize("mu", [1.0, 0.5])
def test_mean_weight_of_the_chosen_set_is_1(mu):
    method = make_promix(rrm=rrms(mu=mu, contamination=0.2))

    def check(row):
        if row["epoch"] > 1:
            for rrm, division in zip(method.rrm, method.divisions, strict=True):
                assert float(rrm.weights[division.labelled].double().mean()) == pytest.approx(1, abs=1e-6)
                assert len(division.pruned) == 4

    method.fit(5, on_epoch=check)


def test_pruned_samples_may_be_unlabelled(monkeypatch):
    method = script_promix(
        monkeypatch, numbered_images(BY_CLASS), [FIRST, LAST], [UP, DOWN], rrm=rrms(), on_pruned="unlabelled"
    )
    steps = record_steps(monkeypatch)
    row = method.fit(2)[-1]
    assert (row["labelled"], row["pruned"]) == ([20, 20], [4, 12])
    for division in method.divisions:
        assert division.weights is None
        assert torch.isin(division.pruned, division.unlabelled).all()
    for step in steps:
        index = visited(step)
        chosen = torch.stack([torch.isin(index, division.labelled) for division in method.divisions])
        assert torch.equal(step.batch.chosen, chosen)
        assert step.batch.weights is None


def test_weights_of_one_network_alone_leave_those_of_the_other_at_1():
    some = torch.arange(3)
    with_weights = Division(some, some[:0], torch.tensor([0.0, 1.5, 1.5]), some[:1])
    without = Division(some, some[:0], None, some[:0])
    expected = [[0.0, 1.5, 1.5], [1.0, 1.0, 1.0]]
    assert promix._stacked_weights((with_weights, without), 3).tolist() == expected
    assert promix._stacked_weights((without, with_weights), 3).tolist() == expected[::-1]
    assert promix._stacked_weights((without, without), 3) is None
    with default_dtype(torch.bfloat16):
        assert promix._stacked_weights((with_weights, without), 3).dtype == torch.float32


def test_contamination_of_groups_is_what_the_others_of_each_leave(monkeypatch):
    # Of the classes 8, 12 and 16 of 16 samples are chosen, of 60 % wrong labels.
    chosen = torch.cat([torch.arange(k, 3 * n, N_CLASSES) for k, n in enumerate((8, 12, 16))]).sort().values
    method = script_promix(
        monkeypatch, numbered_images(BY_CLASS), [chosen, chosen], [UP, DOWN], rrm=rrms(groups=BY_CLASS)
    )
    method.fit(2)
    for rrm in method.rrm:
        [entry] = rrm.trajectory.rounds
        assert entry.contamination == pytest.approx((0.2, 0.35 / 0.75, 0.6))
        assert entry.n_pruned_by_group == (1, 5, 9)


def test_contamination_of_a_group_without_chosen_samples_is_0(monkeypatch):
    chosen = INDEX[BY_CLASS != 1]
    method = script_promix(
        monkeypatch, numbered_images(BY_CLASS), [chosen, chosen], [UP, DOWN], rrm=rrms(groups=BY_CLASS)
    )
    method.fit(2)
    assert method.rrm[0].trajectory.rounds[0].contamination == pytest.approx((0.6, 0, 0.6))


def test_groups_with_a_cap_have_one_contamination(monkeypatch):
    losses = UP + 100 * (BY_CLASS == 2)
    method = script_promix(
        monkeypatch,
        numbered_images(BY_CLASS),
        [FIRST, FIRST],
        [losses, losses + 1],
        rrm=rrms(groups=BY_CLASS, cap=0.25),
    )
    method.fit(2)
    [entry] = method.rrm[0].trajectory.rounds
    assert entry.contamination == pytest.approx(0.2)
    # All four samples to prune have the third class, which keeps three quarters of its 8.
    assert entry.n_pruned_by_group[2] == 2


@pytest.mark.parametrize("on_pruned", ["drop", "unlabelled"])
def test_rrm_that_is_not_due_changes_no_weights(on_pruned):
    rrm = (RRM(N, warmup=2, contamination=0.2), RRM(N, warmup=2, contamination=0.2))
    with pytest.warns(UserWarning, match="rrm does nothing in the first 2 epochs after the method's warm-up"):
        method = make_promix(rrm=rrm, on_pruned=on_pruned)
    method.fit(2)
    assert method.history[-1]["pruned"] == [0, 0]
    assert [each.epoch for each in rrm] == [1, 1]
    assert all((each.weights == 1).all() for each in rrm)
    method.fit(3)
    assert method.history[-1]["pruned"] == [4, 4]
