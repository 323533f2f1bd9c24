"""Samples that are not seen in an epoch, and states saved in the middle of one."""

from __future__ import annotations

import io

import pytest
import torch

import rrm_core
from rrm_torch import RRM, BatchRRM
from rrm_torch.weighting.layout import SingleProcess
from support.weighting import FIVE, INDEX, LOSSES, N, assert_identical

GENERATOR = torch.Generator().manual_seed(1)


def saved_and_loaded(rrm, make):
    file = io.BytesIO()
    torch.save(rrm.state_dict(), file)
    file.seek(0)
    other = make()
    other.load_state_dict(torch.load(file, weights_only=True))
    return other


MAKERS = {
    "epochs": lambda: RRM(N, contamination=0.3, warmup=2, mu=0.5),
    "epochs, latest": lambda: RRM(N, contamination=0.3, warmup=2, every=2, unseen="latest"),
    "steps": lambda: RRM(N, contamination=0.3, warmup=5, every=3, unit="step"),
    "steps, latest": lambda: RRM(N, contamination=0.3, warmup=2, every=3, unit="step", unseen="latest"),
    "pruned NaN": lambda: RRM(N, contamination=0.3, warmup=2, nan="prune"),
    "batches": lambda: BatchRRM(N, contamination=0.3, warmup=2),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_run_resumed_after_any_batch_ends_with_same_bits(make, dtype):
    n_epochs, n_batches = 4, 5
    losses = torch.rand(n_epochs, N, generator=GENERATOR, dtype=dtype)
    orders = [torch.randperm(N, generator=GENERATOR) for _ in range(n_epochs)]

    def run(rrm, stops):
        batch = 0
        for epoch in range(n_epochs):
            for index in orders[epoch].split(N // n_batches):
                rrm.weighted_mean(losses[epoch, index], index)
                if batch in stops:
                    rrm = saved_and_loaded(rrm, make)
                if rrm.unit == "step":
                    rrm.step()
                batch += 1
            if rrm.unit == "epoch":
                rrm.step()
        return rrm

    whole = run(make(), ())
    wanted = whole.state_dict()
    assert whole.trajectory.rounds
    for stops in [*((batch,) for batch in range(n_epochs * n_batches)), range(n_epochs * n_batches)]:
        state = run(make(), stops).state_dict()
        for name in ("weights", "losses"):
            assert_identical(state[name], wanted[name])
        assert state["trajectory"]["rounds"] == wanted["trajectory"]["rounds"]
        assert_identical(state["trajectory"]["excess_sum"], wanted["trajectory"]["excess_sum"])


def test_state_at_end_of_epoch_holds_no_recorded_losses():
    rrm = RRM(5, contamination=0.2, warmup=1)
    rrm.weighted_mean(FIVE[:2], INDEX[:2])
    state = rrm.state_dict()
    assert_identical(state["recorded"], torch.tensor([*FIVE[:2].tolist(), *[torch.nan] * 3]))
    assert state["marks"].tolist() == [1, 1, 0, 0, 0]
    rrm.weighted_mean(FIVE[2:], INDEX[2:5])
    rrm.step()
    assert rrm.state_dict()["recorded"] is None


def test_repeated_sample_is_an_error_after_resuming_too():
    def make():
        return RRM(5, contamination=0.2, warmup=1)

    rrm = make()
    rrm.weighted_mean(FIVE, INDEX[:5])
    rrm.weighted_mean(FIVE[:1], INDEX[:1])
    with pytest.raises(ValueError, match="1 seen more than once"):
        saved_and_loaded(rrm, make).step()


def test_latest_loss_of_unseen_sample_counts():
    rrm = RRM(5, contamination=0.2, warmup=1, unseen="latest")
    rrm.weighted_mean(FIVE, INDEX[:5])
    rrm.step()
    rrm.weighted_mean(FIVE[:2] + 10, INDEX[:2])
    plan = rrm.step()
    latest = torch.cat([FIVE[:2] + 10, FIVE[2:]])
    expected, expected_plan = rrm_core.reweight(latest, contamination=0.2, redistribute="kept")
    assert plan == expected_plan
    assert_identical(rrm.weights, expected)
    assert_identical(rrm.losses, latest)


def test_latest_of_several_losses_counts():
    rrm = RRM(5, contamination=0.2, warmup=1, unseen="latest")
    rrm.weighted_mean(FIVE + 3, INDEX[:5])
    rrm.weighted_mean(FIVE, INDEX[:5])
    rrm.step()
    assert_identical(rrm.losses, FIVE)


@pytest.mark.parametrize("mu", [1.0, 0.3])
@pytest.mark.parametrize("unit", ["epoch", "step"])
def test_never_seen_samples_keep_weight_1_and_are_not_planned(unit, mu):
    seen = torch.tensor([0, 2, 3, 5, 6, 8])
    unseen = torch.tensor([1, 4, 7, 9])
    rrm = RRM(N, contamination=0.34, warmup=1, unit=unit, mu=mu, unseen="latest")
    rrm.weighted_mean(LOSSES[seen], seen)
    plan = rrm.step()
    expected, expected_plan = rrm_core.reweight(LOSSES[seen], contamination=0.34, redistribute="kept", mu=mu)
    assert plan == rrm.plan == expected_plan
    assert plan.n == 6
    assert_identical(rrm.weights[seen], expected)
    assert_identical(rrm.weights[unseen], torch.ones(4))
    assert rrm.losses[unseen].isnan().all()
    assert sorted(rrm.flagged().tolist()) == [3, 6]
    assert rrm.trajectory.share_pruned[unseen].isnan().all()
    assert rrm.trajectory.mean_excess[unseen].isnan().all()
    again = saved_and_loaded(rrm, lambda: RRM(N, contamination=0.34, warmup=1, unit=unit, mu=mu, unseen="latest"))
    assert again.plan == plan
    for other in (rrm, again):
        other.weighted_mean(LOSSES, INDEX)
        assert other.step().n == N
    assert_identical(again.trajectory.share_pruned, rrm.trajectory.share_pruned)
    assert rrm.trajectory.share_pruned.tolist() == [0, 0, 0, 1, 0, 0, 1, 1, 0, 0]
    assert rrm.ranking()[:3].tolist() == [3, 6, 7]
    entry = rrm.trajectory.rounds[0]
    assert entry.objective == pytest.approx(float(LOSSES[seen].clamp(max=plan.threshold).mean()))


def test_loss_that_is_nan_counts_as_unseen():
    rrm = RRM(5, contamination=0.2, warmup=1, unseen="latest")
    losses = FIVE.clone()
    losses[3] = torch.nan
    rrm.weighted_mean(losses, INDEX[:5])
    assert rrm.step().n == 4
    rrm.weighted_mean(FIVE, INDEX[:5])
    rrm.step()
    assert rrm.flagged().tolist() == [3]
    rrm.weighted_mean(losses, INDEX[:5])
    assert rrm.step().n == 5
    assert_identical(rrm.losses, FIVE)
    rrm.step(losses)
    assert_identical(rrm.losses, FIVE)


def test_nan_can_be_pruned_among_unseen_samples():
    def make():
        return RRM(5, contamination=0.25, warmup=1, unseen="latest", nan="prune")

    rrm = make()
    rrm.weighted_mean(torch.tensor([1.0, torch.nan, 2.0, 3.0]), torch.tensor([0, 1, 2, 3]))
    assert rrm.step().n == 4
    assert rrm.flagged().tolist() == [1]
    assert saved_and_loaded(rrm, make).plan == rrm.plan


def test_diverged_model_is_an_error():
    rrm = RRM(5, contamination=0.2, warmup=1, unseen="latest")
    rrm.weighted_mean(FIVE, INDEX[:5])
    rrm.step()
    rrm.weighted_mean(FIVE * torch.nan, INDEX[:5])
    with pytest.raises(ValueError, match="none has a loss that was recorded since the last reweight and is a number"):
        rrm.step()


def test_unseen_rejects_unknown_value():
    with pytest.raises(ValueError, match="unseen must be one of 'raise', 'latest', got 'drop'"):
        RRM(5, contamination=0.2, unseen="drop")


def test_layout_keeps_weights_of_samples_that_take_no_part():
    members = torch.tensor([True, True, False, True, False])
    weights = torch.tensor([1.0, 0.5, 0.7, 1.5, 1.3])
    rule = rrm_core.Rule(contamination=0.34, redistribute="kept")
    reweighted, plan = SingleProcess(5).reweight(FIVE, weights, 0.5, rule, members)
    expected, expected_plan = rrm_core.reweight(
        FIVE[members], weights[members], contamination=0.34, redistribute="kept", mu=0.5
    )
    assert plan == expected_plan
    assert_identical(reweighted[members], expected)
    assert_identical(reweighted[~members], weights[~members])
