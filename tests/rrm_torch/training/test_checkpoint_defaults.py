"""Checkpoints do not depend on what other code sets in torch and NumPy."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext

import pytest
import torch

from rrm_torch import ELR, Checkpoint
from support import torch_defaults
from support.run_state import digest, make_checkpoint, train_step


@contextmanager
def deterministic():
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


@contextmanager
def mapped():
    before = torch.utils.serialization.config.load.mmap
    torch.utils.serialization.config.load.mmap = True
    try:
        yield
    finally:
        torch.utils.serialization.config.load.mmap = before


SETTINGS = torch_defaults.SETTINGS | {"none": nullcontext, "deterministic": deterministic, "mmap": mapped}


@pytest.mark.parametrize("when", ["save", "load", "both"])
@pytest.mark.parametrize("setting", SETTINGS)
def test_state_does_not_depend_on_settings_of_others(tmp_path, setting, when):
    path = tmp_path / "run.pt"
    there = make_checkpoint(path, seed=1, steps=3)
    here = make_checkpoint(path, steps=2)
    new = digest(make_checkpoint(path, seed=1, steps=3).objects)
    with SETTINGS[setting]() if when in ("save", "both") else nullcontext():
        there.save(3)
    with SETTINGS[setting]() if when in ("load", "both") else nullcontext():
        assert here.load() == 3
    assert digest(here.objects) == new
    # The state can be trained on, to the same bits.
    train_step(here.objects, 4)
    trained = digest(here.objects)
    there.load()
    train_step(there.objects, 4)
    assert digest(there.objects) == trained


@pytest.mark.parametrize("setting", SETTINGS)
def test_history_does_not_depend_on_settings_of_others(tmp_path, setting):
    objects = make_checkpoint(tmp_path / "run.pt", steps=2).objects
    with SETTINGS[setting]():
        objects["history"].record(3, 0.5, 0.5, objects["rrm"])
    *_, second, third = objects["history"].epochs
    assert third.groups == second.groups


def test_load_rejects_model_of_another_dtype(tmp_path):
    path = tmp_path / "run.pt"
    Checkpoint(path, model=torch.nn.Linear(2, 2)).save(1)
    model = torch.nn.Linear(2, 2).double()
    before = model.weight.detach().clone()
    with pytest.raises(ValueError, match=r"weight is torch\.float32 in the state and torch\.float64 here"):
        Checkpoint(path, model=model).load()
    assert torch.equal(model.weight, before)


def test_elr_state_is_float32_on_the_host_whatever_the_defaults():
    for setting in ("float64", "bfloat16", "meta device", "inference mode"):
        with SETTINGS[setting]():
            elr = ELR(4, 3)
            state = elr.state_dict()
            elr.load_state_dict(state)
        assert elr.targets.dtype == torch.float32
        assert elr.targets.device.type == "cpu"
        assert not elr.targets.is_inference()
