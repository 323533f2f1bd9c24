from __future__ import annotations

import io

import pytest
import torch
from torch.testing import assert_close

import rrm_core
from rrm_torch import RRM, PruningHistory
from support.weighting import assert_identical

N = 37  # not a multiple of 8


def rounds_of(seed=0, rounds=6, n=N, **settings):
    """Return an RRM after some reweights of random losses, and those losses."""
    generator = torch.Generator().manual_seed(seed)
    losses = torch.rand(rounds, n, generator=generator)
    rrm = RRM(n, warmup=1, **({"contamination": 0.3} | settings))
    for row in losses:
        rrm.step(row)
    return rrm, losses


def test_reweight_counts_entered_left_and_returned():
    rrm, losses = rounds_of()
    ever, before = set(), set()
    for entry, row in zip(rrm.trajectory.rounds, losses, strict=True):
        pruned = set(torch.argsort(row, descending=True)[: int(0.3 * N)].tolist())
        assert entry.n_pruned == len(pruned) == 11
        assert entry.n_entered == len(pruned - before)
        assert entry.n_left == len(before - pruned)
        assert entry.n_returned == len((pruned - before) & ever)
        assert entry.overlap == (len(pruned & before) / len(pruned | before) if ever else None)
        ever |= pruned
        before = pruned
    assert sum(entry.n_returned for entry in rrm.trajectory.rounds) > 0
    assert [entry.epoch for entry in rrm.trajectory.rounds] == [1, 2, 3, 4, 5, 6]


def test_reweight_holds_numbers_of_plan_and_weights():
    rrm, losses = rounds_of(mu=0.4, redistribute="argmin", weight_limit=float("inf"))
    entry, plan, last = rrm.trajectory.rounds[-1], rrm.plan, losses[-1]
    assert (entry.threshold, entry.gamma, entry.loss_min) == (plan.threshold, plan.gamma, plan.loss_min)
    assert entry.largest_weight == rrm.weights.max()
    w = rrm.weights.double()
    assert entry.effective_sample_size == pytest.approx(float(w.sum() ** 2 / (w * w).sum()), rel=1e-6)
    assert entry.objective == pytest.approx(float(last.double().clamp(max=plan.threshold).mean()))


def test_objective_matches_rrm_core():
    import rrm_core

    rrm, losses = rounds_of(contamination=None, gamma=0.4)
    assert rrm.trajectory.rounds[-1].objective == pytest.approx(rrm_core.objective(losses[-1], 0.4), rel=1e-6)


def test_pruned_masks_of_all_reweights():
    rrm, losses = rounds_of()
    thresholds = torch.tensor([entry.threshold for entry in rrm.trajectory.rounds])
    expected = losses > thresholds[:, None]
    assert_close(rrm.trajectory.pruned(), expected)
    assert_close(rrm.trajectory.last, expected[-1])
    assert_close(rrm.trajectory.share_pruned, expected.float().mean(0))


def test_excess_of_one_reweight():
    losses = torch.tensor([0.5, -3.0, 2.0, 0.5, float("inf"), float("nan"), 1.0, 0.0])
    rrm = RRM(8, contamination=0.25, warmup=1, nan="prune")
    threshold = rrm.step(losses).threshold
    assert threshold == 2
    assert rrm.trajectory.mean_excess.tolist() == [-1.5, -5.0, 0.0, -1.5, torch.inf, torch.inf, -1.0, -2.0]


def test_mean_excess_is_the_mean_of_loss_less_threshold():
    rrm, losses = rounds_of()
    thresholds = torch.tensor([entry.threshold for entry in rrm.trajectory.rounds])
    assert_close(rrm.trajectory.mean_excess, (losses - thresholds[:, None]).mean(0))
    assert rrm.ranking().tolist() == torch.argsort(rrm.trajectory.mean_excess, descending=True, stable=True).tolist()


def test_excess_is_that_over_the_threshold_of_the_group():
    losses = torch.tensor([1.0, 2.0, 3.0, 4.0, 11.0, 12.0, 13.0, 14.0])
    rrm = RRM(8, contamination=[0.75, 0.25], groups=torch.arange(8) // 4, warmup=1)
    plan = rrm.step(losses)
    assert plan.threshold.tolist() == [1, 13]
    assert rrm.trajectory.mean_excess.tolist() == [0, 1, 2, 3, -2, -1, 0, 1]
    assert rrm.ranking().tolist() == [3, 2, 1, 7, 0, 6, 5, 4]


def test_excess_disregards_caps():
    losses = torch.tensor([1.0, 2.0, 3.0, 4.0, 11.0, 12.0, 13.0, 14.0])
    rrm = RRM(8, contamination=0.5, cap=0.5, groups=torch.arange(8) // 4, warmup=1)
    plan = rrm.step(losses)
    assert plan.threshold.tolist() == [4, 12]
    assert_identical(rrm.trajectory.mean_excess, losses - 4)


def test_infinite_threshold_counts_as_zero():
    rrm = RRM(3, contamination=0.0, warmup=1)
    losses = torch.tensor([2.0, float("inf"), 1.0])
    assert rrm.step(losses).threshold == torch.inf
    assert_identical(rrm.trajectory.mean_excess, losses)


def test_ranking_by_mean_excess():
    rrm = RRM(6, contamination=1 / 3, warmup=1)
    rrm.step(torch.tensor([9.0, 8.0, 1.0, 2.0, 3.0, 4.0]))
    rrm.step(torch.tensor([9.0, 1.0, 8.0, 2.0, 4.0, 3.0]))
    # Means of 9, 4.5, 4.5, 2, 3.5 and 3.5 less that of the thresholds; equals in their order.
    assert rrm.ranking().tolist() == [0, 1, 2, 4, 5, 3]
    assert rrm.flagged().tolist() == [0, 2]


def test_history_before_first_reweight():
    trajectory = PruningHistory(5)
    assert trajectory.pruned().shape == (0, 5)
    assert trajectory.share_pruned.isnan().all()
    assert trajectory.ranking().tolist() == [0, 1, 2, 3, 4]


def test_state_round_trip():
    rrm, losses = rounds_of()
    file = io.BytesIO()
    torch.save(rrm.trajectory.state_dict(), file)
    file.seek(0)
    again = PruningHistory(N)
    again.load_state_dict(torch.load(file, weights_only=True))
    assert again.rounds == rrm.trajectory.rounds
    for name in ("last", "share_pruned", "mean_excess"):
        assert_close(getattr(again, name), getattr(rrm.trajectory, name), rtol=0, atol=0)
    # and goes on alike
    for trajectory in (again, rrm.trajectory):
        trajectory.record(7, losses[0], torch.ones(N), losses[0] > 0.5)
    assert again.rounds == rrm.trajectory.rounds
    assert_close(again.pruned(), rrm.trajectory.pruned())


def test_rejects_state_of_other_length():
    rrm, _ = rounds_of()
    with pytest.raises(
        ValueError, match=r"6 rounds of 400 samples, in bits of shape \(6, 50\) and torch.uint8, got \(6, 5\)"
    ):
        PruningHistory(400).load_state_dict(rrm.trajectory.state_dict())


def test_hundred_reweights_of_a_million_samples_take_15_mb():
    trajectory = PruningHistory(8000)
    for epoch in range(100):
        trajectory.record(epoch, torch.ones(8000), torch.ones(8000), torch.zeros(8000, dtype=torch.bool))
    state = trajectory.state_dict()
    assert state["bits"].nbytes == 100 * 1000
    # of the file, all but the bits doesn't grow with rounds x samples
    assert (state["bits"].nbytes + state["excess_sum"].nbytes) * (1_000_000 / 8000) <= 17e6
    assert state["bits"].nbytes * (1_000_000 / 8000) <= 15e6


def record_in_history(history, **arguments):
    losses = torch.arange(10.0)
    weights, plan = rrm_core.reweight(losses, contamination=0.2)
    return history.record(1, **{"losses": losses, "weights": weights, "plan": plan, **arguments})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"losses": torch.rand(9)}, r"losses must have shape \(10,\)"),
        ({"losses": torch.rand(10).half()}, "losses must .* torch.float32 or torch.float64, got .* torch.float16"),
        ({"weights": torch.ones(10, dtype=torch.float64)}, "weights must .* torch.float32, got .* torch.float64"),
        ({"pruned": torch.ones(10)}, "pruned must .* torch.bool"),
        ({"members": torch.ones(3, dtype=torch.bool)}, "members must have shape"),
        ({"thresholds": torch.ones(1)}, "thresholds must have shape"),
        ({"plan": None}, "pruned is missing"),
        ({"plan": rrm_core.plan(torch.rand(10), contamination=0.2, groups=torch.arange(10) % 2)}, "thresholds are"),
    ],
)
def test_history_checks_what_compiled_loops_read(arguments, message):
    history = PruningHistory(10)
    with pytest.raises(ValueError, match=message):
        record_in_history(history, **arguments)
    assert history.rounds == []


def test_history_accepts_other_strides_and_gradients():
    histories = PruningHistory(10), PruningHistory(10)
    expected = record_in_history(histories[0])
    losses = torch.arange(0.0, 10.0, 0.5).requires_grad_()[::2]
    pruned = torch.stack([losses > 7, losses > 0], 1)[:, 0]
    assert record_in_history(histories[1], losses=losses, pruned=pruned) == expected
    assert_identical(histories[1].mean_excess, histories[0].mean_excess)
    assert_identical(histories[1].pruned(), histories[0].pruned())
