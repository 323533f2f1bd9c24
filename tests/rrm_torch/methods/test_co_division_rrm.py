"""RRM in the loop that DivideMix and CC share."""

from __future__ import annotations

import pytest
import torch

from rrm_torch import RRM
from rrm_torch.methods.training_set import TrainingSet
from support.small_methods import (
    DOWN,
    HIGH,
    INDEX,
    LOW,
    N_CLASSES,
    UP,
    N,
    check_only_plan,
    is_never_pruning,
    make_cc,
    make_dividemix,
    networks_digest,
    noisy_set,
    rrms,
    scores,
    script_dividemix,
    told_apart,
)


def mean_weights(method):
    return [float(rrm.weights[division.labelled].double().mean()) for rrm, division in zip_(method)]


def zip_(method):
    return zip(method.rrm, method.divisions, strict=True)


def test_rrm_plans_over_the_selected_set_by_losses_of_the_trained_network():
    # The probabilities say that a quarter of the labels selected by the first network are wrong, an eighth of the
    # second one's.
    method = script_dividemix([(scores(UP, LOW, 0.75), scores(DOWN, HIGH, 0.875))], rrm=rrms())
    method.fit(2)
    # The first network has the samples 16 to 47 by losses that ascend, the second one 0 to 23 by some that descend.
    assert method.divisions[0].pruned.tolist() == [44, 45, 46, 47]
    assert method.divisions[1].pruned.tolist() == [0, 1, 2, 3, 4, 5]
    for rrm, labelled, contamination in zip(method.rrm, (HIGH, LOW), (0.125, 0.25), strict=True):
        check_only_plan(rrm, labelled, contamination)
    assert method.history[-1]["pruned"] == [4, 6]


def test_weights_reach_the_batches():
    data = told_apart()
    method = script_dividemix([(scores(UP, LOW), scores(DOWN, HIGH))], data, rrm=rrms())
    method.fit(2)
    for step in method.steps:
        expected = method.rrm[step.k].weights[step.batch.first[:, 0].long()]
        assert torch.equal(step.batch.weights, expected)
    assert any((step.batch.weights == 0).any() for step in method.steps)


@pytest.mark.parametrize("make", [make_dividemix, make_cc])
def test_rrm_that_prunes_nothing_leaves_the_bits_of_no_rrm(make):
    digests = []
    for rrm in (None, is_never_pruning()):
        method = make(rrm=rrm, ramp=2)
        method.fit(4)
        digests.append(networks_digest(method))
    assert digests[0] == digests[1]
    assert method.history[-1]["pruned"] == [0, 0]
    assert all(len(rrm.trajectory.rounds) == 3 for rrm in method.rrm)


@pytest.mark.parametrize("make", [make_dividemix, make_cc])
@pytest.mark.parametrize("mu", [1.0, 0.5])
def test_mean_weight_of_the_labelled_set_is_1(make, mu):
    method = make(noisy_set(share=0.4), rrm=rrms(mu=mu, contamination=0.15))

    def check(row):
        if row["epoch"] > 1:
            assert mean_weights(method) == pytest.approx([1, 1], abs=1e-6)
            assert sum(row["pruned"]) > 0

    method.fit(5, on_epoch=check)


def test_sample_that_leaves_the_set_and_returns_starts_at_weight_1():
    # Sample 0 is pruned, leaves, and returns; sample 40 joins for the first time when it returns.
    first = torch.arange(24)
    rounds = [first, first[1:], torch.cat([first, torch.tensor([40])])]
    losses = UP.clone()
    losses[[0, 40]] = 100
    later = UP.clone()
    later[[0, 40]] = 0.5
    script = [
        (scores(values, members), scores(values, members))
        for values, members in zip((losses, later, later), rounds, strict=True)
    ]
    method = script_dividemix(script, rrm=rrms(mu=0.5, contamination=0.1))
    weights = []
    method.fit(4, on_epoch=lambda row: weights.append(method.rrm[0].weights.clone()))
    assert weights[1][0] == 0.5
    assert weights[2][0] == 1
    assert weights[3][0] == weights[3][40] > 1
    assert weights[3][:24].mean() < 1 < weights[3][1]


@pytest.mark.parametrize("make", [make_dividemix, make_cc])
def test_pruned_samples_may_join_the_unlabelled_set(make):
    method = make(rrm=rrms(contamination=0.2), on_pruned="unlabelled")
    row = method.fit(2)[-1]
    for k, division in enumerate(method.divisions):
        assert division.weights is None
        assert len(division.pruned) == row["pruned"][k] > 0
        assert torch.isin(division.pruned, division.unlabelled).all()
        assert torch.cat([division.labelled, division.unlabelled]).sort().values.tolist() == INDEX.tolist()
        assert row["labelled"][k] == len(division.labelled)


def test_labels_of_samples_moved_to_the_unlabelled_set_are_not_used():
    digests = []
    for label in range(N_CLASSES):
        data = told_apart()
        labels = data.labels.clone()
        labels[47] = label  # the highest loss of the first network's labelled set
        method = script_dividemix(
            [(scores(UP, LOW), scores(UP, HIGH))],
            TrainingSet(data.inputs * 0.1, labels, N_CLASSES),
            rrm=rrms(),
            on_pruned="unlabelled",
        )
        # Without a warm-up, in which the label has influence.
        method.epoch = 1
        method.fit(2)
        digests.append([parameter.tolist() for parameter in method.models[0].parameters()])
    assert digests[0] == digests[1] == digests[2]


def test_label_of_weight_0_has_no_influence_on_an_epoch():
    digests = []
    for label in range(N_CLASSES):
        data = told_apart()
        labels = data.labels.clone()
        labels[47] = label
        method = script_dividemix(
            [(scores(UP, LOW), scores(UP, HIGH))], TrainingSet(data.inputs * 0.1, labels, N_CLASSES), rrm=rrms()
        )
        method.epoch = 1
        method.fit(2)
        assert 47 in method.divisions[0].pruned
        digests.append([parameter.tolist() for parameter in method.models[0].parameters()])
    assert digests[0] == digests[1] == digests[2]


def test_pruned_samples_stay_in_the_labelled_set_if_one_would_remain():
    # gamma = 0 keeps the smallest loss.
    method = script_dividemix([(scores(UP, LOW), scores(UP, HIGH))], rrm=rrms(gamma=0.0), on_pruned="unlabelled")
    method.fit(2)
    for division, selected, kept in zip(method.divisions, (HIGH, LOW), (16, 0), strict=True):
        assert division.labelled.tolist() == selected.tolist()
        assert division.pruned.tolist() == [i for i in selected.tolist() if i != kept]
        assert division.weights[selected].nonzero().tolist() == [[kept - int(selected[0])]]


def test_contamination_is_estimated_for_each_class():
    labels = INDEX % N_CLASSES
    # A share of 0, 1/4 and 1/2 of the classes' labels is wrong, by the probabilities; 8 of each class are selected.
    probability = torch.tensor([1.0, 0.75, 0.5])[labels]
    method = script_dividemix([(scores(UP, LOW, probability),) * 2], rrm=rrms(groups=labels), data=told_apart())
    method.fit(2)
    for rrm, division in zip_(method):
        [entry] = rrm.trajectory.rounds
        assert entry.contamination == pytest.approx((0, 0.25, 0.5))
        assert entry.n_pruned_by_group == (0, 2, 4)
        assert division.pruned.tolist() == [14, 17, 19, 20, 22, 23]


def test_contamination_of_a_class_without_selected_samples_is_0():
    labels = INDEX % N_CLASSES
    members = LOW[labels[LOW] != 1]
    method = script_dividemix([(scores(UP, members, 0.5),) * 2], rrm=rrms(groups=labels), data=told_apart())
    method.fit(2)
    assert method.rrm[0].trajectory.rounds[0].contamination == pytest.approx((0.5, 0, 0.5))


@pytest.mark.parametrize("groups", [None, INDEX % N_CLASSES])
def test_probabilities_of_0_are_a_contamination_below_1(groups):
    method = script_dividemix([(scores(UP, LOW, 0.0),) * 2], rrm=rrms(groups=groups), data=told_apart())
    method.fit(2)
    contamination = torch.tensor(method.rrm[0].trajectory.rounds[0].contamination, dtype=torch.float64)
    assert (contamination > 0.99).all()
    assert (contamination < 1).all()


def test_groups_with_a_cap_have_one_contamination():
    labels = INDEX % N_CLASSES
    losses = UP + 100 * (labels == 2)
    method = script_dividemix([(scores(losses, LOW, 0.75),) * 2], rrm=rrms(groups=labels, cap=0.5), data=told_apart())
    method.fit(2)
    [entry] = method.rrm[0].trajectory.rounds
    assert entry.contamination == pytest.approx(0.25)
    # Of the 6 samples to prune, all have the third class, which keeps half of its 8.
    assert entry.n_pruned_by_group[2] == 4


@pytest.mark.parametrize("options", [{"contamination": 0.5}, {"gamma": 3.5}])
def test_rrm_keeps_its_own_threshold(options):
    method = script_dividemix([(scores(UP, LOW, 0.9), scores(UP, LOW, 0.9))], rrm=rrms(**options))
    method.fit(2)
    for rrm in method.rrm:
        [entry] = rrm.trajectory.rounds
        assert entry.contamination == options.get("contamination")
        assert not entry.is_given
        assert entry.n_pruned == (12 if "contamination" in options else 20)


@pytest.mark.parametrize("on_pruned", ["drop", "unlabelled"])
def test_rrm_that_is_not_due_changes_no_weights(on_pruned):
    rrm = (RRM(N, warmup=2), RRM(N, warmup=2))
    with pytest.warns(UserWarning, match="rrm does nothing in the first 2 epochs after the method's warm-up"):
        method = script_dividemix([(scores(UP, LOW), scores(DOWN, HIGH))], rrm=rrm, on_pruned=on_pruned)
    method.fit(2)
    assert method.history[-1]["pruned"] == [0, 0]
    assert [each.epoch for each in rrm] == [1, 1]
    assert all((each.weights == 1).all() for each in rrm)
    method.fit(3)
    assert method.history[-1]["pruned"] == [8, 6]


def test_rrm_that_skips_epochs_is_refused():
    rrm = (RRM(N, warmup=1), RRM(N, warmup=1, every=2))
    with pytest.raises(ValueError, match="rrm must reweight in each epoch, got every=2"):
        make_dividemix(rrm=rrm)
