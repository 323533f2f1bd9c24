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
