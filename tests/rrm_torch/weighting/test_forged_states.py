from __future__ import annotations

import pytest
import torch

from fuzz import forged_states
from rrm_torch import RRM
from support.weighting import LOSSES, N


def test_forged_states_raise_value_errors_or_are_plausible():
    outcomes = forged_states.run(300)
    assert outcomes["refused"] > 200
    assert outcomes["loaded"] > 10


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.update(epoch=2**80), "epoch must be an integer"),
        (lambda s: s.update(epoch=True), "epoch must be an integer"),
        (lambda s: s.update(epoch=0), "last reweight followed epoch 1, after its epoch 0"),
        (lambda s: s.update(weights=torch.full((N,), 1e300, dtype=torch.float64)), "must have one dtype"),
        (lambda s: s.update(weights=torch.full((N,), 1e30)), "weights must be at most n=10"),
        (lambda s: s.update(weights=torch.full((N,), 2.0)), "weights must have mean 1, got 2"),
        (lambda s: s.update(losses=LOSSES.flip(0)), "bits don't say which losses are above the threshold"),
        (lambda s: s.update(marks=torch.zeros(N, dtype=torch.uint8)), "both recorded and marks, or neither"),
        (lambda s: s["trajectory"]["bits"].zero_(), "bits count 0"),
        (lambda s: s["trajectory"].update(rank_sum=torch.full((N,), 2.0)), "rank_sum must add ranks"),
        (lambda s: s["trajectory"]["rounds"][0].update(largest_weight=1.0), "largest weight is"),
        (lambda s: s["trajectory"]["rounds"][0].update(epoch=7), "after its epoch 1"),
        (lambda s: s["trajectory"]["rounds"][0].update(n_left=1), "n_left=1 after epoch 1, where its bits count 0"),
        (lambda s: s["trajectory"]["rounds"][0].update(threshold=0.0), "threshold=0.0, which can't be right"),
        (lambda s: s["trajectory"].update(rounds=7), "rounds must be a list, got int"),
        (lambda s: s.update(settings=None), "settings must be a dict, got NoneType"),
        (lambda s: s.update(trajectory=None), "trajectory must be a dict, got NoneType"),
    ],
)
def test_refused_state_says_which_entry(change, message):
    saved = RRM(N, contamination=0.3, warmup=1)
    saved.step(LOSSES)
    state = saved.state_dict()
    change(state)
    with pytest.raises(ValueError, match=message):
        RRM(N, contamination=0.3, warmup=1).load_state_dict(state)


@pytest.mark.parametrize("state", [None, [], 3, "state"])
def test_state_must_be_a_dict(state):
    with pytest.raises(ValueError, match=r"state must be a dict, got .*; pass what RRM.state_dict\(\) returned"):
        RRM(N, contamination=0.3).load_state_dict(state)
