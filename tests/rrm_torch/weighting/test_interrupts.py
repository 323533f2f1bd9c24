"""After an interrupt at any instruction the state is the one before the call or the one after it."""

from __future__ import annotations

import pytest
import torch

from rrm_torch import RRM, BatchRRM, PruningHistory
from support.interrupts import interrupted
from support.layout_jobs import flatten
from support.weighting import assert_identical

N = 40
GENERATOR = torch.Generator().manual_seed(0)
EPOCHS = [torch.rand(N, generator=GENERATOR) for _ in range(5)]
INDEX = torch.arange(N)
SAMPLES = 60
SETTINGS = {
    "epochs": {},
    "steps": {"unit": "step", "warmup": 1, "every": 2},
    "latest": {"unseen": "latest", "mu": 0.5},
    "gamma": {"contamination": None, "gamma": 0.4},
}


def trained(kind=RRM, **settings):
    rrm = kind(N, **({"contamination": 0.2, "warmup": 1} | settings))
    for losses in EPOCHS[:3]:
        rrm.weighted_mean(losses, INDEX)
        rrm.step()
    rrm.weighted_mean(EPOCHS[3], INDEX)
    return rrm


def copied(rrm, **settings):
    other = type(rrm)(N, **({"contamination": 0.2, "warmup": 1} | settings))
    other.load_state_dict(rrm.state_dict())
    return other


def assert_old_or_new(make, call, samples=None):
    old = flatten(make().state_dict())
    after = make()
    call(after)
    new = flatten(after.state_dict())
    assert old != new
    found = {"old": 0, "new": 0}
    for point, subject in interrupted(make, call, samples=samples):
        state = flatten(subject.state_dict())
        assert state in (old, new), point
        found["old" if state == old else "new"] += 1
    # The last instructions come after the one that changes the state.
    assert min(found.values()) > 0


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("passed", [True, False])
def test_step(settings, passed):
    saved = trained(**settings)
    losses = EPOCHS[4] if passed else None
    assert_old_or_new(lambda: copied(saved, **settings), lambda rrm: rrm.step(losses), samples=SAMPLES)


def test_step_with_float64_losses():
    saved = trained()
    assert_old_or_new(lambda: copied(saved), lambda rrm: rrm.step(EPOCHS[4].double()), samples=SAMPLES)


def test_step_of_batch_rrm():
    saved = trained(BatchRRM)
    assert_old_or_new(lambda: copied(saved), lambda rrm: rrm.step(), samples=SAMPLES)


def test_step_that_is_not_due():
    saved = trained(unit="step", every=100)
    assert_old_or_new(lambda: copied(saved, unit="step", every=100), lambda rrm: rrm.step())


@pytest.mark.parametrize("kind", [RRM, BatchRRM])
def test_load_state_dict(kind):
    saved = trained(kind)
    later = copied(saved)
    later.step()
    state = later.state_dict()
    assert_old_or_new(lambda: copied(saved), lambda rrm: rrm.load_state_dict(state), samples=SAMPLES)


def test_reset_losses():
    saved = trained()
    assert_old_or_new(lambda: copied(saved), lambda rrm: rrm.reset_losses())


def test_what_an_interrupted_batch_has_recorded_is_part_of_the_state():
    seen = set()
    for _, rrm in interrupted(lambda: RRM(N, contamination=0.2), lambda rrm: rrm.record(EPOCHS[0], INDEX)):
        n_marked = int((rrm._buffer.marks > 0).sum())
        state = rrm.state_dict()
        assert n_marked == (0 if state["marks"] is None else int((state["marks"] > 0).sum()))
        seen.add(n_marked)
    assert seen == {0, N}


@pytest.mark.parametrize("change", ["record", "load_state_dict"])
def test_pruning_history(change):
    old = trained().trajectory
    later = trained()
    later.step()
    new = later.trajectory

    def make():
        history = PruningHistory(N)
        history.load_state_dict(old.state_dict())
        return history

    def call(history):
        if change == "record":
            history.record(4, later.losses, later.weights, new.last, later.plan, contamination=0.2)
        else:
            history.load_state_dict(new.state_dict())

    states = [flatten(history.state_dict()) for history in (old, new)]
    found = [flatten(history.state_dict()) for _, history in interrupted(make, call, samples=SAMPLES)]
    assert all(state in states for state in found)
    assert all(state in found for state in states)


def test_interrupted_step_can_be_repeated():
    whole = trained()
    whole.step()
    for _, rrm in interrupted(trained, lambda rrm: rrm.step(), samples=30):
        if rrm.epoch == 3:
            rrm.step()
        assert_identical(rrm.weights, whole.weights)
        assert_identical(rrm.trajectory.mean_excess, whole.trajectory.mean_excess)


def test_warning_as_error_leaves_state_unchanged():
    rrm = RRM(N, contamination=0.5, redistribute="argmin", weight_limit=2, warmup=1)
    before = flatten(rrm.state_dict())
    with pytest.warns(UserWarning, match="above weight_limit=2"):
        RRM(N, contamination=0.5, redistribute="argmin", weight_limit=2, warmup=1).step(EPOCHS[0])
    with pytest.raises(UserWarning, match="above weight_limit=2"):  # pytest turns warnings into errors
        rrm.step(EPOCHS[0])
    assert flatten(rrm.state_dict()) == before
    assert rrm.step(EPOCHS[0]) is not None
