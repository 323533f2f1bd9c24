from __future__ import annotations

import pytest
import torch

from fuzz import forged_states
from rrm_torch import RRM
from support.layout_jobs import flatten
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
        (lambda s: s["trajectory"].update(excess_sum=torch.full((N,), torch.nan)), "excess_sum must not hold NaN"),
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


def test_excess_of_a_sample_that_took_part_in_no_reweight_is_refused():
    saved = RRM(N, contamination=0.3, warmup=1)
    saved.step(LOSSES, among=torch.arange(N - 1))
    state = saved.state_dict()
    state["trajectory"]["excess_sum"][-1] = 0.5
    with pytest.raises(ValueError, match="excess_sum must be 0 for samples that took part in no reweight"):
        RRM(N, contamination=0.3, warmup=1).load_state_dict(state)


@pytest.mark.parametrize("state", [None, [], 3, "state"])
def test_state_must_be_a_dict(state):
    with pytest.raises(ValueError, match=r"state must be a dict, got .*; pass what RRM.state_dict\(\) returned"):
        RRM(N, contamination=0.3).load_state_dict(state)


UNREADABLE = {
    "meta": lambda tensor: tensor.to("meta"),
    "sparse": lambda tensor: tensor.to_sparse(),
    "nested": lambda tensor: torch.nested.nested_tensor([tensor, tensor]),
    "complex": lambda tensor: tensor.to(torch.complex64),
}
OTHER_FORMS = {
    "requires a gradient": lambda tensor: tensor.clone().requires_grad_(),
    "lazily negated": lambda tensor: torch.complex(tensor, -tensor).conj().imag,
    "not contiguous": lambda tensor: torch.stack([tensor, tensor], -1)[..., 0],
}
TENSORS = ("weights", "losses", "recorded", "marks", "bits", "excess_sum", "planned")


def in_mid_epoch():
    rrm = RRM(N, contamination=0.3, warmup=1, unseen="latest")
    rrm.weighted_mean(LOSSES[:8], torch.arange(8))
    rrm.step()
    rrm.weighted_mean(LOSSES[5:], torch.arange(5, N))
    return rrm


def state_with(name, form):
    """Return a state with one of its tensors in another form."""
    state = in_mid_epoch().state_dict()
    entries = state if name in state else state["trajectory"]
    entries[name] = form(entries[name])
    return state


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("form", UNREADABLE.values(), ids=UNREADABLE)
@pytest.mark.parametrize("name", TENSORS)
def test_tensor_that_is_not_dense_is_refused(name, form):
    rrm = in_mid_epoch()
    before = flatten(rrm.state_dict())
    with pytest.raises(ValueError, match=name):
        rrm.load_state_dict(state_with(name, form))
    assert flatten(rrm.state_dict()) == before


@pytest.mark.parametrize("form", OTHER_FORMS.values(), ids=OTHER_FORMS)
@pytest.mark.parametrize("name", ["weights", "losses", "recorded", "excess_sum"])
def test_dense_tensor_of_any_form_is_read_by_value(name, form):
    rrm = RRM(N, contamination=0.3, warmup=1, unseen="latest")
    rrm.load_state_dict(state_with(name, form))
    assert flatten(rrm.state_dict()) == flatten(in_mid_epoch().state_dict())
    assert not rrm.weights.requires_grad
