"""A call of fit that fails or is interrupted can be repeated."""

from __future__ import annotations

import shutil

import pytest
import torch
from torch import nn

from rrm_torch import ELR, RRM, Checkpoint, History, batches, fit
from rrm_torch.training.fit import _score_epoch
from support.interrupts import interrupted
from support.run_state import digest

N, EPOCHS = 12, 3
X = torch.linspace(-1, 1, 4 * N).view(N, 4)
Y = torch.arange(N) % 3


class Run:
    """A short run with everything that a checkpoint can hold."""

    def __init__(self, path, *, scored=False):
        torch.manual_seed(0)
        order = torch.Generator().manual_seed(1)
        model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Dropout(0.3), nn.Linear(5, 3))
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        self.objects = {
            "model": model,
            "optimizer": optimizer,
            "scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5),
            "rrm": RRM(N, contamination=0.2, warmup=1, epochs=99, losses_from="pass" if scored else "training"),
            "elr": ELR(N, 3),
            "history": History(),
            "order": order,
        }
        self.loader = batches(X, Y, 6, shuffle=True, generator=order)
        self.score_loader = batches(X, Y, 5, shuffle=False) if scored else None
        self.checkpoint = Checkpoint(path, **self.objects)

    def fit(self, epochs=EPOCHS):
        parts = self.objects
        fit(
            parts["model"],
            self.loader,
            parts["optimizer"],
            epochs,
            rrm=parts["rrm"],
            loss=parts["elr"],
            score_loader=self.score_loader,
            scheduler=parts["scheduler"],
            checkpoint=self.checkpoint,
            on_epoch=lambda epoch, loss: parts["history"].record(epoch, loss, 0.5, parts["rrm"]),
        )
        return digest(parts)


@pytest.mark.parametrize("scored", [False, True], ids=["recorded", "scored"])
def test_interrupted_fit_resumes_to_the_same_bits(tmp_path, scored):
    whole = Run(tmp_path / "whole.pt", scored=scored).fit()
    Run(tmp_path / "first.pt", scored=scored).fit(1)

    def make():
        shutil.copy(tmp_path / "first.pt", tmp_path / "run.pt")
        return Run(tmp_path / "run.pt", scored=scored)

    for _, run in interrupted(make, Run.fit, samples=25, seed=scored):
        assert run.fit() == whole


class Breaking:
    """A loader that fails in its second batch."""

    def __iter__(self):
        yield torch.arange(5), X[:5], Y[:5]
        raise OSError("the disk is gone")


def test_failed_scoring_pass_keeps_the_recorded_losses():
    model = nn.Linear(4, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    rrm = RRM(N, contamination=0.2, warmup=1, epochs=99)
    loader = batches(X, Y, 6, shuffle=False)
    with pytest.raises(OSError, match="the disk is gone"):
        fit(model, loader, optimizer, 1, rrm=rrm, score_loader=Breaking())
    assert not torch.is_inference_mode_enabled()
    assert rrm.step().n == N  # by the losses recorded in training


def test_failed_step_keeps_the_recorded_losses():
    model = nn.Linear(4, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    rrm = RRM(N, contamination=0.2, warmup=1, epochs=99)
    loader = batches(X, Y, 6, shuffle=False)
    with pytest.raises(ValueError, match="losses"):
        fit(model, loader, optimizer, 1, rrm=rrm, score_loader=batches(X[:5], Y[:5], 5, shuffle=False))
    assert rrm.step().n == N


def test_failed_scoring_pass_of_a_rank_keeps_the_recorded_losses():
    model = nn.Linear(4, 3)
    rrm = RRM(N, contamination=0.2, warmup=1, epochs=99)
    rrm.layout = "replicated"  # of a single rank
    rrm.record(torch.linspace(0, 1, N), torch.arange(N))
    with pytest.raises(OSError, match="the disk is gone"):
        _score_epoch(model, Breaking(), rrm, nn.CrossEntropyLoss(reduction="none"), None, None)
    assert not torch.is_inference_mode_enabled()
    assert rrm.step().n == N


def test_scores_are_recorded_outside_inference_mode():
    model = nn.Linear(4, 3)
    modes = []

    class Recorder(RRM):
        def record(self, _losses, _index):
            modes.append(torch.is_inference_mode_enabled())

    rrm = Recorder(N, contamination=0.2)
    rrm.layout = "replicated"
    loader = batches(X, Y, 6, shuffle=False)
    _score_epoch(model, loader, rrm, nn.CrossEntropyLoss(reduction="none"), None, None)
    assert modes == [False, False]
