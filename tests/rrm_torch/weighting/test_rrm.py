from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

import rrm_core
from rrm_torch import RRM
from rrm_torch.weighting.schedule import Ramp
from support.weighting import FIVE, INDEX, LOSSES, N, assert_identical, epoch_of_steps, one_epoch


def test_weights_are_one_until_first_reweight():
    rrm = RRM(5, contamination=0.2, warmup=3)
    for _ in range(2):
        assert not rrm.due
        assert one_epoch(rrm) is None
    assert_identical(rrm.weights, torch.ones(5))
    assert rrm.losses.isnan().all()
    assert rrm.plan is None
    with pytest.warns(
        UserWarning, match="epoch 2 has ended, and the first one follows epoch 3; make it with a smaller"
    ):
        assert rrm.flagged().tolist() == []
    assert rrm.due


def test_samples_asked_for_before_the_first_step_warn():
    rrm = RRM(5, contamination=0.2, warmup=1)
    assert rrm.flagged().tolist() == []
    rrm.weighted_mean(torch.rand(5), torch.arange(5))
    with pytest.warns(UserWarning, match=r"if epoch 1 has ended, step\(\) was not called") as told:
        assert rrm.ranking().tolist() == [0, 1, 2, 3, 4]
    assert told[0].filename == __file__


@pytest.mark.parametrize("index", [-1, 5])
def test_weights_for_rejects_out_of_range_index(index):
    with pytest.raises(IndexError, match=rf"index must lie in \[0, 5\), .* got {index}"):
        RRM(5, contamination=0.2).weights_for(torch.tensor([index]))


@pytest.mark.parametrize("index", [[1], 1, torch.tensor([1.0]), torch.tensor([True] * 5)])
def test_weights_for_rejects_indices_that_are_not_integers(index):
    with pytest.raises(TypeError, match="index must be a tensor of int64 or int32, got"):
        RRM(5, contamination=0.2).weights_for(index)


def test_reweight_matches_rrm_core():
    rrm = RRM(5, contamination=0.2, warmup=1)
    plan = one_epoch(rrm)
    expected, expected_plan = rrm_core.reweight(FIVE, contamination=0.2, redistribute="kept")
    assert_identical(rrm.weights, expected)
    assert_identical(rrm.losses, FIVE)
    assert plan == rrm.plan == expected_plan
    assert rrm.epoch == 1


def test_gamma_redistribute_and_mu_reach_rrm_core():
    settings = {"gamma": 0.15, "redistribute": 0.5}
    rrm = RRM(5, **settings, mu=0.3, warmup=1)
    one_epoch(rrm)
    first, _ = rrm_core.reweight(FIVE, mu=0.3, **settings)
    assert_identical(rrm.weights, first)
    one_epoch(rrm, FIVE.flip(0))
    assert_identical(rrm.weights, rrm_core.reweight(FIVE.flip(0), first, mu=0.3, **settings)[0])


def test_ties_reach_rrm_core():
    rrm = RRM(4, contamination=0.25, warmup=1, ties="share", redistribute="drop")
    rrm.weighted_mean(torch.ones(4), torch.arange(4))
    rrm.step()
    assert_identical(rrm.weights, torch.full((4,), 0.75))


def test_reweights_every_second_epoch():
    rrm = RRM(5, contamination=0.2, warmup=2, every=2)
    assert [one_epoch(rrm) is not None for _ in range(6)] == [False, True, False, True, False, True]


def test_weighted_mean_value_and_gradient():
    rrm = RRM(5, contamination=0.2, warmup=1)
    one_epoch(rrm)
    index = torch.tensor([3, 1])
    losses = torch.tensor([2.0, 6.0], requires_grad=True)
    mean = rrm.weighted_mean(losses, index)
    assert mean.item() == pytest.approx(1.25 * 6.0 / 2)
    mean.backward()
    assert_close(losses.grad, rrm.weights[index] / 2)
    assert not rrm.weights.requires_grad
    assert not rrm.losses.requires_grad


def test_losses_passed_to_step_replace_recorded_ones():
    rrm = RRM(5, contamination=0.2, warmup=1)
    rrm.weighted_mean(torch.zeros(2), torch.tensor([0, 1]))  # an incomplete epoch doesn't matter
    with torch.inference_mode():
        passed = FIVE.double().clone()
    rrm.step(passed)
    assert_identical(rrm.losses, FIVE.double())
    assert rrm.flagged().tolist() == [3]


def test_step_copies_losses():
    rrm, losses = RRM(5, contamination=0.2, warmup=1), FIVE.clone()
    rrm.step(losses)
    losses.zero_()
    assert_identical(rrm.losses, FIVE)


def test_flagged_are_the_pruned_samples_in_ranking_order():
    rrm = RRM(6, contamination=0.5, warmup=1)
    rrm.step(torch.tensor([3.0, 0.1, 9.0, 0.2, 0.3, 5.0]))
    assert rrm.flagged().tolist() == [2, 5, 0]
    assert rrm.weights[rrm.flagged()].tolist() == [0, 0, 0]


def test_flagged_includes_pruned_samples_with_smoothed_weight():
    rrm = RRM(5, contamination=0.2, mu=0.5, warmup=1)
    rrm.step(FIVE)
    assert rrm.weights[3] == 0.5
    assert rrm.flagged().tolist() == [3]


def test_prunes_nan_losses_on_request():
    rrm = RRM(5, contamination=0.2, warmup=1, nan="prune")
    rrm.step(torch.tensor([1.0, torch.nan, 2.0, 3.0, 4.0]))
    assert rrm.flagged().tolist() == [1]
    other = RRM(5, contamination=0.2, warmup=1, nan="prune")
    other.load_state_dict(rrm.state_dict())
    assert other.plan == rrm.plan


@pytest.mark.parametrize(
    ("losses", "message"),
    [(torch.ones(4), r"shape \(5,\).*got \(4,\)"), (torch.tensor([1.0, torch.nan, 1, 1, 1]), "1 NaN.*index 1")],
)
def test_invalid_losses_leave_state_unchanged(losses, message):
    rrm = RRM(5, contamination=0.2, mu=0.3, warmup=1)
    one_epoch(rrm)
    before = rrm.state_dict()
    with pytest.raises(ValueError, match=message):
        rrm.step(losses)
    after = rrm.state_dict()
    assert_identical(after["weights"], before["weights"])
    assert_identical(after["losses"], before["losses"])
    assert after["epoch"] == before["epoch"]


def test_repr_shows_settings_and_progress():
    rrm = RRM(5, contamination=0.2, warmup=1)
    shown = (
        "RRM(n=5, contamination=0.2, mu=1.0, redistribute='kept', ties='keep', nan='raise', warmup=1, every=1; epoch=0)"
    )
    assert repr(rrm) == shown
    one_epoch(rrm)
    assert repr(rrm) == shown.replace("epoch=0", "epoch=1, pruned=1")


def devices(rrm):
    return {
        t.device.type for t in (rrm.weights, rrm.losses, rrm._buffer.losses, rrm._buffer.marks, rrm.trajectory.last)
    }


def test_state_moves_to_device_of_losses():
    meta = torch.device("meta")  # the one other device that every machine has
    rrm = RRM(5, contamination=0.2, warmup=2)
    rrm.weighted_mean(FIVE, INDEX[:5])
    assert devices(rrm) == {"cpu"}
    rrm.weighted_mean(FIVE.to(meta), INDEX[:5])
    assert devices(rrm) == {"meta"}


def test_contamination_schedule():
    rrm = RRM(N, contamination=Ramp(0.3, over=3), warmup=1)
    assert [rrm.step(LOSSES).n_pruned for _ in range(5)] == [1, 2, 3, 3, 3]


def test_gamma_schedule():
    rrm = RRM(N, gamma=lambda epoch: 3.0 / epoch, warmup=1)
    plans = [rrm.step(LOSSES) for _ in range(3)]
    assert [plan.gamma for plan in plans] == [3.0, 1.5, 1.0]


def test_mu_schedule():
    rrm = RRM(N, contamination=0.3, mu=Ramp(1.0, over=2), warmup=1)
    rrm.step(LOSSES)
    first, _ = rrm_core.reweight(LOSSES, contamination=0.3, mu=0.5, redistribute="kept")
    assert_identical(rrm.weights, first)
    rrm.step(LOSSES.flip(0))
    assert_identical(rrm.weights, rrm_core.reweight(LOSSES.flip(0), contamination=0.3, redistribute="kept")[0])


def test_schedule_out_of_range_raises_when_reached():
    rrm = RRM(N, contamination=lambda epoch: 0.6 * epoch, warmup=1)
    rrm.step(LOSSES)
    weights = rrm.weights.clone()
    with pytest.raises(ValueError, match=r"contamination must lie in \[0, 1\), got 1.2"):
        rrm.step(LOSSES)
    assert_identical(rrm.weights, weights)
    assert rrm.epoch == 1


def test_paper_scale_is_sum_over_n():
    paper, mean = (RRM(N, contamination=0.3, warmup=1, scale=scale) for scale in ("paper", "mean"))
    for rrm in (paper, mean):
        rrm.step(LOSSES)
    batch = INDEX[:4]
    assert_close(paper.weighted_mean(LOSSES[batch], batch), mean.weighted_mean(LOSSES[batch], batch) * 4 / N)


def test_regularizer_is_neither_weighted_nor_recorded():
    rrm = RRM(N, contamination=0.3, warmup=1)
    rrm.step(LOSSES)
    regularizer = torch.full((N,), 7.0)
    assert_close(rrm.weighted_mean(LOSSES, INDEX, regularizer=regularizer), rrm.weighted_mean(LOSSES, INDEX) + 7)
    rrm = RRM(N, contamination=0.3, warmup=1)
    rrm.weighted_mean(LOSSES, INDEX, regularizer=regularizer)
    rrm.step()
    assert_identical(rrm.losses, LOSSES)


def test_reweights_every_few_steps():
    rrm = RRM(N, contamination=0.3, warmup=2, every=3, unit="step")
    due = [was_due for _ in range(5) for was_due in epoch_of_steps(rrm, LOSSES)]
    assert [step for step, was_due in enumerate(due, 1) if was_due] == [2, 5, 8]


def test_warns_once_about_large_weight():
    rrm = RRM(1000, contamination=0.3, redistribute="argmin", warmup=1)
    losses = torch.arange(1000.0)
    message = (
        r"a sample's weight is 301, above weight_limit=100: 1 of 1000 samples received the mass of 300 pruned ones"
    )
    with pytest.warns(UserWarning, match=message) as told:
        rrm.step(losses)
    assert len(told) == 1
    assert told[0].filename == __file__
    rrm.step(losses)  # a second warning would be an error


@pytest.mark.parametrize("settings", [{"redistribute": "kept"}, {"weight_limit": 301}, {"weight_limit": float("inf")}])
def test_no_warning_within_weight_limit(settings):
    RRM(1000, contamination=0.3, warmup=1, **({"redistribute": "argmin"} | settings)).step(torch.arange(1000.0))


def test_weight_limit_applies_after_smoothing():
    RRM(1000, contamination=0.3, redistribute="argmin", mu=0.3, warmup=1).step(torch.arange(1000.0))  # 0.7 + 0.3 * 301


@pytest.mark.parametrize("odd", [float("nan"), float("inf")])
def test_weight_zero_ignores_nan_and_inf(odd):
    rrm = RRM(N, contamination=0.3, warmup=1, nan="prune")
    losses = LOSSES.clone()
    losses[3] = odd
    rrm.step(losses)
    given = losses.requires_grad_()
    loss = rrm.weighted_mean(given, INDEX)
    loss.backward()
    kept = [0, 1, 2, 4, 5, 8, 9]
    assert_close(loss, LOSSES[kept].mean())
    assert given.grad[3] == 0
