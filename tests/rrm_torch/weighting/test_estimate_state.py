"""States, ranks and graphs of an RRM that makes an estimate."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from rrm_torch import RRM
from support import estimate_jobs
from support.estimate_jobs import N, trained, until_estimate
from support.layout_jobs import differences
from support.rank_jobs import on_ranks


@pytest.mark.parametrize("half", [0, 1, 4, 7, 8, 9])
@pytest.mark.parametrize(
    "settings", [{}, {"epochs": 9}, {"groups": torch.arange(N) % 3}, {"contamination": 0.1, "warmup": "auto"}]
)
def test_run_resumed_in_mid_epoch_has_the_same_bits(half, settings):
    settings = {"contamination": "auto", **settings}
    order = torch.randperm(N, generator=torch.Generator().manual_seed(1))

    def run(rrm, epochs, start=0):
        for epoch in epochs:
            estimate_jobs.train_epoch(rrm, epoch, order[start if epoch == epochs[0] else 0 :])
            rrm.step()
        return rrm.state_dict()

    whole = run(RRM(N, **settings), range(12))
    first = RRM(N, **settings)
    run(first, range(half))
    estimate_jobs.train_epoch(first, half, order[:304])
    # The planned epochs come with the state.
    second = RRM(N, **{name: value for name, value in settings.items() if name != "epochs"})
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert differences(second.state_dict(), first.state_dict()) == []
    assert differences(run(second, range(half, 12), 304), whole) == []


@pytest.mark.parametrize("settings", [{}, {"groups": torch.arange(203) % 4}], ids=["all", "groups"])
@pytest.mark.parametrize("size", [2, 3])
def test_every_layout_gives_the_same_estimate_and_state(size, settings):
    settings = {"contamination": "auto", **settings}
    n = 203
    expected = {k: estimate_jobs.comparable(estimate_jobs.train(None, n, settings, range(k))) for k in (5, 16)}
    assert expected[16]["estimate"] != "None"
    for found in on_ranks(size, estimate_jobs.differences_by_layout, n, settings, expected, 5):
        assert found == [[]] * 6


def test_ranks_with_other_numbers_of_classes_are_refused():
    for message in on_ranks(2, estimate_jobs.error_of_other_classes, 200):
        assert "ranks have logits of different numbers of classes: 2, 3" in message


def test_plan_of_the_last_state_counts_unless_one_is_given():
    loaded = RRM(N, contamination="auto")
    for epochs in (40, 8, None):
        loaded.load_state_dict(RRM(N, contamination="auto", epochs=epochs).state_dict())
        assert loaded.epochs == epochs
    given = RRM(N, contamination="auto", epochs=30)
    given.load_state_dict(RRM(N, contamination="auto", epochs=40).state_dict())
    assert given.epochs == 30


@pytest.mark.parametrize("layout", ["replicated", "sharded"])
def test_groups_that_are_classes_are_refused_on_all_ranks(layout):
    errors = on_ranks(2, estimate_jobs.error_of_classes_as_groups, N, layout)
    assert len(set(errors)) == 1
    assert "each group has one given class of its own" in errors[0]


def test_compiled_loop_gives_the_same_state():
    eager, compiled = (RRM(N, contamination="auto") for _ in range(2))
    logits = estimate_jobs.logits_of_epoch(2, N)
    labels = estimate_jobs.labels_of(N)

    def mean(losses, index, logits, labels):
        return compiled.weighted_mean(losses, index, logits=logits, labels=labels)

    losses = F.cross_entropy(logits, labels, reduction="none")
    index = torch.arange(N)
    first = eager.weighted_mean(losses, index, logits=logits, labels=labels)
    second = torch.compile(mean, fullgraph=True, backend="eager")(losses, index, logits, labels)
    assert torch.equal(first, second)
    assert differences(eager.state_dict(), compiled.state_dict()) == []


@pytest.mark.parametrize("default", [torch.float64, torch.bfloat16])
def test_estimate_does_not_depend_on_defaults_of_torch_nor_inference_mode(default):
    expected = until_estimate()
    before = torch.get_default_dtype()
    torch.set_default_dtype(default)
    try:
        with torch.inference_mode():
            rrm = RRM(N, contamination="auto")
            estimate_jobs.train_epoch(rrm, 0, torch.arange(N))
            rrm.step()
        for epoch in range(1, expected.epoch):
            estimate_jobs.train_epoch(rrm, epoch, torch.arange(N))
            rrm.step()
    finally:
        torch.set_default_dtype(before)
    assert differences(rrm.state_dict(), expected.state_dict()) == []


DAMAGES = {
    "labels of another length": (lambda s: s.update(labels=s["labels"][1:]), "labels must be classes of 600 samples"),
    "a class out of range": (lambda s: s["passes"].fill_(9 << 16), "passes must be predictions of 4 classes"),
    "a doubt above 1": (lambda s: s["passes"].fill_(0x3C01), "passes must be predictions of 4 classes"),
    "more agreed than seen": (lambda s: s.update(rounds=[(5, 6, 7, 7, 9)]), "rounds must have five counts each"),
    "more pairs than there are": (lambda s: s.update(rounds=[(5, 5, 7, 7, 26)]), "rounds must have five counts each"),
    "no rounds": (lambda s: s.update(rounds=None), "rounds must have five counts each"),
    "three counts": (lambda s: s.update(rounds=[(5, 5, 7)]), "rounds must have five counts each"),
    "a negative count": (lambda s: s.update(n_calls=-1), "must be counts"),
    "a missing entry": (lambda s: s.pop("chosen"), "predictions must hold labels"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_predictions_are_refused(damage):
    state = trained(2).state_dict()
    change, message = DAMAGES[damage]
    change(state["predictions"])
    rrm = RRM(N, contamination="auto")
    with pytest.raises(ValueError, match=message):
        rrm.load_state_dict(state)
    assert rrm.epoch == 0


ESTIMATE_DAMAGES = {
    "contamination": (1.0, "contamination"),
    "interval": ([0.5, 0.2], "interval"),
    "epoch": (None, "epoch"),
    "n_held_out": (10_000, "n_held_out"),
    "pairs": (torch.zeros(2, 2, dtype=torch.int64), "pairs"),
}


@pytest.mark.parametrize("name", ESTIMATE_DAMAGES)
def test_damaged_estimate_is_refused(name):
    state = until_estimate().state_dict()
    value, message = ESTIMATE_DAMAGES[name]
    state["estimate"][name] = value
    with pytest.raises(ValueError, match=f"state's estimate has {message}"):
        RRM(N, contamination="auto").load_state_dict(state)


def test_state_with_and_without_estimation_do_not_mix():
    state = trained(2).state_dict()
    with pytest.raises(ValueError, match=r"contamination is 'auto' there and 0\.1 here"):
        RRM(N, contamination=0.1).load_state_dict(state)
    state["predictions"] = None
    with pytest.raises(ValueError, match="must hold either predictions or an estimate"):
        RRM(N, contamination="auto").load_state_dict(state)
    with pytest.raises(ValueError, match="other settings: seed is 0 there and 1 here"):
        RRM(N, contamination="auto", seed=1).load_state_dict(trained(2).state_dict())
