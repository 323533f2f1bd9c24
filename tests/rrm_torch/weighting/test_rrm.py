from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from torch.testing import assert_close

import rrm_core
from rrm_torch import RRM

LOSSES = torch.tensor([0.1, 0.3, 0.2, 4.0, 0.4])
ALL = torch.arange(5)


def same(a, b):
    assert_close(a, b, rtol=0, atol=0, equal_nan=True)


def one_epoch(rrm, losses=LOSSES, order=(4, 2, 0, 1, 3), batch_size=2):
    """Show an RRM each sample once, in batches."""
    order = torch.tensor(order)
    for index in order.split(batch_size):
        rrm.weighted_mean(losses[index], index)
    return rrm.step()


def test_weights_are_one_until_the_first_reweight():
    rrm = RRM(5, contamination=0.2, warmup=3)
    for _ in range(2):
        assert not rrm.due
        assert one_epoch(rrm) is None
    same(rrm.weights, torch.ones(5))
    assert rrm.losses.isnan().all()
    assert rrm.plan is None
    assert rrm.flagged().tolist() == []
    assert rrm.due


@pytest.mark.parametrize("index", [-1, 5])
def test_a_weight_of_no_sample_is_refused(index):
    with pytest.raises(IndexError, match=rf"index must lie in \[0, 5\), .* got {index}"):
        RRM(5, contamination=0.2).weights_for(torch.tensor([index]))


def test_a_reweight_is_that_of_the_core():
    rrm = RRM(5, contamination=0.2, warmup=1)
    plan = one_epoch(rrm)
    expected, expected_plan = rrm_core.reweight(LOSSES, contamination=0.2, redistribute="kept")
    same(rrm.weights, expected)
    same(rrm.losses, LOSSES)
    assert plan == rrm.plan == expected_plan
    assert rrm.epoch == 1


def test_settings_reach_the_core():
    settings = {"gamma": 0.15, "redistribute": 0.5}
    rrm = RRM(5, **settings, mu=0.3, warmup=1)
    one_epoch(rrm)
    first, _ = rrm_core.reweight(LOSSES, mu=0.3, **settings)
    same(rrm.weights, first)
    one_epoch(rrm, LOSSES.flip(0))
    same(rrm.weights, rrm_core.reweight(LOSSES.flip(0), first, mu=0.3, **settings)[0])


def test_ties_reach_the_core():
    rrm = RRM(4, contamination=0.25, warmup=1, ties="share", redistribute="drop")
    rrm.weighted_mean(torch.ones(4), torch.arange(4))
    rrm.step()
    same(rrm.weights, torch.full((4,), 0.75))


def test_every_second_epoch():
    rrm = RRM(5, contamination=0.2, warmup=2, every=2)
    assert [one_epoch(rrm) is not None for _ in range(6)] == [False, True, False, True, False, True]


def test_weighted_mean_and_its_gradient():
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


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_losses_of_any_type_are_recorded_in_single_precision(dtype):
    rrm = RRM(5, contamination=0.2, warmup=1)
    one_epoch(rrm, LOSSES.to(dtype))
    same(rrm.losses, LOSSES.to(dtype).float())


def test_losses_of_a_pass_replace_the_recorded():
    rrm = RRM(5, contamination=0.2, warmup=1)
    rrm.weighted_mean(torch.zeros(2), torch.tensor([0, 1]))  # an incomplete epoch doesn't matter
    with torch.inference_mode():
        passed = LOSSES.double().clone()
    rrm.step(passed)
    same(rrm.losses, LOSSES)
    assert rrm.flagged().tolist() == [3]


def test_the_losses_passed_are_copied():
    rrm, losses = RRM(5, contamination=0.2, warmup=1), LOSSES.clone()
    rrm.step(losses)
    losses.zero_()
    same(rrm.losses, LOSSES)


def test_flagged_are_the_pruned_by_suspicion():
    rrm = RRM(6, contamination=0.5, warmup=1)
    rrm.step(torch.tensor([3.0, 0.1, 9.0, 0.2, 0.3, 5.0]))
    assert rrm.flagged().tolist() == [2, 5, 0]
    assert rrm.weights[rrm.flagged()].tolist() == [0, 0, 0]


def test_flagged_where_smoothing_leaves_weight():
    rrm = RRM(5, contamination=0.2, mu=0.5, warmup=1)
    rrm.step(LOSSES)
    assert rrm.weights[3] == 0.5
    assert rrm.flagged().tolist() == [3]


@pytest.mark.parametrize(
    ("losses", "index", "error", "message"),
    [
        (torch.tensor(1.0), torch.tensor(0), ValueError, r"reduction='none'"),
        (torch.ones(2), torch.tensor([0]), ValueError, r"got \(2,\) and \(1,\)"),
        (torch.ones(2, 2), torch.zeros(2, 2, dtype=torch.int64), ValueError, r"shape \(batch,\)"),
        (torch.ones(3), torch.tensor([0, 5, 9]), IndexError, r"index must lie in \[0, 5\), got 2 of 3 outside.* 5;"),
        (torch.ones(3), torch.tensor([-1, 1, 2]), IndexError, r"got 1 of 3 outside, the first -1"),
        (torch.ones(2), [0, 1], TypeError, "index must be a tensor of int64, got list"),
        (torch.ones(2), np.array([0, 1]), TypeError, "index must be a tensor of int64, got ndarray"),
        (torch.ones(2), torch.tensor([True, False]), TypeError, "index must be a tensor of int64, got torch.bool"),
        (torch.ones(2), torch.tensor([0, 1], dtype=torch.uint8), TypeError, "int64, got torch.uint8"),
    ],
)
def test_a_bad_batch_is_refused_and_not_recorded(losses, index, error, message):
    rrm = RRM(5, contamination=0.2, warmup=1)
    with pytest.raises(error, match=message):
        rrm.weighted_mean(losses, index)
    one_epoch(rrm)  # each sample was seen once, none in the bad batch
    same(rrm.losses, LOSSES)


def test_of_indices_outside_those_of_the_batch_are_shown():
    rrm = RRM(5, contamination=0.2)
    for index in (7, 9):
        with pytest.raises(IndexError, match=f"the first {index};"):
            rrm.weighted_mean(torch.ones(1), torch.tensor([index]))


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        ([[0, 1, 3]], r"2 missing \(the first: index 2\)"),
        ([[0, 1, 2, 3, 4], [3, 1]], r"2 seen more than once \(the first: index 1\)"),
        ([[0, 0, 1, 2, 3]], r"1 missing \(the first: index 4\) and 1 seen more than once \(the first: index 0\)"),
        ([], r"5 missing"),
    ],
)
def test_missing_and_repeated_samples_are_counted(batches, message):
    rrm = RRM(5, contamination=0.2, warmup=1)
    for batch in batches:
        index = torch.tensor(batch)
        rrm.weighted_mean(LOSSES[index], index)
    with pytest.raises(ValueError, match=message):
        rrm.step()
    assert rrm.epoch == 0
    same(rrm.weights, torch.ones(5))
    assert one_epoch(rrm) is not None  # what was broken off doesn't spoil the next epoch


def test_a_pass_helps_where_recorded_losses_are_refused():
    rrm = RRM(5, contamination=0.2, warmup=1)
    with pytest.raises(ValueError, match="5 missing"):
        rrm.step()
    assert rrm.step(LOSSES) is not None


def test_an_incomplete_epoch_is_told_once_before_it_matters():
    rrm = RRM(5, contamination=0.2, warmup=4)
    rrm.weighted_mean(LOSSES[:2], ALL[:2])
    with pytest.warns(UserWarning, match=r"3 missing \(the first: index 2\).*No reweight is due yet"):
        rrm.step()
    rrm.weighted_mean(LOSSES[:2], ALL[:2])
    rrm.step()
    rrm.step()  # nothing recorded at all: whoever passes losses when they are due does that
    one_epoch(rrm)
    same(rrm.losses, LOSSES)


def test_nan_losses_are_pruned_where_asked_for():
    rrm = RRM(5, contamination=0.2, warmup=1, nan="prune")
    rrm.step(torch.tensor([1.0, torch.nan, 2.0, 3.0, 4.0]))
    assert rrm.flagged().tolist() == [1]
    other = RRM(5, contamination=0.2, warmup=1, nan="prune")
    other.load_state_dict(rrm.state_dict())
    assert other.plan == rrm.plan


@pytest.mark.parametrize("number", [np.float32, np.float64])
def test_settings_from_numpy_are_saved_as_plain_numbers(number):
    rrm = RRM(np.int64(5), contamination=number(0.2), mu=number(0.5), warmup=np.int32(1), redistribute=number(0.5))
    one_epoch(rrm)
    file = io.BytesIO()
    torch.save(rrm.state_dict(), file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    assert state["settings"]["contamination"] == 0.2
    RRM(5, contamination=0.2, mu=0.5, warmup=1, redistribute=0.5).load_state_dict(state)


@pytest.mark.parametrize(
    ("losses", "message"),
    [(torch.ones(4), r"shape \(5,\).*got \(4,\)"), (torch.tensor([1.0, torch.nan, 1, 1, 1]), "1 NaN.*index 1")],
)
def test_bad_losses_leave_the_state(losses, message):
    rrm = RRM(5, contamination=0.2, mu=0.3, warmup=1)
    one_epoch(rrm)
    before = rrm.state_dict()
    with pytest.raises(ValueError, match=message):
        rrm.step(losses)
    after = rrm.state_dict()
    same(after["weights"], before["weights"])
    same(after["losses"], before["losses"])
    assert after["epoch"] == before["epoch"]


@pytest.mark.parametrize("losses", [torch.ones(4), "text"], ids=["shape", "text"])
def test_after_losses_that_do_not_fit_the_next_epoch_begins_afresh(losses):
    rrm = RRM(5, contamination=0.2, warmup=1)
    index = torch.arange(5)
    rrm.weighted_mean(torch.ones(5), index)
    with pytest.raises((TypeError, ValueError), match="losses must"):
        rrm.step(losses)
    rrm.weighted_mean(torch.arange(5.0), index)
    assert rrm.step().n_pruned == 1


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"n": 0, "contamination": 0.2}, ValueError, "n must be at least 1, got 0"),
        ({"n": 2.0, "contamination": 0.2}, TypeError, "n must be an integer, got 2.0"),
        ({"n": 5}, ValueError, "exactly one of contamination and gamma"),
        ({"n": 5, "contamination": 0.2, "gamma": 1.0}, ValueError, "exactly one of contamination and gamma"),
        ({"n": 5, "contamination": 1.0}, ValueError, r"contamination must lie in \[0, 1\), got 1.0"),
        ({"n": 5, "gamma": -1.0}, ValueError, "gamma must be at least 0, got -1.0"),
        ({"n": 5, "gamma": 1.0, "mu": 2}, ValueError, r"mu must lie in \(0, 1\], got 2"),
        ({"n": 5, "gamma": 1.0, "warmup": 0}, ValueError, "warmup must be at least 1, got 0"),
        ({"n": 5, "gamma": 1.0, "every": True}, ValueError, "every must be at least 1, got True"),
        ({"n": 5, "gamma": 1.0, "nan": "drop"}, ValueError, "nan must be 'raise' or 'prune', got 'drop'"),
        ({"n": 5, "gamma": 1.0, "redistribute": "all"}, ValueError, "redistribute must be .*got 'all'"),
        ({"n": 5, "gamma": 1.0, "ties": "share"}, ValueError, "ties='share' needs contamination"),
    ],
)
def test_bad_arguments_are_refused_at_once(arguments, error, message):
    with pytest.raises(error, match=message):
        RRM(**arguments)


# State


def test_a_resumed_run_goes_on_with_the_same_bits():
    generator = torch.Generator().manual_seed(0)
    epochs = [torch.rand(50, generator=generator) for _ in range(6)]
    settings = {"contamination": 0.3, "mu": 0.3, "warmup": 2}
    whole = RRM(50, **settings)
    for losses in epochs:
        one_epoch(whole, losses, range(50), 7)

    first = RRM(50, **settings)
    for losses in epochs[:3]:
        one_epoch(first, losses, range(50), 7)
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second = RRM(50, **settings)
    second.load_state_dict(torch.load(file, weights_only=True))
    assert second.plan == first.plan
    same(second.flagged(), first.flagged())
    for losses in epochs[3:]:
        one_epoch(second, losses, range(50), 7)

    same(second.weights, whole.weights)
    same(second.losses, whole.losses)
    assert second.plan == whole.plan
    assert second.epoch == whole.epoch == 6


def test_state_before_the_first_reweight():
    rrm, other = RRM(5, contamination=0.2), RRM(5, contamination=0.2, warmup=10)
    one_epoch(rrm)
    other.load_state_dict(rrm.state_dict())
    assert other.epoch == 1
    assert other.plan is None


def test_state_is_a_copy():
    rrm = RRM(5, contamination=0.2, warmup=1)
    state = rrm.state_dict()
    one_epoch(rrm)
    same(state["weights"], torch.ones(5))
    other = RRM(5, contamination=0.2, warmup=1)
    other.load_state_dict(state)
    state["weights"].zero_()
    same(other.weights, torch.ones(5))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"n": 6, "contamination": 0.2}, "n is 6 there and 5 here"),
        ({"n": 5, "contamination": 0.3}, "contamination is 0.3 there and 0.2 here"),
        ({"n": 5, "gamma": 0.2}, "contamination is None there and 0.2 here, gamma is 0.2 there and None here"),
        ({"n": 5, "contamination": 0.2, "mu": 0.5}, "mu is 0.5 there and 1.0 here"),
        ({"n": 5, "contamination": 0.2, "redistribute": "argmin"}, "redistribute is 'argmin' there"),
        ({"n": 5, "contamination": 0.2, "warmup": 1}, "warmup is 1 there and 10 here"),
    ],
)
def test_a_state_of_other_settings_is_refused(other, message):
    rrm = RRM(5, contamination=0.2)
    stranger = RRM(**other)
    stranger.step(torch.rand(other["n"]))
    with pytest.raises(ValueError, match=message):
        rrm.load_state_dict(stranger.state_dict())
    assert rrm.epoch == 0
    same(rrm.weights, torch.ones(5))


def test_a_state_with_parts_missing_is_refused():
    rrm = RRM(5, contamination=0.2)
    state = rrm.state_dict()
    del state["losses"]
    with pytest.raises(ValueError, match=r"state lacks losses; pass what RRM.state_dict\(\) returned"):
        rrm.load_state_dict(state)


@pytest.mark.parametrize("name", ["weights", "losses"])
def test_a_state_with_tensors_of_another_length_is_refused(name):
    rrm = RRM(5, contamination=0.2)
    state = rrm.state_dict()
    state[name] = torch.ones(3)
    with pytest.raises(ValueError, match=rf"state's {name} must have shape \(5,\), got \(3,\)"):
        rrm.load_state_dict(state)


def test_loading_forgets_a_half_recorded_epoch():
    rrm = RRM(5, contamination=0.2, warmup=1)
    state = rrm.state_dict()
    rrm.weighted_mean(LOSSES[:2], ALL[:2])
    rrm.load_state_dict(state)
    one_epoch(rrm)
    same(rrm.losses, LOSSES)


def test_repr_tells_settings_and_state():
    rrm = RRM(5, contamination=0.2, warmup=1)
    shown = (
        "RRM(n=5, contamination=0.2, mu=1.0, redistribute='kept', ties='keep', nan='raise', warmup=1, every=1; epoch=0)"
    )
    assert repr(rrm) == shown
    one_epoch(rrm)
    assert repr(rrm) == shown.replace("epoch=0", "epoch=1, pruned=1")


def test_state_follows_the_losses_to_their_device(monkeypatch):
    rrm, moved = RRM(5, contamination=0.2, warmup=1), []
    monkeypatch.setattr(rrm, "to", moved.append)
    rrm.weighted_mean(LOSSES, ALL)
    rrm.step(LOSSES)
    assert moved == [LOSSES.device] * 2
    monkeypatch.undo()
    rrm.to(torch.device("meta"))  # the one other device that every machine has
    assert {t.device.type for t in (rrm.weights, rrm.losses, rrm._buffer.losses, rrm.trajectory.last)} == {"meta"}


@pytest.mark.parametrize(
    ("losses", "index", "error", "message"),
    [
        (
            torch.ones(1),
            torch.arange(5),
            ValueError,
            r"losses and index must both have shape \(batch,\), got \(1,\) and",
        ),
        (torch.ones(2), [0, 1], TypeError, "index must be a tensor of int64, got list"),
    ],
    ids=["shape", "list"],
)
def test_record_refuses_what_weighted_mean_refuses(losses, index, error, message):
    rrm = RRM(5, contamination=0.2)
    for method in (rrm.record, rrm.weighted_mean):
        with pytest.raises(error, match=message):
            method(losses, index)
