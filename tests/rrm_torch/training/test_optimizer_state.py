from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from rrm_torch.training.optimizer_state import check_optimizer_state, check_scheduler_state

OPTIMIZERS = ("SGD", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop", "Rprop", "Adagrad", "Adadelta", "ASGD")
MORE = ("LBFGS", "Adafactor", "SparseAdam")


def trained(name, steps=2, **settings):
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    optimizer = getattr(torch.optim, name)(model.parameters(), **settings)
    for _ in range(steps):

        def closure():
            optimizer.zero_grad()
            loss = model(torch.ones(4, 3)).square().sum()
            loss.backward()
            if name == "SparseAdam":
                for parameter in model.parameters():
                    parameter.grad = parameter.grad.to_sparse()
            return loss

        optimizer.step(closure)
    return optimizer


@pytest.mark.parametrize("name", [*OPTIMIZERS, *MORE])
def test_accepts_states_of_every_optimizer_of_torch(name):
    saved = trained(name).state_dict()
    check_optimizer_state(trained(name, 0), saved)
    check_optimizer_state(trained(name, 1), saved)


def test_accepts_other_settings_of_the_same_kind():
    saved = trained("Adam", lr=torch.tensor(0.1), foreach=False, amsgrad=True, capturable=False).state_dict()
    check_optimizer_state(trained("Adam", lr=0.2), saved)
    saved = trained("SGD", momentum=0.9).state_dict()
    check_optimizer_state(trained("SGD", lr=torch.tensor(0.1), momentum=0), saved)


GROUP = ("lr", "betas", "eps", "weight_decay", "amsgrad", "params", "maximize")
BAD = ("x", {}, [], None, torch.zeros(3), 1j, (0.9,), [0, "x"], torch.tensor(1j))


@pytest.mark.parametrize("entry", GROUP)
def test_rejects_groups_of_another_kind(entry):
    optimizer = trained("Adam", lr=0.1)
    for bad in BAD:
        if entry in ("amsgrad", "maximize") and bad is None:
            continue
        state = copy.deepcopy(optimizer.state_dict())
        state["param_groups"][0][entry] = bad
        with pytest.raises(ValueError, match=entry):
            check_optimizer_state(optimizer, state)
    if entry in ("amsgrad", "maximize"):
        return
    state = copy.deepcopy(optimizer.state_dict())
    del state["param_groups"][0][entry]
    with pytest.raises(ValueError, match=entry):
        check_optimizer_state(optimizer, state)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_rejects_tensors_of_another_shape(name):
    optimizer = trained(name, **({"momentum": 0.9} if name == "SGD" else {}))
    state = optimizer.state_dict()
    entries = [key for key, value in state["state"][0].items() if isinstance(value, torch.Tensor) and value.dim()]
    assert entries
    for entry in entries:
        changed = copy.deepcopy(state)
        changed["state"][0][entry] = torch.zeros(5)
        with pytest.raises(ValueError, match=rf"{entry} of parameter 0 must have shape \(2, 3\), got \(5,\)"):
            check_optimizer_state(optimizer, changed)


def test_rejects_complex_numbers_for_real_parameters():
    optimizer = trained("SGD", momentum=0.9)
    state = optimizer.state_dict()
    state["state"][0]["momentum_buffer"] = torch.zeros(2, 3, dtype=torch.complex64)
    with pytest.raises(ValueError, match="momentum_buffer of parameter 0 is complex"):
        check_optimizer_state(optimizer, state)


@pytest.mark.parametrize(
    "state", [None, [], {}, {"state": {}}, {"param_groups": []}, {"state": [], "param_groups": [1]}]
)
def test_rejects_what_is_no_state(state):
    with pytest.raises(ValueError, match="state"):
        check_optimizer_state(trained("SGD"), state)


def schedulers(optimizer):
    schedule = torch.optim.lr_scheduler
    return [
        schedule.StepLR(optimizer, 2),
        schedule.MultiStepLR(optimizer, [2, 3]),
        schedule.CosineAnnealingLR(optimizer, 5),
        schedule.CosineAnnealingWarmRestarts(optimizer, 5),
        schedule.OneCycleLR(optimizer, 0.1, total_steps=20),
        schedule.ExponentialLR(optimizer, 0.9),
        schedule.LambdaLR(optimizer, lambda epoch: 0.5**epoch),
        schedule.ReduceLROnPlateau(optimizer),
        schedule.SequentialLR(
            optimizer, [schedule.ConstantLR(optimizer), schedule.ExponentialLR(optimizer, 0.5)], milestones=[2]
        ),
        schedule.ChainedScheduler([schedule.ConstantLR(optimizer), schedule.ExponentialLR(optimizer, 0.5)], optimizer),
    ]


@pytest.mark.filterwarnings("ignore")
def test_accepts_states_of_the_schedulers_of_torch():
    for new, old in zip(schedulers(trained("SGD")), schedulers(trained("SGD")), strict=True):
        for _ in range(3):
            old.step(*([1.0] if isinstance(old, torch.optim.lr_scheduler.ReduceLROnPlateau) else []))
        check_scheduler_state(new, old.state_dict())


@pytest.mark.parametrize(
    "change", [{"step": 3}, {"gamma": "x"}, {"last_epoch": None}, {"base_lrs": 3}, {"base_lrs": ["x"]}]
)
def test_rejects_attributes_that_a_scheduler_does_not_have(change):
    scheduler = torch.optim.lr_scheduler.StepLR(trained("SGD"), 2)
    with pytest.raises(ValueError, match=next(iter(change))):
        check_scheduler_state(scheduler, scheduler.state_dict() | change)
    with pytest.raises(ValueError, match="must hold a dict"):
        check_scheduler_state(scheduler, [])
