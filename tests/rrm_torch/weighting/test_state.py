from __future__ import annotations

import io

import pytest
import torch

from rrm_torch import RRM
from rrm_torch.weighting.schedule import Ramp
from rrm_torch.weighting.state import VERSION
from support.weighting import FIVE, INDEX, LOSSES, N, assert_identical, epoch_of_steps, one_epoch, set_epoch


def test_resumed_run_gives_same_bits():
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
    assert_identical(second.flagged(), first.flagged())
    for losses in epochs[3:]:
        one_epoch(second, losses, range(50), 7)

    assert_identical(second.weights, whole.weights)
    assert_identical(second.losses, whole.losses)
    assert second.plan == whole.plan
    assert second.epoch == whole.epoch == 6


def test_state_before_first_reweight():
    rrm, other = RRM(5, contamination=0.2), RRM(5, contamination=0.2, warmup=10)
    one_epoch(rrm)
    other.load_state_dict(rrm.state_dict())
    assert other.epoch == 1
    assert other.plan is None


def test_state_is_a_copy():
    rrm = RRM(5, contamination=0.2, warmup=1)
    state = rrm.state_dict()
    one_epoch(rrm)
    assert_identical(state["weights"], torch.ones(5))
    other = RRM(5, contamination=0.2, warmup=1)
    other.load_state_dict(state)
    state["weights"].zero_()
    assert_identical(other.weights, torch.ones(5))


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
def test_rejects_state_of_other_settings(other, message):
    rrm = RRM(5, contamination=0.2)
    stranger = RRM(**other)
    stranger.step(torch.rand(other["n"]))
    with pytest.raises(ValueError, match=message):
        rrm.load_state_dict(stranger.state_dict())
    assert rrm.epoch == 0
    assert_identical(rrm.weights, torch.ones(5))


def test_rejects_state_with_missing_entry():
    rrm = RRM(5, contamination=0.2)
    state = rrm.state_dict()
    del state["losses"]
    with pytest.raises(ValueError, match=r"state lacks losses; pass what RRM.state_dict\(\) returned"):
        rrm.load_state_dict(state)


def test_rejects_state_of_other_version_before_its_entries():
    rrm = RRM(5, contamination=0.2)
    state = rrm.state_dict() | {"version": VERSION - 1}
    del state["epochs"]
    with pytest.raises(ValueError, match=f"version {VERSION - 1}, and this rrm_torch reads version {VERSION}; resume"):
        rrm.load_state_dict(state)


@pytest.mark.parametrize("name", ["weights", "losses"])
def test_rejects_state_with_tensor_of_other_length(name):
    rrm = RRM(5, contamination=0.2)
    state = rrm.state_dict()
    state[name] = torch.ones(3)
    with pytest.raises(ValueError, match=rf"state's {name} must be a dense tensor of shape \(5,\) .*, got \(3,\)"):
        rrm.load_state_dict(state)


def test_loading_discards_partly_recorded_epoch():
    rrm = RRM(5, contamination=0.2, warmup=1)
    state = rrm.state_dict()
    rrm.weighted_mean(FIVE[:2], INDEX[:5][:2])
    rrm.load_state_dict(state)
    one_epoch(rrm)
    assert_identical(rrm.losses, FIVE)


def test_state_with_schedule():
    def rrm(final):
        return RRM(N, contamination=Ramp(final, over=3), warmup=1)

    first, again = rrm(0.3), rrm(0.3)
    first.step(LOSSES)
    first.step(LOSSES)
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    again.load_state_dict(torch.load(file, weights_only=True))
    assert again.plan == first.plan
    assert again.step(LOSSES) == first.step(LOSSES)
    with pytest.raises(ValueError, match=r"contamination is 'Ramp\(final=0.3,.*' there and 'Ramp\(final=0.2,"):
        rrm(0.2).load_state_dict(first.state_dict())


def test_recorded_nan_has_canonical_bits():
    rrm = RRM(N, contamination=0.3, warmup=2, nan="prune", unit="step")
    rrm.weighted_mean(torch.full((N,), torch.nan).copysign(LOSSES - LOSSES[3]), INDEX)
    assert set(rrm.state_dict()["recorded"].view(torch.int32).tolist()) == {
        torch.tensor(torch.nan).view(torch.int32).item()
    }


def test_state_of_steps_includes_recorded_losses():
    first = RRM(N, contamination=0.3, warmup=3, every=1, unit="step")
    epoch_of_steps(first, LOSSES)
    again = RRM(N, contamination=0.3, warmup=3, every=1, unit="step")
    again.load_state_dict(first.state_dict())
    for rrm in (first, again):
        rrm.weighted_mean(LOSSES[:5] + 1, INDEX[:5])
        assert rrm.step() is not None
    assert_identical(again.weights, first.weights)
    assert_identical(again.losses, first.losses)


@pytest.mark.parametrize("of", ["contamination", "gamma", "mu"])
def test_rejects_state_of_function_with_other_values(of):
    def rrm(number):
        rule = {} if of in ("contamination", "gamma") else {"contamination": 0.3}
        return RRM(N, **rule, **{of: lambda epoch: number if epoch > 2 else 0.5}, warmup=1)

    first, other = rrm(0.2), rrm(0.25)
    first.step(LOSSES)
    with pytest.raises(ValueError, match=rf"other settings: {of} is '.*<lambda>, values \w+' there and"):
        other.load_state_dict(first.state_dict())
    assert other.epoch == 0
    assert_identical(other.weights, torch.ones(N))
    rrm(0.2).load_state_dict(first.state_dict())


def test_rejects_state_whose_plan_differs():
    def rrm(share):
        return RRM(N, contamination=lambda epoch: share if epoch == 1500 else 0.3, warmup=1)

    first, other = rrm(0.2), rrm(0.5)
    set_epoch(first, 1499)
    first.step(LOSSES)
    with pytest.raises(
        ValueError, match="another schedule, which pruned 2 samples after epoch 1500, where this one prunes 5"
    ):
        other.load_state_dict(first.state_dict())
    assert other.epoch == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epoch": -5}, r"epoch must be an integer in \[0, 2147483646\], got -5"),
        ({"epoch": "x"}, r"epoch must be an integer in \[0, 2147483646\], got 'x'"),
        ({"epochs": 0}, r"epochs must be None or an integer in \[1, 2147483646\], got 0"),
        ({"weights": torch.full((N,), torch.nan)}, "state's weights must be finite and at least 0"),
        ({"weights": -torch.ones(N)}, "state's weights must be finite and at least 0"),
        (
            {"weights": torch.ones(N, dtype=torch.bool)},
            r"weights must be a dense tensor of shape \(10,\) and .*float32 or .*float64, got \(10,\) and torch.bool",
        ),
    ],
)
def test_rejects_damaged_state(change, message):
    rrm = RRM(N, contamination=0.3, warmup=1)
    rrm.step(LOSSES)
    with pytest.raises(ValueError, match=message):
        RRM(N, contamination=0.3, warmup=1).load_state_dict(rrm.state_dict() | change)


@pytest.mark.parametrize("change", ["an entry too many", "one missing"])
def test_rejects_reweights_of_other_version(change):
    rrm = RRM(N, contamination=0.3, warmup=1)
    rrm.step(LOSSES)
    state = rrm.state_dict()
    if change == "one missing":
        del state["trajectory"]["rounds"][0]["gamma"]
    else:
        state["trajectory"]["rounds"][0]["delta"] = 1.0
    with pytest.raises(ValueError, match="state's rounds aren't those of this version"):
        RRM(N, contamination=0.3, warmup=1).load_state_dict(state)


def test_failed_load_leaves_state_unchanged():
    saved, rrm = (RRM(N, contamination=0.3, warmup=1) for _ in range(2))
    saved.step(LOSSES)
    rrm.step(LOSSES.flip(0))
    before = rrm.state_dict()
    for broken, message in (
        ({"trajectory": {}}, "trajectory lacks bits, excess_sum, planned, rounds"),
        ({"weights": [1.0]}, r"weights must be a dense tensor of shape \(10,\) .*, got list"),
        ({"losses": torch.full((N,), torch.nan)}, "NaN"),
    ):
        with pytest.raises(ValueError, match=message):
            rrm.load_state_dict(saved.state_dict() | broken)
        after = rrm.state_dict()
        assert after["trajectory"]["rounds"] == before["trajectory"]["rounds"]
        for name in ("weights", "losses"):
            assert_identical(after[name], before[name])
