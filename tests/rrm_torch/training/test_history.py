from __future__ import annotations

import numpy as np
import pytest
import torch

from rrm_torch import RRM, History
from rrm_torch.training.history import WEIGHT_EDGES

LOSSES = torch.tensor([0.1, 5.0, 0.2, 9.0, 0.3])


def test_record_without_rrm():
    history = History()
    history.record(1, 2.0, 0.5)
    (epoch,) = history.epochs
    assert (epoch.epoch, epoch.loss, epoch.accuracy, epoch.threshold, epoch.groups) == (1, 2.0, 0.5, None, {})


def test_record_separates_clean_and_wrong_labels():
    wrong = np.array([False, True, True, False, False])
    rrm = RRM(5, contamination=0.4, warmup=2)
    history = History(wrong)
    for epoch in (1, 2):
        rrm.step(LOSSES)
        history.record(epoch, 1.0, 0.5, rrm)
    first, second = history.epochs
    assert first.threshold is None
    assert (first.groups["clean"].mean_weight, first.groups["clean"].pruned) == (1.0, 0.0)
    assert second.threshold == pytest.approx(0.3)
    clean = second.groups["clean"]
    wrong = second.groups["wrong"]
    assert (clean.pruned, wrong.pruned) == (pytest.approx(1 / 3), 0.5)
    assert clean.mean_weight == pytest.approx(2 / 3 * 5 / 3)
    assert wrong.mean_weight == pytest.approx(0.5 * 5 / 3)


@pytest.mark.parametrize("wrong", [None, np.zeros(5, bool)], ids=["unknown", "none wrong"])
def test_record_with_a_single_group(wrong):
    rrm = RRM(5, contamination=0.4, warmup=1)
    history = History(wrong)
    rrm.step(LOSSES)
    history.record(1, 1.0, 0.5, rrm)
    (group,) = history.epochs[0].groups.values()
    assert group.pruned == 0.4
    assert group.mean_weight == pytest.approx(1.0)


def test_weight_histogram():
    wrong = np.array([False, True, True, False, False])
    rrm = RRM(5, contamination=0.4, redistribute="argmin", warmup=1)
    history = History(wrong)
    rrm.step(LOSSES)  # the weights are 3, 0, 1, 0, 1
    history.record(1, 1.0, 0.5, rrm)
    groups = history.epochs[0].groups
    counted = {
        name: {low: count for low, count in zip(WEIGHT_EDGES, group.histogram, strict=False) if count}
        for name, group in groups.items()
    }
    assert counted == {"clean": {0.0: 1, 0.95: 1, 2.0: 1}, "wrong": {0.0: 1, 0.95: 1}}
    assert len(groups["clean"].histogram) == len(WEIGHT_EDGES) - 1


def test_state_round_trip(tmp_path):
    rrm = RRM(5, contamination=0.4, warmup=1)
    history = History(np.array([True, False, False, False, False]))
    history.record(1, 2.0, 0.25)
    rrm.step(LOSSES)
    history.record(2, 1.0, 0.5, rrm)
    torch.save(history.state_dict(), tmp_path / "history.pt")
    again = History()
    again.load_state_dict(torch.load(tmp_path / "history.pt", weights_only=True))
    assert again.epochs == history.epochs


def test_record_rejects_sharded_layout():
    rrm = RRM(8, contamination=0.2)
    rrm.layout = "sharded"
    history = History()
    with pytest.raises(ValueError, match=r"rrm has layout='sharded': .*; record without rrm"):
        history.record(1, 0.5, 0.9, rrm)
    assert not history.epochs


NOT_NUMBERS = ("x", True, [], {}, (1,), torch.tensor(1.0), 1j)
FORGED = {
    "epoch": (None, -1, 0, 2**80, 1.0, *NOT_NUMBERS),
    "loss": (None, *NOT_NUMBERS),
    "accuracy": (None, *NOT_NUMBERS),
    "threshold": NOT_NUMBERS,
    "groups": (None, "x", [], (1,), {"all": {}}, {3: {}}, {"all": None}),
    "mean_weight": (None, *NOT_NUMBERS),
    "pruned": (None, *NOT_NUMBERS),
    "histogram": (None, "x", True, {}, (1.5,), (True,), [None], torch.tensor(1.0)),
}


@pytest.mark.parametrize("name", FORGED)
def test_load_rejects_forged_entries_and_keeps_the_epochs(name):
    rrm = RRM(5, contamination=0.4, warmup=1)
    rrm.step(LOSSES)
    history = History()
    history.record(1, 2.0, 0.25, rrm)
    before = list(history.epochs)
    for value in FORGED[name]:
        state = history.state_dict()
        entry = state["epochs"][0]
        (entry if name in entry else entry["groups"]["all"])[name] = value
        with pytest.raises(ValueError, match=r"state's epochs\[0\] is invalid: "):
            history.load_state_dict(state)
    state = history.state_dict()
    entry = state["epochs"][0]
    del (entry if name in entry else entry["groups"]["all"])[name]
    with pytest.raises(ValueError, match=rf"state's epochs\[0\] is invalid: it must have .*{name}"):
        history.load_state_dict(state)
    assert history.epochs == before


@pytest.mark.parametrize("state", [None, [], {}, {"epochs": None}, {"epochs": [3]}, {"epochs": {}}])
def test_load_rejects_what_is_no_state(state):
    history = History()
    history.record(1, 2.0, 0.25)
    with pytest.raises(ValueError, match="state"):
        history.load_state_dict(state)
    assert len(history.epochs) == 1
