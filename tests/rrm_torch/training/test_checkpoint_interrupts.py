"""Whatever interrupts or fails while a checkpoint is saved or loaded: all is old, or all is new."""

from __future__ import annotations

import os
import signal
import threading

import pytest
import torch
from torch import nn

from rrm_torch import Checkpoint
from rrm_torch._rollback import deferred_signals
from support.interrupts import interrupted
from support.run_state import Counter, digest, make_checkpoint, make_objects

SAMPLES = 50


@pytest.fixture
def saved(tmp_path):
    """Return the path of a checkpoint, and the digest of the state in it."""
    path = tmp_path / "run.pt"
    checkpoint = make_checkpoint(path, seed=1, steps=4)
    checkpoint.save(4)
    return path, digest(checkpoint.objects)


@pytest.mark.parametrize("steps", [0, 2], ids=["new objects", "trained objects"])
def test_interrupted_load_leaves_all_old_or_all_new(saved, steps):
    path, new = saved
    old = digest(make_checkpoint(path, steps=steps).objects)
    found = {
        digest(checkpoint.objects)
        for _, checkpoint in interrupted(
            lambda: make_checkpoint(path, steps=steps), Checkpoint.load, samples=SAMPLES, seed=steps
        )
    }
    assert found <= {old, new}
    assert old in found


def test_load_after_an_interrupted_load_restores_everything(saved):
    path, new = saved
    for _, checkpoint in interrupted(lambda: make_checkpoint(path), Checkpoint.load, samples=10):
        assert checkpoint.load() == 4
        assert digest(checkpoint.objects) == new


def test_interrupted_save_leaves_the_old_or_the_new_file(tmp_path):
    path = tmp_path / "run.pt"
    make_checkpoint(path, steps=1).save(1)
    epochs = set()
    for _ in interrupted(lambda: make_checkpoint(path), lambda checkpoint: checkpoint.save(2), samples=SAMPLES):
        epochs.add(make_checkpoint(path).load())
    assert epochs <= {1, 2}
    assert [file.name for file in tmp_path.iterdir()] == ["run.pt"]


class Broken(Counter):
    """An object that fails half-way while it loads another state than its own."""

    def load_state_dict(self, state):
        self.counts["seen"] = state["seen"]
        if state["kept"] != 2:
            raise KeyError("kept")
        self.counts["kept"] = state["kept"]


# The objects are restored in alphabetical order after RRM.
@pytest.mark.parametrize("name", ["counter", "model_2", "zeta"])
@pytest.mark.parametrize("error", ["its own", "another module", "the generator"])
def test_failed_load_puts_everything_back(tmp_path, name, error):
    path = tmp_path / "run.pt"
    there = make_objects(1, 4)
    there |= {name: {"its own": Counter(), "another module": nn.Linear(3, 4), "the generator": Counter()}[error]}
    Checkpoint(path, **there).save(4)
    here = make_objects(0, 2)
    here |= {name: {"its own": Broken(), "another module": nn.Linear(3, 2), "the generator": torch.Generator()}[error]}
    if error == "its own":
        here[name].counts |= {"kept": 2}
    old = digest(here)
    checkpoint = Checkpoint(path, **here)
    with pytest.raises(ValueError, match=rf"{name} of checkpoint '.*run\.pt' doesn't match: "):
        checkpoint.load()
    assert digest(here) == old
    assert here["optimizer"].param_groups[0]["params"][0] is here["model"][0].weight


def test_message_names_what_can_not_be_put_back(tmp_path):
    path = tmp_path / "run.pt"
    Checkpoint(path, counter=Counter()).save(1)
    with pytest.raises(ValueError, match=r"counter of .* doesn't match: .*kept.*; counter can't be put back: .*kept"):
        Checkpoint(path, counter=Broken()).load()


class Signalling(Counter):
    """An object that is sent a signal while it loads, and then fails, or not."""

    def __init__(self, number, fails):
        super().__init__()
        self.number = number
        self.fails = fails

    def load_state_dict(self, state):
        self.counts["seen"] = state["seen"]
        os.kill(os.getpid(), self.number)
        for _ in range(1000):  # CPython runs handlers between instructions
            pass
        if self.fails and state["seen"] == 7:
            raise OSError("no more room")
        self.counts["kept"] = state["kept"]


class Stopped(BaseException):
    pass


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_signals_take_effect_after_load(tmp_path, number, fails):
    def stop(*_):
        raise Stopped

    path = tmp_path / "run.pt"
    there = make_objects(1, 4) | {"counter": Counter()}
    there["counter"].counts |= {"seen": 7, "kept": 7}
    Checkpoint(path, **there).save(4)
    new = digest(there)
    here = make_objects(0, 2) | {"counter": Signalling(number, fails)}
    old = digest(here)
    before = signal.signal(number, stop)
    try:
        with pytest.raises(Stopped):
            Checkpoint(path, **here).load()
        assert signal.getsignal(number) is stop
    finally:
        signal.signal(number, before)
    assert digest(here) == (old if fails else new)


def test_signals_are_not_deferred_in_other_threads():
    handler = signal.getsignal(signal.SIGINT)
    seen = []

    def work():
        with deferred_signals():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [handler]
