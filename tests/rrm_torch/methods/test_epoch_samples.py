"""Epochs of DivideMix and CC that use drawn samples."""

from __future__ import annotations

import pytest
import torch

from rrm_torch.methods import centrality, dividemix
from rrm_torch.methods.training_set import TrainingSet
from support.small_methods import (
    INDEX,
    N_CLASSES,
    UP,
    N,
    RecordingDivideMix,
    make_cc,
    make_dividemix,
    networks_digest,
    record_passes,
    rrms,
    scores,
    script_dividemix,
    told_apart,
)


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
    passes = record_passes(monkeypatch)
    make(epoch_samples=20, warmup=2).fit(2)
    visited = [index for index, _ in passes]
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
