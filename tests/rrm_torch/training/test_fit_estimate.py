"""`fit` with ``contamination="auto"``: outputs and labels passed on, planned epochs, and warnings about warm-ups."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import nn

from rrm_torch import ELR, RRM, BatchRRM, Checkpoint, batches, fit
from rrm_torch.losses.regularized import LossParts
from support.clouds import three_clouds
from support.layout_jobs import differences

N = 900
K = 3


@pytest.fixture
def noisy_clouds():
    """Return three clouds, of which every fifth label is the next class."""
    x, y = three_clouds(N)
    wrong = torch.arange(N) % 5 == 0
    return x, torch.where(wrong, (y + 1) % K, y)


def train(x, y, epochs, *, checkpoint=None, **options):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, K))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    order = torch.Generator().manual_seed(0)
    if checkpoint is not None:
        options["checkpoint"] = Checkpoint(
            checkpoint, model=model, optimizer=optimizer, order=order, rrm=options["rrm"]
        )
    fit(model, batches(x, y, 60, shuffle=True, generator=order), optimizer, epochs, **options)
    return model


def test_fit_estimates_the_contamination(noisy_clouds):
    rrm = RRM(N, contamination="auto")
    train(*noisy_clouds, 30, rrm=rrm)
    assert abs(rrm.estimate.contamination - 0.2) < 0.05
    assert rrm.epochs == 30
    assert rrm.estimate.epoch <= 10
    flagged = rrm.flagged()
    assert (flagged % 5 == 0).float().mean() > 0.9


def test_warmup_fits_into_few_epochs(noisy_clouds):
    rrm = RRM(N, contamination="auto")
    train(*noisy_clouds, 3, rrm=rrm)
    assert rrm.estimate.epoch == 1
    assert len(rrm.trajectory.rounds) == 3


def test_number_of_numpy_is_a_plan_that_a_state_can_hold(noisy_clouds, tmp_path):
    rrm = RRM(N, contamination="auto")
    train(*noisy_clouds, np.int64(2), rrm=rrm)
    torch.save(rrm.state_dict(), tmp_path / "state.pt")
    loaded = RRM(N, contamination="auto")
    loaded.load_state_dict(torch.load(tmp_path / "state.pt"))
    assert loaded.epochs == 2


def test_planned_epochs_that_are_given_are_kept(noisy_clouds):
    rrm = RRM(N, contamination="auto", epochs=99)
    train(*noisy_clouds, 2, rrm=rrm)
    assert (rrm.epochs, rrm.estimate) == (99, None)


def test_loss_with_a_regularizer_passes_its_outputs_on(noisy_clouds):
    rrm = RRM(N, contamination="auto")
    train(*noisy_clouds, 6, rrm=rrm, loss=ELR(N, K))
    assert rrm.estimate is not None


def test_loss_that_returns_no_outputs_is_refused(noisy_clouds):
    class Own:
        def label_loss(self, outputs, y):
            return nn.functional.cross_entropy(outputs, y, reduction="none")

        def parts(self, model, x, y, index):
            return LossParts(self.label_loss(model(x), y))

    with pytest.raises(ValueError, match=r"contamination='auto' needs weighted_mean.*got no logits"):
        train(*noisy_clouds, 3, rrm=RRM(N, contamination="auto"), loss=Own())


def test_soft_labels_have_no_estimate(noisy_clouds):
    x, y = noisy_clouds
    soft = nn.functional.one_hot(y, K).float()
    with pytest.raises(ValueError, match=r"labels must be classes, integers of shape \(60,\), got \(60, 3\)"):
        train(x, soft, 3, rrm=RRM(N, contamination="auto"))


def test_scoring_pass_decides_what_is_pruned_after_the_warmup(noisy_clouds):
    rrm = RRM(N, contamination="auto")
    model = train(*noisy_clouds, 12, rrm=rrm, score_loader=batches(*noisy_clouds, 100, shuffle=False))
    losses = nn.functional.cross_entropy(model(noisy_clouds[0]), noisy_clouds[1], reduction="none")
    assert rrm.flagged().sort().values.tolist() == losses.topk(rrm.plan.n_pruned).indices.sort().values.tolist()
    assert rrm.trajectory.rounds[0].epoch == rrm.estimate.epoch == 4


def test_run_resumed_within_the_warmup_has_the_same_bits(noisy_clouds, tmp_path):
    whole = RRM(N, contamination="auto")
    train(*noisy_clouds, 12, rrm=whole, checkpoint=tmp_path / "whole.pt")
    first = RRM(N, contamination="auto", epochs=12)
    train(*noisy_clouds, 2, rrm=first, checkpoint=tmp_path / "part.pt")
    second = RRM(N, contamination="auto")
    train(*noisy_clouds, 12, rrm=second, checkpoint=tmp_path / "part.pt")
    assert second.epochs == 12
    assert differences(second.state_dict(), whole.state_dict()) == []


def test_interrupted_epoch_begins_again(noisy_clouds):
    x, y = noisy_clouds
    whole, interrupted = (RRM(N, contamination="auto", epochs=12) for _ in range(2))
    train(x, y, 2, rrm=whole)
    outputs = torch.rand(50, K)
    losses = nn.functional.cross_entropy(outputs, y[:50], reduction="none")
    interrupted.weighted_mean(losses, torch.arange(50), logits=outputs, labels=y[:50])
    train(x, y, 2, rrm=interrupted)
    assert differences(interrupted.state_dict(), whole.state_dict()) == []


@pytest.mark.parametrize(
    ("settings", "epochs", "message"),
    [
        ({}, 3, "the run ends after epoch 3, and the first reweight follows epoch 10 at the earliest: no sample"),
        (
            {"warmup": 3},
            3,
            "follows epoch 3 at the earliest: no epoch is trained with the new weights; make RRM with a smaller",
        ),
        ({"warmup": 31, "unit": "step"}, 2, r"after step 30 \(in epoch 2\), .* follows step 31 \(in epoch 3\)"),
        (
            {"warmup": "auto"},
            1,
            "after epoch 1, and the first reweight follows epoch 1 at .*; train longer",
        ),
        (
            {"warmup": "auto", "unit": "step"},
            1,
            r"after step 15 \(in epoch 1\), and the first reweight follows step 16 \(in epoch 2\) at .*: no sample is",
        ),
    ],
)
def test_run_that_ends_before_its_first_reweight_warns(settings, epochs, message, noisy_clouds):
    with pytest.warns(UserWarning, match=message):
        train(*noisy_clouds, epochs, rrm=RRM(N, contamination=0.2, **settings))


def test_fit_called_epoch_by_epoch_warns_once_and_plans_nothing(noisy_clouds):
    x, y = noisy_clouds
    rrm = RRM(N, contamination="auto")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(4):
            train(x, y, 1, rrm=rrm)
    assert rrm.epochs is None
    assert rrm.estimate is None
    assert [str(warning.message)[:30] for warning in caught] == ["the run ends after epoch 1, an"]


def test_plan_of_steps_is_the_same_when_resumed(noisy_clouds, tmp_path):
    whole = RRM(N, contamination="auto", unit="step")
    train(*noisy_clouds, 6, rrm=whole)
    part = RRM(N, contamination="auto", unit="step", epochs=6)
    train(*noisy_clouds, 1, rrm=part, checkpoint=tmp_path / "part.pt")
    resumed = RRM(N, contamination="auto", unit="step")
    train(*noisy_clouds, 6, rrm=resumed, checkpoint=tmp_path / "part.pt")
    assert resumed.epochs == whole.epochs == 6
    assert differences(resumed.state_dict(), whole.state_dict()) == []


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "rrm",
    [
        RRM(N, contamination=0.2, warmup=1),
        RRM(N, contamination=0.2, epochs=20),
        RRM(N, contamination=0.2, warmup="auto"),
        RRM(N, contamination=0.2, warmup=15, unit="step"),
        BatchRRM(N, contamination=0.2),
    ],
    ids=["early", "planned", "auto", "step", "batch"],
)
def test_run_that_reweights_in_time_does_not_warn(rrm, noisy_clouds):
    train(*noisy_clouds, 2, rrm=rrm)
