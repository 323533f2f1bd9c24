"""Batches that are ranked by other numbers than their losses, and batches that are not recorded."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

import rrm_core
from rrm_torch import RRM, BatchRRM
from support.layout_jobs import differences, flatten
from support.weighting import FIVE, INDEX, LOSSES, N, assert_identical

GENERATOR = torch.Generator().manual_seed(4)
RANKING = LOSSES.flip(0).contiguous()


def loaded(rrm, make):
    other = make()
    other.load_state_dict(rrm.state_dict())
    return other


@pytest.mark.parametrize("unit", ["epoch", "step"])
def test_ranking_decides_and_losses_stay(unit):
    def make():
        return RRM(N, contamination=0.3, warmup=1, unit=unit)

    rrm = make()
    losses = LOSSES.clone().requires_grad_()
    assert_identical(rrm.weighted_mean(losses, INDEX, ranking=RANKING).detach(), LOSSES.mean())
    rrm = loaded(rrm, make)  # in the middle of an epoch
    plan = rrm.step()
    expected, expected_plan = rrm_core.reweight(RANKING, contamination=0.3, redistribute="kept")
    assert plan == expected_plan
    assert_identical(rrm.weights, expected)
    assert_identical(rrm.losses, LOSSES)
    assert rrm.flagged().tolist() == [6, 3, 2]
    assert rrm.trajectory.rounds[0].threshold == plan.threshold
    assert rrm.trajectory.mean_excess.argmax() == RANKING.argmax()
    again = loaded(rrm, make)
    assert again.plan == plan
    assert not differences(again.state_dict(), rrm.state_dict())
    for other in (rrm, again):
        other.weighted_mean(LOSSES, INDEX)
        other.step()
        assert sorted(other.flagged().tolist()) == [3, 6, 7]
    assert not differences(again.state_dict(), rrm.state_dict())


def test_batches_without_ranking_rank_by_their_losses():
    rrm = RRM(N, contamination=0.3, warmup=1)
    rrm.weighted_mean(LOSSES[:5], INDEX[:5])
    rrm.weighted_mean(LOSSES[5:], INDEX[5:], ranking=RANKING[5:])
    expected = torch.cat([LOSSES[:5], RANKING[5:]])
    assert rrm.step() == rrm_core.plan(expected, contamination=0.3, redistribute="kept")
    assert_identical(rrm.losses, LOSSES)
    rrm.weighted_mean(LOSSES, INDEX)
    assert rrm.step() == rrm_core.plan(LOSSES, contamination=0.3, redistribute="kept")
    assert rrm.state_dict()["ranking"] is None


def test_losses_passed_to_step_replace_ranking():
    rrm = RRM(N, contamination=0.3, warmup=1)
    rrm.weighted_mean(LOSSES, INDEX, ranking=RANKING)
    assert rrm.step(LOSSES) == rrm_core.plan(LOSSES, contamination=0.3, redistribute="kept")
    assert rrm.state_dict()["ranking"] is None


def test_empty_batch_has_no_ranking():
    rrm = RRM(N, contamination=0.3, warmup=1)
    rrm.weighted_mean(LOSSES[:0], INDEX[:0], ranking=LOSSES[:0])
    rrm.weighted_mean(LOSSES, INDEX)
    rrm.step()
    assert rrm.state_dict()["ranking"] is None


def test_ranking_of_float64_keeps_its_order():
    def make():
        return RRM(5, contamination=0.4, warmup=1)

    rrm = make()
    close = 1 + torch.arange(5, dtype=torch.float64) * 1e-12
    rrm.weighted_mean(FIVE, INDEX[:5], ranking=close)
    rrm = loaded(rrm, make)
    rrm.step()
    assert rrm.flagged().tolist() == [4, 3]
    assert_identical(rrm.losses, FIVE.double())
    batch_rrm = BatchRRM(5, contamination=0.4, warmup=1)
    batch_rrm.step()
    batch_rrm.weighted_mean(FIVE, INDEX[:5], ranking=close)
    assert batch_rrm.weights[3:].tolist() == [0, 0]


def test_ranking_that_is_nan():
    ranking = RANKING.clone()
    ranking[3] = torch.nan
    rrm = RRM(N, contamination=0.3, warmup=1)
    rrm.weighted_mean(LOSSES, INDEX, ranking=ranking)
    with pytest.raises(ValueError, match="losses contain 1 NaN among 10, the first at index 3"):
        rrm.step()
    rrm = RRM(N, contamination=0.3, warmup=1, unseen="latest")
    rrm.weighted_mean(LOSSES, INDEX, ranking=ranking)
    assert rrm.step().n == 9
    assert rrm.losses[3].isnan()


def test_loss_that_is_nan_may_have_a_ranking():
    losses = LOSSES.clone()
    losses[0] = torch.nan
    for unseen in ("raise", "latest"):
        rrm = RRM(N, contamination=0.3, warmup=1, unseen=unseen)
        rrm.weighted_mean(losses, INDEX, ranking=RANKING)
        assert rrm.step().n == N
        assert_identical(rrm.losses, losses)
        again = loaded(rrm, lambda unseen=unseen: RRM(N, contamination=0.3, warmup=1, unseen=unseen))
        assert again.plan == rrm.plan


def test_population_is_ranked():
    rrm = RRM(N, contamination=0.5, warmup=1)
    rrm.weighted_mean(LOSSES[:6], INDEX[:6], ranking=RANKING[:6])
    assert rrm.step(among=INDEX[1:5]) == rrm_core.plan(RANKING[1:5], contamination=0.5, redistribute="kept")
    again = loaded(rrm, lambda: RRM(N, contamination=0.5, warmup=1))
    assert again.plan == rrm.plan
    assert_identical(rrm.losses[1:5], LOSSES[1:5])
    assert rrm.losses[[0, 5, 6]].isnan().all()


@pytest.mark.parametrize("kind", [RRM, BatchRRM])
def test_run_resumed_after_any_batch_ends_with_same_bits(kind):
    settings = {"contamination": 0.3, "warmup": 1}
    losses, rankings = torch.rand(2, 4, N, generator=GENERATOR)

    def run(stop):
        rrm = kind(N, **settings)
        for batch in range(8):
            epoch = batch // 2
            index = INDEX.split(5)[batch % 2]
            is_ranked = batch in (1, 4, 5)
            rrm.weighted_mean(losses[epoch, index], index, ranking=rankings[epoch, index] if is_ranked else None)
            if batch == stop:
                rrm = loaded(rrm, lambda: kind(N, **settings))
            if batch % 2:
                rrm.step()
        return rrm

    whole = run(None)
    for stop in range(8):
        assert not differences(run(stop).state_dict(), whole.state_dict())


def test_history_of_batches_is_that_of_ranking():
    rrm = BatchRRM(N, contamination=0.3, warmup=1)
    rrm.weighted_mean(LOSSES, INDEX)
    rrm.step()
    rrm.weighted_mean(LOSSES, INDEX, ranking=RANKING)
    rrm.step()
    assert rrm.flagged().tolist() == [6, 3, 2]
    assert rrm.trajectory.mean_excess.argmax() == RANKING.argmax()
    assert_identical(rrm.losses, LOSSES)
    assert rrm.trajectory.rounds[0].contamination == 0.3
    assert rrm.trajectory.rounds[0].n_planned == N


@pytest.mark.parametrize("kind", [RRM, BatchRRM])
def test_batch_that_is_not_recorded_has_the_weights_of_its_samples(kind):
    rrm = kind(N, contamination=0.3, warmup=1)
    for _ in range(2):
        rrm.weighted_mean(LOSSES, INDEX)
        rrm.step()
    rrm.weighted_mean(LOSSES[:5], INDEX[:5])
    before = flatten(rrm.state_dict())
    view = RANKING[:5].double().requires_grad_()
    loss = rrm.weighted_mean(view, INDEX[:5], regularizer=torch.ones(5), record=False)
    assert_close(loss.detach(), (rrm.weights[:5] * view.detach() + 1).mean())
    loss.backward()
    assert view.grad[3] == 0
    assert flatten(rrm.state_dict()) == before
    rrm.weighted_mean(LOSSES[5:], INDEX[5:])
    rrm.step()
    assert_identical(rrm.losses, LOSSES)


@pytest.mark.parametrize("kind", [RRM, BatchRRM])
def test_batch_that_is_not_recorded_is_checked(kind):
    rrm = kind(N, contamination=0.3, warmup=1)
    with pytest.raises(IndexError, match=r"index must lie in \[0, 10\), got 2 of 2 outside"):
        rrm.weighted_mean(LOSSES[:2], INDEX[:2] + N, record=False)
    with pytest.raises(ValueError, match="ranking is recorded in place of the losses: leave it out, or leave out"):
        rrm.weighted_mean(LOSSES, INDEX, ranking=LOSSES, record=False)
    with pytest.raises(ValueError, match="both have shape"):
        rrm.weighted_mean(LOSSES[:3], INDEX, record=False)


STATES = {
    "without losses": (
        lambda s: s.update(recorded=None, marks=None),
        "must hold recorded if it holds recorded_r",
    ),
    "of another type": (lambda s: s.update(ranking=s["ranking"].double()), "must have one dtype"),
    "of other order": (lambda s: s.update(ranking=s["losses"]), "bits don't say which losses are above"),
    "missing": (lambda s: s.update(ranking=None), "bits don't say which losses are above"),
}


@pytest.mark.parametrize(("change", "message"), STATES.values(), ids=STATES)
def test_state_with_wrong_ranking_is_refused(change, message):
    rrm = RRM(N, contamination=0.3, warmup=1)
    for _ in range(2):
        rrm.weighted_mean(LOSSES, INDEX, ranking=RANKING)
        if not rrm.trajectory.rounds:
            rrm.step()
    state = rrm.state_dict()
    change(state)
    with pytest.raises(ValueError, match=message):
        RRM(N, contamination=0.3, warmup=1).load_state_dict(state)


def test_state_before_first_reweight_has_no_ranking():
    state = RRM(N, contamination=0.3).state_dict() | {"ranking": LOSSES}
    with pytest.raises(ValueError, match="its ranking None before the first reweight"):
        RRM(N, contamination=0.3).load_state_dict(state)


def test_ranking_numbers_of_inference_mode_are_kept():
    rrm = RRM(4, contamination=0.25, warmup=1)
    with torch.inference_mode():
        rrm.weighted_mean(torch.rand(2), torch.arange(2), ranking=torch.tensor([1.0, 2.0]))
    rrm.weighted_mean(torch.rand(2), torch.arange(2, 4), ranking=torch.tensor([4.0, 3.0]))
    rrm.step()
    assert rrm.flagged().tolist() == [2]
