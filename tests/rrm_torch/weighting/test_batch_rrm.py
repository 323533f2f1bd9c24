from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from rrm_torch import RRM, BatchRRM
from support.layout_jobs import flatten
from support.weighting import INDEX, LOSSES, N, assert_identical


def test_each_batch_is_trimmed_by_its_own_losses():
    rrm = BatchRRM(N, contamination=0.4, warmup=1)
    assert_identical(rrm.weighted_mean(LOSSES[:5], INDEX[:5]), LOSSES[:5].mean())  # still warming up
    rrm.step()
    kept = [0, 1, 2]  # of 0.1, 0.3, 0.2, 4.0, 0.4 all but the highest two
    assert_close(rrm.weighted_mean(LOSSES[:5], INDEX[:5]), LOSSES[kept].mean())
    assert_close(rrm.weights[:5], torch.tensor([5 / 3, 5 / 3, 5 / 3, 0, 0]))
    assert_identical(rrm.weights[5:], torch.ones(5))


def test_ranking_replaces_losses():
    rrm = BatchRRM(N, contamination=0.4, warmup=1)
    rrm.step()
    other = torch.tensor([5.0, 4.0, 3.0, 2.0, 1.0])
    losses = LOSSES[:5].clone().requires_grad_()
    loss = rrm.weighted_mean(losses, INDEX[:5], ranking=other)
    assert_close(loss, LOSSES[2:5].mean())
    loss.backward()
    assert losses.grad[:2].tolist() == [0, 0]


def test_refused_batch_is_not_recorded():
    rrm = BatchRRM(N, contamination=0.4, warmup=1)
    rrm.step()
    rrm.weighted_mean(LOSSES[:5], INDEX[:5])
    before = flatten(rrm.state_dict())
    with pytest.raises(ValueError, match="losses contain 1 NaN among 2"):
        rrm.weighted_mean(torch.tensor([1.0, torch.nan]), INDEX[5:7])
    with pytest.raises(IndexError, match=r"index must lie in \[0, 10\)"):
        rrm.weighted_mean(LOSSES[:2], INDEX[:2] + N)
    assert flatten(rrm.state_dict()) == before
    rrm.step()


def test_state_of_batch_rrm():
    rrm = BatchRRM(N, contamination=0.4, warmup=1)
    for _ in range(2):
        rrm.weighted_mean(LOSSES, INDEX)
        assert rrm.step() is None
    again = BatchRRM(N, contamination=0.4, warmup=1)
    again.load_state_dict(rrm.state_dict())
    assert again.flagged().tolist() == rrm.flagged().tolist() == [3, 6, 7, 8]
    assert_identical(again.weights, rrm.weights)
    assert again.trajectory.rounds == rrm.trajectory.rounds


def test_unseen_sample_is_not_flagged():
    rrm = BatchRRM(N, contamination=0.4, warmup=1)
    rrm.weighted_mean(LOSSES, INDEX)
    rrm.step()
    rrm.weighted_mean(LOSSES, INDEX)
    rrm.step()
    rrm.weighted_mean(LOSSES[:5], INDEX[:5])
    rrm.step()
    assert rrm.losses[5:].isnan().all()
    assert set(rrm.flagged().tolist()) == {3, 4}
    assert rrm.ranking().tolist()[-3:] == [1, 2, 0]  # seen thrice with low losses, and so less suspicious than unseen


@pytest.mark.parametrize("options", [{"mu": 0.5}, {"unit": "step"}, {"layout": "sharded"}])
def test_has_no_mu_unit_or_layout(options):
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        BatchRRM(N, contamination=0.2, **options)


@pytest.mark.parametrize("options", [{"contamination": "auto"}, {"contamination": 0.2, "warmup": "auto"}])
def test_nothing_is_estimated(options):
    with pytest.raises(TypeError, match="must be a number, got 'auto': only RRM estimates it"):
        BatchRRM(8, **options)


def test_warns_once_about_large_weight():
    rrm = BatchRRM(N, contamination=0.3, warmup=1, redistribute="argmin", weight_limit=2)
    rrm.weighted_mean(LOSSES, INDEX)
    rrm.step()
    rrm.weighted_mean(LOSSES, INDEX)
    with pytest.warns(UserWarning, match="a sample's weight is 4, above weight_limit=2: it received the mass") as said:
        rrm.step()
    assert said[0].filename == __file__
    rrm.weighted_mean(LOSSES, INDEX)
    rrm.step()  # once is enough


def test_step_rejects_losses():
    rrm = BatchRRM(N, contamination=0.3, warmup=1)
    with pytest.raises(TypeError, match="losses must be a tensor, got list"):
        rrm.step([1.0])
    assert not rrm.due
    with pytest.raises(ValueError, match=r"losses can't be passed to BatchRRM\.step"):
        rrm.step(LOSSES)
    with pytest.raises(TypeError, match="losses must be a tensor, got list"):
        RRM(N, contamination=0.3).step(LOSSES.tolist())


def test_nan_raises_at_end_of_epoch():
    rrm = BatchRRM(N, contamination=0.3, warmup=1)
    losses = LOSSES.clone()
    losses[4] = torch.nan
    rrm.weighted_mean(losses, INDEX)
    with pytest.raises(ValueError, match="losses contain NaN: 1 since the last step"):
        rrm.step()
    assert rrm.epoch == 0


def test_each_epoch_is_a_reweight():
    rrm = BatchRRM(4, contamination=0.5, warmup=1)
    for _ in range(3):
        for index in (torch.tensor([0, 1]), torch.tensor([2, 3])):
            rrm.weighted_mean(torch.tensor([1.0, 2.0]), index)
        rrm.step()
    assert [entry.epoch for entry in rrm.trajectory.rounds] == [2, 3]
    assert rrm.trajectory.rounds[-1].threshold is None
    assert rrm.flagged().tolist() == [1, 3]
    assert rrm.plan is None


def test_sample_of_no_batch_takes_no_part():
    rrm = BatchRRM(5, contamination=0.5, warmup=1)
    for _ in range(3):
        rrm.weighted_mean(torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.arange(4))
        rrm.step()
    assert rrm.trajectory.mean_excess[:4].tolist() == [1, 2, 3, 4]
    assert rrm.trajectory.mean_excess[4].isnan()
    assert rrm.trajectory.share_pruned[4].isnan()
    assert [entry.n_planned for entry in rrm.trajectory.rounds] == [4, 4]
    assert rrm.ranking().tolist() == [3, 2, 1, 0, 4]


def test_epoch_without_a_batch_is_no_reweight():
    rrm = BatchRRM(5, contamination=0.5, warmup=1)
    for _ in range(3):
        rrm.step()
    assert rrm.epoch == 3
    assert rrm.trajectory.rounds == []
