"""The loop that DivideMix and CC share, and where RRM enters it."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch.testing import assert_close

from rrm_torch import RRM
from rrm_torch.methods import centrality, dividemix
from rrm_torch.methods.soft_labels import negative_entropy
from rrm_torch.methods.training_set import TrainingSet
from support.small_methods import (
    N_CLASSES,
    N,
    RecordingCC,
    RecordingDivideMix,
    make_cc,
    make_dividemix,
    networks_digest,
    noisy_set,
    rrms,
    scores,
    script_dividemix,
)

INDEX = torch.arange(N)
LOW = torch.arange(24)
HIGH = torch.arange(16, 48)
UP = INDEX.float()
DOWN = N - INDEX.float()


def is_never_pruning(n=N):
    return rrms(n, gamma=1e9)


def told_apart():
    """Return a training set whose inputs name their samples."""
    return TrainingSet(torch.stack([INDEX.float(), INDEX.float()], 1), INDEX % N_CLASSES, N_CLASSES)


def mean_weights(method):
    return [float(rrm.weights[division.labelled].double().mean()) for rrm, division in zip_(method)]


def zip_(method):
    return zip(method.rrm, method.divisions, strict=True)


# Selection


def test_each_network_trains_on_the_samples_that_the_other_selects():
    method = script_dividemix([(scores(UP, LOW), scores(DOWN, HIGH))])
    method.fit(2)
    assert [division.labelled.tolist() for division in method.divisions] == [HIGH.tolist(), LOW.tolist()]
    for division in method.divisions:
        assert torch.cat([division.labelled, division.unlabelled]).sort().values.tolist() == INDEX.tolist()
    assert method.history[-1]["labelled"] == [32, 24]


def test_clean_probabilities_are_those_of_the_other_network():
    method = script_dividemix([(scores(UP, LOW, 0.7), scores(DOWN, HIGH, 0.8))])
    method.fit(2)
    for step in method.steps:
        assert_close(step.batch.clean_probability, torch.full((len(step.batch.first),), (0.8, 0.7)[step.k]))


def test_batches_hold_the_labelled_samples_once_and_unlabelled_ones_in_turn():
    data = told_apart()
    method = script_dividemix([(scores(UP, LOW), scores(DOWN, HIGH))], data)
    method.fit(2)
    for k, labelled in enumerate((HIGH, LOW)):
        steps = [step for step in method.steps if step.k == k]
        visited = torch.cat([step.batch.first[:, 0] for step in steps]).long()
        assert visited.sort().values.tolist() == labelled.tolist()
        others = torch.cat([step.batch.unlabelled[0][:, 0] for step in steps]).long()
        assert set(others.tolist()) == set(INDEX.tolist()) - set(labelled.tolist())
        for step in steps:
            of_batch = step.batch.first[:, 0].long()
            assert torch.equal(step.batch.labels.argmax(1), data.labels[of_batch])
            assert torch.equal(step.batch.first, step.batch.second)


def test_views_of_a_sample_differ():
    method = make_dividemix(cls=RecordingDivideMix)
    method.fit(2)
    batch = method.steps[0].batch
    assert not torch.equal(batch.first, batch.second)
    assert not torch.equal(*batch.unlabelled)
    assert_close(batch.first, batch.second, atol=1.5, rtol=0)


@pytest.mark.parametrize(("make", "cls"), [(make_dividemix, RecordingDivideMix), (make_cc, RecordingCC)])
def test_only_the_network_that_is_trained_is_in_training_mode(make, cls):
    method = make(cls=cls)
    method.fit(3)
    assert {step.k for step in method.steps} == {0, 1}
    for step in method.steps:
        assert step.are_training == [step.k == 0, step.k == 1]


def test_warm_up_lasts_its_epochs_and_has_batches_of_twice_the_size(monkeypatch):
    method = make_dividemix(cls=RecordingDivideMix, warmup=2, batch_size=8)
    sizes = []
    shuffled = TrainingSet.shuffled

    def shuffle(self, index, batch_size, draws):
        sizes.append(batch_size)
        return shuffled(self, index, batch_size, draws)

    monkeypatch.setattr(TrainingSet, "shuffled", shuffle)
    method.fit(2)
    assert not hasattr(method, "steps")
    assert set(sizes) == {16}
    assert set(method.history[-1]) == {"epoch", "loss"}
    assert method.divisions is None
    method.fit(3)
    assert {step.epoch for step in method.steps} == {3}
    assert set(sizes) == {16, 8}


def test_unlabelled_weight_rises_from_0_after_the_warm_up():
    method = script_dividemix(
        [(scores(UP, HIGH), scores(DOWN, HIGH))], warmup=2, ramp=4, unlabelled_weight=10, batch_size=8
    )
    method.fit(8)
    weights = {
        epoch: [step.unlabelled_weight for step in method.steps if (step.epoch, step.k) == (epoch, 1)]
        for epoch in range(3, 9)
    }
    assert weights[3] == pytest.approx([0, 0.625, 1.25, 1.875])
    assert weights[4] == pytest.approx([2.5, 3.125, 3.75, 4.375])
    assert weights[6][-1] == pytest.approx(9.375)
    assert weights[7] == weights[8] == [10] * 4


def test_alpha_and_temperature_reach_the_step():
    extreme = make_dividemix(cls=RecordingDivideMix, alpha=1e6)
    extreme.fit(2)
    assert all(step.mixup.share == pytest.approx(0.5, abs=0.01) for step in extreme.steps)
    usual = make_dividemix(cls=RecordingDivideMix)
    usual.fit(2)
    assert len({step.mixup.share for step in usual.steps}) == len(usual.steps)
    assert all(step.mixup.share >= 0.5 for step in usual.steps)
    for make in (make_dividemix, make_cc):
        results = []
        for temperature in (0.5, 1.0):
            method = make(temperature=temperature)
            method.fit(2)
            results.append(networks_digest(method))
        assert results[0] != results[1]


@pytest.mark.parametrize("penalised", [make_dividemix, make_cc])
def test_confidence_penalty_makes_the_warm_up_less_confident(penalised):
    entropies = []
    for penalty in (0.0, 5.0):
        method = penalised(confidence_penalty=penalty, warmup=10)
        method.fit(10)
        logits = method.models[0].eval()(method.data.inputs).detach()
        entropies.append(-float(negative_entropy(logits)))
    assert entropies[1] > entropies[0] + 0.1


# RRM


def test_rrm_plans_over_the_selected_set_by_losses_of_the_trained_network():
    # The probabilities say that a quarter of the labels selected by the first network are wrong, an eighth of the
    # second one's.
    method = script_dividemix([(scores(UP, LOW, 0.75), scores(DOWN, HIGH, 0.875))], rrm=rrms())
    method.fit(2)
    # The first network has the samples 16 to 47 by losses that ascend, the second one 0 to 23 by some that descend.
    assert method.divisions[0].pruned.tolist() == [44, 45, 46, 47]
    assert method.divisions[1].pruned.tolist() == [0, 1, 2, 3, 4, 5]
    for rrm, labelled, contamination in zip(method.rrm, (HIGH, LOW), (0.125, 0.25), strict=True):
        [entry] = rrm.trajectory.rounds
        assert entry.n_planned == len(labelled)
        assert entry.contamination == pytest.approx(contamination)
        assert entry.is_given
        assert (rrm.weights[~torch.isin(INDEX, labelled)] == 1).all()
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


def test_all_pruned_samples_are_unlabelled_only_if_some_remain():
    # gamma = 0 keeps the smallest loss.
    method = script_dividemix([(scores(UP, LOW), scores(UP, HIGH))], rrm=rrms(gamma=0.0), on_pruned="unlabelled")
    with pytest.warns(UserWarning, match="has no labelled set"):
        method.fit(2)
    assert [division.labelled.tolist() for division in method.divisions] == [[16], [0]]


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


# Epochs of drawn samples


def test_more_samples_of_an_epoch_than_there_are_is_refused():
    with pytest.raises(ValueError, match=f"epoch_samples must be at most {N}, .* got {N + 1}; leave it out to use all"):
        make_dividemix(epoch_samples=N + 1)


@pytest.mark.parametrize("on_pruned", ["drop", "unlabelled"])
def test_epochs_use_drawn_samples_as_many_of_each_class(on_pruned):
    data = told_apart()
    method = make_dividemix(
        TrainingSet(data.inputs / 10, data.labels, N_CLASSES),
        RecordingDivideMix,
        rrm=rrms(contamination=0.2),
        on_pruned=on_pruned,
        epoch_samples=24,
    )
    drawn = []

    def check(row):
        if row["epoch"] == 1:
            return
        for division, rrm in zip(method.divisions, method.rrm, strict=True):
            used = torch.cat([division.labelled, division.unlabelled]).sort().values
            drawn.append(used.tolist())
            assert torch.bincount(data.labels[used]).tolist() == [8, 8, 8]
            assert torch.isin(division.pruned, used).all()
            # RRM plans over the selected samples alone.
            assert rrm.trajectory.rounds[-1].n_planned == len(rrm.losses[~rrm.losses.isnan()])
            assert not rrm.losses[used].isnan().all()
            others = ~torch.isin(INDEX, used)
            assert rrm.losses[others].isnan().all()
            assert (rrm.weights[others] == 1).all()
        steps = [step for step in method.steps if step.epoch == row["epoch"]]
        for step in steps:
            views = [step.batch.first, *([] if step.batch.unlabelled is None else step.batch.unlabelled)]
            visited = (10 * torch.cat(views)[:, 0]).round().long()
            assert set(visited.tolist()) <= set(drawn[-1])

    method.fit(4, on_epoch=check)
    # Both networks have the same samples, and each epoch has new ones.
    assert drawn[0::2] == drawn[1::2]
    assert len({tuple(each) for each in drawn}) == 3


def test_scores_of_drawn_samples_are_those_of_their_index():
    labels = INDEX % N_CLASSES
    probability = torch.tensor([1.0, 0.75, 0.5])[labels] - INDEX / 1000
    method = script_dividemix(
        [(scores(UP, INDEX[4:], probability),) * 2], told_apart(), rrm=rrms(groups=labels), epoch_samples=24
    )
    method.fit(2)
    for step in method.steps:
        assert torch.equal(step.batch.clean_probability, probability[step.batch.first[:, 0].long()])
    for rrm, division in zip(method.rrm, method.divisions, strict=True):
        [entry] = rrm.trajectory.rounds
        of_class = [division.labelled[labels[division.labelled] == k] for k in range(N_CLASSES)]
        assert entry.contamination == pytest.approx(
            [float(1 - probability[each].mean()) for each in of_class], abs=1e-6
        )
        assert torch.equal(rrm.losses[division.labelled], UP[division.labelled])


@pytest.mark.parametrize("make", [make_dividemix, make_cc])
def test_mixture_by_class_has_the_labels_of_the_drawn_samples(make, monkeypatch):
    method = make(by_class=True, epoch_samples=24)
    index = torch.cat([torch.arange(8, 20), torch.arange(30, 42)])
    seen = []

    def low_probability(values, labels, settings):
        seen.append(labels)
        return torch.ones(len(values))

    for module in (centrality, dividemix):
        monkeypatch.setattr(module, "low_probability", low_probability)
    method._score(0, 2, index)
    [labels] = seen
    assert torch.equal(labels, method.data.labels[index])


@pytest.mark.parametrize("make", [make_dividemix, make_cc])
def test_warm_up_visits_the_drawn_samples_once(make, monkeypatch):
    visited = []
    shuffled = TrainingSet.shuffled

    def shuffle(self, index, batch_size, draws):
        visited.append(index)
        return shuffled(self, index, batch_size, draws)

    monkeypatch.setattr(TrainingSet, "shuffled", shuffle)
    make(epoch_samples=20, warmup=2).fit(2)
    assert [len(index) for index in visited] == [20] * 4
    assert torch.equal(visited[0], visited[1])
    assert not torch.equal(visited[0], visited[2])


@pytest.mark.parametrize("make", [make_dividemix, make_cc])
def test_epochs_of_all_samples_by_number_have_the_bits_of_all(make):
    digests = []
    for epoch_samples in (None, N):
        method = make(epoch_samples=epoch_samples, rrm=rrms())
        method.fit(3)
        digests.append(networks_digest(method))
    assert digests[0] == digests[1]


# Few or no samples


@pytest.mark.parametrize("n_selected", [0, 1])
@pytest.mark.parametrize("on_pruned", ["drop", "unlabelled"])
def test_a_network_without_a_labelled_set_trains_on_all_labels(n_selected, on_pruned):
    selected = LOW[:n_selected]
    method = script_dividemix([(scores(UP, selected), scores(UP, HIGH))], rrm=rrms(), on_pruned=on_pruned, seed=5)
    with pytest.warns(UserWarning, match=r"network 2 has no labelled set in epoch 2.*by_class=True") as caught:
        row = method.fit(2)[-1]
    assert caught[0].filename == __file__
    assert {step.k for step in method.steps} == {0}
    assert row["labelled"][1] == n_selected
    assert torch.tensor(row["loss"]).isfinite().all()


def test_two_labelled_samples_are_a_set():
    method = script_dividemix([(scores(UP, LOW[:2]), scores(UP, HIGH))], rrm=rrms())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        method.fit(2)
    assert [len(step.batch.first) for step in method.steps if step.k == 1] == [2]


@pytest.mark.parametrize("make", [make_dividemix, make_cc])
def test_an_empty_unlabelled_set_leaves_the_labelled_loss(make, monkeypatch):
    method = make(rrm=rrms(contamination=0.1), cls=RecordingDivideMix if make is make_dividemix else RecordingCC)
    everything = scores(UP, INDEX)
    monkeypatch.setattr(type(method), "_score", lambda self, k, epoch, index: everything)
    row = method.fit(2)[-1]
    assert torch.tensor(row["loss"]).isfinite().all()
    assert row["labelled"] == [N, N]
    assert all(step.batch.unlabelled is None for step in method.steps)


def test_a_single_unlabelled_sample_is_no_error():
    # The networks have batch norm, which can't be trained on one sample.
    method = script_dividemix([(scores(UP, INDEX[1:]), scores(UP, INDEX[1:]))])
    assert torch.tensor(method.fit(2)[-1]["loss"]).isfinite().all()


@pytest.mark.parametrize("n", [33, 47, 49])
@pytest.mark.parametrize("make", [make_dividemix, make_cc])
def test_any_number_of_samples_can_be_trained_on(n, make):
    row = make(noisy_set(n), batch_size=16).fit(3)[-1]
    assert torch.tensor(row["loss"]).isfinite().all()


@pytest.mark.parametrize("options", [{}, {"by_class": True}])
@pytest.mark.parametrize("make", [make_dividemix, make_cc])
def test_a_missing_class_is_no_error(make, options):
    data = noisy_set()
    labels = torch.where(data.labels == 1, 0, data.labels)
    row = make(TrainingSet(data.inputs, labels, N_CLASSES), rrm=rrms(), **options).fit(3)[-1]
    assert torch.tensor(row["loss"]).isfinite().all()


def test_equal_losses_select_all(monkeypatch):
    method = make_dividemix(rrm=rrms())
    monkeypatch.setattr(method, "losses_of", lambda k, index: torch.ones(N))
    row = method.fit(2)[-1]
    assert row["labelled"] == [N, N]
    assert row["pruned"] == [0, 0]


def test_infinite_losses_are_refused_by_name_unless_they_are_cut_off(monkeypatch):
    losses = torch.rand(N, generator=torch.Generator().manual_seed(0))
    losses[7] = torch.inf
    method = make_dividemix(rrm=rrms(contamination=0.1))
    monkeypatch.setattr(method, "losses_of", lambda k, index: losses)
    with pytest.raises(ValueError, match=r"losses must be finite .*, got inf for sample 7, and 1 of 48"):
        method.fit(2)
    method = make_dividemix(rrm=rrms(contamination=0.1), clip=0.98)
    monkeypatch.setattr(method, "losses_of", lambda k, index: losses)
    assert torch.tensor(method.fit(2)[-1]["loss"]).isfinite().all()


# Random draws


def test_networks_draw_different_numbers():
    method = script_dividemix([(scores(UP, HIGH), scores(UP, HIGH))], told_apart())
    method.fit(3)
    orders = {}
    shares = {}
    for epoch in (2, 3):
        for k in (0, 1):
            steps = [step for step in method.steps if (step.epoch, step.k) == (epoch, k)]
            orders[epoch, k] = tuple(torch.cat([step.batch.first[:, 0] for step in steps]).tolist())
            shares[epoch, k] = tuple(step.mixup.share for step in steps)
    assert len(set(orders.values())) == len(set(shares.values())) == 4


@pytest.mark.parametrize("make", [make_dividemix, make_cc])
def test_equal_networks_differ_after_the_warm_up(make):
    method = make()
    method.models[1].load_state_dict(method.models[0].state_dict())
    method.fit(1)
    first, second = (next(iter(model.parameters())) for model in method.models)
    assert not torch.equal(first, second)


def test_a_division_is_shown_by_the_sizes_of_its_sets():
    method = make_dividemix(rrm=rrms(contamination=0.5))
    method.fit(2)
    division = method.divisions[0]
    sizes = f"{len(division.labelled)} labelled, {len(division.unlabelled)} unlabelled, {len(division.pruned)} pruned"
    assert repr(division) == f"<Division: {sizes}>"
    assert len(division.pruned) > 0
