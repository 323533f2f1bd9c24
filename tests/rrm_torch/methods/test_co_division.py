"""The loop that DivideMix and CC share: selection, batches, few samples, random draws."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch.testing import assert_close

from rrm_torch.methods.soft_labels import negative_entropy
from rrm_torch.methods.training_set import TrainingSet
from support.small_methods import (
    DOWN,
    HIGH,
    INDEX,
    LOW,
    N_CLASSES,
    UP,
    N,
    RecordingCC,
    RecordingDivideMix,
    make_cc,
    make_dividemix,
    networks_digest,
    noisy_set,
    record_passes,
    rrms,
    scores,
    script_dividemix,
    told_apart,
)


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
    passes = record_passes(monkeypatch)
    method.fit(2)
    assert not hasattr(method, "steps")
    assert {size for _, size in passes} == {16}
    assert set(method.history[-1]) == {"epoch", "loss"}
    assert method.divisions is None
    method.fit(3)
    assert {step.epoch for step in method.steps} == {3}
    assert {size for _, size in passes} == {16, 8}


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
