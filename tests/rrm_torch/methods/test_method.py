"""The loop over epochs, its history and its state, by the examples of DivideMix and CC."""

from __future__ import annotations

import copy
import signal
import subprocess
import sys
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.optim.lr_scheduler import MultiStepLR, ReduceLROnPlateau

from rrm_torch import Checkpoint
from rrm_torch.methods import DivideMix, ELRPlus, MetaWeightNet, RegMixUp, TrainingSet
from rrm_torch.methods.method import make_optimizers, print_epoch
from support import killed_method
from support.small_methods import (
    N,
    digest_of,
    make_cc,
    make_dividemix,
    networks,
    networks_digest,
    noisy_set,
    rrms,
)


def make_elr_plus(data):
    return ELRPlus(networks(), data, batch_size=16)


def make_regmixup(data):
    return RegMixUp(networks()[0], data, batch_size=16)


def make_meta_weight_net(data):
    clean = TrainingSet(noisy_set().inputs, data.labels, data.n_classes)
    return MetaWeightNet(networks()[0], data, clean, batch_size=16)


SCHEDULER = partial(MultiStepLR, milestones=[2], gamma=0.1)


def dividemix_with_state(**options):
    """Return a DivideMix of which all has a state that matters: schedules, averaged losses, a small mu."""
    return make_dividemix(scheduler=SCHEDULER, average_losses=2, rrm=rrms(mu=0.5), **options)


@cache
def whole_digest():
    """Return the digest of three epochs of it."""
    method = dividemix_with_state()
    method.fit(3)
    return digest_of(method)


RUNS = {
    "DivideMix": partial(make_dividemix, scheduler=SCHEDULER),
    "DivideMix with RRM": dividemix_with_state,
    "DivideMix with groups": lambda: make_dividemix(rrm=rrms(groups=noisy_set().labels), on_pruned="unlabelled"),
    "CC": partial(make_cc, scheduler=SCHEDULER, discrepancy_threshold=0.2, discrepancy_batches=3),
    "DivideMix with drawn samples": lambda: make_dividemix(rrm=rrms(mu=0.5), epoch_samples=30),
    "CC with RRM": lambda: make_cc(rrm=rrms(mu=0.5)),
}


@pytest.mark.parametrize("make", RUNS.values(), ids=RUNS)
def test_resumed_run_ends_with_the_bits_of_an_uninterrupted_one(make, tmp_path):
    whole = make()
    whole.fit(4)
    path = tmp_path / "run.pt"
    for epochs in (1, 3, 4):
        torch.manual_seed(epochs)
        method = make()
        method.fit(epochs, checkpoint=Checkpoint(path, method=method))
        assert method.epoch == epochs
    assert digest_of(method) == digest_of(whole)
    assert method.history == whole.history


def test_killed_run_resumes_to_the_same_bits(tmp_path):
    script = Path(killed_method.__file__)
    path = tmp_path / "run.pt"
    killed = subprocess.run(
        [sys.executable, script, path],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={"PYTHONPATH": str(script.parents[1]), "OMP_NUM_THREADS": "1"},
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    resumed = killed_method.make()
    assert Checkpoint(path, method=resumed).load() == 2
    assert killed_method.run(path) == killed_method.run(tmp_path / "whole.pt")


@pytest.mark.parametrize("make", RUNS.values(), ids=RUNS)
def test_seed_determines_the_bits(make):
    digests = []
    for torch_seed in (1, 2):
        method = make()
        torch.manual_seed(torch_seed)
        method.fit(3)
        digests.append(digest_of(method))
    assert digests[0] == digests[1]


@pytest.mark.parametrize("make", [make_dividemix, make_cc])
def test_another_seed_has_other_bits_from_the_first_epoch(make):
    digests = []
    for seed in (1, 2):
        method = make(seed=seed)
        method.fit(1)
        digests.append(digest_of(method))
    assert digests[0] != digests[1]


def test_history_has_a_row_for_each_epoch():
    method = make_dividemix(rrm=rrms(contamination=0.1))
    history = method.fit(3)
    assert history is method.history
    assert [row["epoch"] for row in history] == [1, 2, 3]
    for row in history:
        assert [type(loss) for loss in row["loss"]] == [float, float]
    for i, row in enumerate(history[1:]):
        rounds = [rrm.trajectory.rounds[i] for rrm in method.rrm]
        assert row["labelled"] == [entry.n_planned for entry in rounds]
        assert row["pruned"] == [entry.n_pruned for entry in rounds]


def test_fit_trains_until_as_many_epochs_have_ended():
    method = make_dividemix()
    method.fit(1)
    method.fit(3)
    once = make_dividemix()
    once.fit(3)
    assert networks_digest(method) == networks_digest(once)
    assert method.fit(3) == once.history
    with pytest.raises(ValueError, match="epochs=2 is less than the 3 epochs that are done"):
        method.fit(2)


def test_entries_that_on_epoch_adds_are_saved(tmp_path):
    def add(row):
        row["accuracy"] = row["epoch"] / 10

    path = tmp_path / "run.pt"
    method = make_dividemix()
    method.fit(2, checkpoint=Checkpoint(path, method=method), on_epoch=add)
    resumed = make_dividemix()
    Checkpoint(path, method=resumed).load()
    assert [row["accuracy"] for row in resumed.history] == [0.1, 0.2]


def test_numpy_scalars_that_on_epoch_adds_are_saved(tmp_path):
    checkpoint_path = tmp_path / "run.pt"
    method = make_dividemix()
    checkpoint = Checkpoint(checkpoint_path, method=method)
    values = {"accuracy": np.float64(0.5), "recall": [np.float64(0.25), np.float32(0.5)]}
    method.fit(1, checkpoint=checkpoint, on_epoch=lambda row: row.update(values))
    resumed = make_dividemix()
    Checkpoint(checkpoint_path, method=resumed).load()
    assert resumed.history[0]["accuracy"] == 0.5
    assert resumed.history[0]["recall"] == [0.25, 0.5]
    assert type(method.history[0]["accuracy"]) is float


def test_checkpoint_of_another_method_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"checkpoint must hold the method: Checkpoint\(path, method=method\)"):
        make_dividemix().fit(2, checkpoint=Checkpoint(tmp_path / "run.pt", method=make_dividemix()))


@pytest.mark.parametrize(
    ("epochs", "options", "kind", "message"),
    [
        (2.5, {}, TypeError, "epochs must be an integer, got 2.5"),
        (
            1,
            {"checkpoint": "run.pt"},
            TypeError,
            r"checkpoint must be a Checkpoint, got str; Checkpoint\(path, method=",
        ),
        (1, {"on_epoch": 3}, TypeError, "on_epoch must be callable or None, got int"),
    ],
)
def test_wrong_arguments_of_fit_are_refused_before_training(epochs, options, kind, message):
    method = make_dividemix()
    with pytest.raises(kind, match=message):
        method.fit(epochs, **options)
    assert method.epoch == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": 1.5}, "seed must be an integer, got 1.5"),
        ({"optimizer": "sgd"}, "optimizer must be callable with parameters, got str; such as partial"),
        ({"scheduler": 3}, "scheduler must be callable with an optimizer, got int; such as partial"),
        ({"scheduler": lambda _: None}, "scheduler must return an LRScheduler .*, got NoneType; such as partial"),
        ({"scheduler": ReduceLROnPlateau}, "scheduler must return an LRScheduler .*, got ReduceLROnPlateau"),
        (
            {"models": list(networks())},
            r"models must be a tuple of two modules, got list \(Sequential, Sequential\); pass",
        ),
    ],
)
def test_arguments_of_the_wrong_type_are_refused(options, message):
    with pytest.raises(TypeError, match=message):
        DivideMix(**{"models": networks(), "data": noisy_set(), **options})


@pytest.mark.parametrize("make", [make_dividemix, make_cc, make_elr_plus, make_regmixup, make_meta_weight_net])
def test_network_of_other_classes_is_refused(make):
    data = noisy_set()
    with pytest.raises(ValueError, match=r"a network must return logits of shape \(batch, 4\), got \(\d+, 3\)"):
        make(TrainingSet(data.inputs, data.labels, 4, weak=data.weak)).fit(1)


@pytest.mark.parametrize(
    "make", [partial(make_dividemix, warmup=2), make_elr_plus, make_regmixup, make_meta_weight_net]
)
def test_a_loss_of_nan_is_an_error_and_not_saved(make, tmp_path):
    data = noisy_set()
    inputs = data.inputs.clone()
    method = make(TrainingSet(inputs, data.labels, data.n_classes))
    checkpoint = Checkpoint(tmp_path / "run.pt", method=method)
    method.fit(1, checkpoint=checkpoint)
    inputs[7] = torch.nan
    with pytest.raises(ValueError, match="the loss of epoch 2 is NaN; see whether the inputs hold NaN"):
        method.fit(2, checkpoint=checkpoint)
    checkpoint.load()
    assert method.epoch == 1


def test_an_interrupted_epoch_is_repeated_from_the_checkpoint(tmp_path):
    def stop(row):
        if row["epoch"] == 3:
            raise KeyboardInterrupt

    method = dividemix_with_state()
    checkpoint = Checkpoint(tmp_path / "run.pt", method=method)
    with pytest.raises(KeyboardInterrupt):
        method.fit(3, checkpoint=checkpoint, on_epoch=stop)
    method.fit(3, checkpoint=checkpoint)
    assert digest_of(method) == whole_digest()
    assert [row["epoch"] for row in method.history] == [1, 2, 3]


def test_schedules_are_stepped_after_each_epoch():
    method = make_cc(scheduler=SCHEDULER, warmup=3)
    rates = []
    optimizers = [part for part in method._parts.values() if isinstance(part, torch.optim.Optimizer)]
    method.fit(3, on_epoch=lambda row: rates.append([part.param_groups[0]["lr"] for part in optimizers]))
    assert rates == [[pytest.approx(rate)] * 4 for rate in (0.02, 0.002, 0.002)]


# The state


def test_state_can_be_saved_and_is_a_copy(tmp_path):
    method = dividemix_with_state()
    method.fit(3)
    state = method.state_dict()
    torch.save(state, tmp_path / "state.pt")
    method.fit(4)
    restored = dividemix_with_state()
    restored.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert (restored.epoch, len(restored.history)) == (3, 3)
    restored.fit(4)
    assert digest_of(restored) == digest_of(method)


def test_divisions_are_none_after_a_state_was_loaded():
    method = make_dividemix()
    method.fit(2)
    assert method.divisions is not None
    method.load_state_dict(method.state_dict())
    assert method.divisions is None


def with_part(state, name, entry):
    state = copy.deepcopy(state)
    state["parts"][name] = entry
    return state


STATES = {
    "another seed": (lambda: dividemix_with_state(seed=1).state_dict(), "seed is 1 in the state and 0 here"),
    "another threshold": (
        lambda: dividemix_with_state(threshold=0.6).state_dict(),
        "threshold is 0.6 in the state and 0.5 here",
    ),
    "another batch size": (lambda: dividemix_with_state(batch_size=9).state_dict(), "batch_size is 9"),
    "another clip": (lambda: dividemix_with_state(clip=0.99).state_dict(), "clip is 0.99 in the state and None here"),
    "another on_pruned": (lambda: dividemix_with_state(on_pruned="unlabelled").state_dict(), "on_pruned is"),
    "other samples": (
        lambda: make_dividemix(noisy_set(N + 1), scheduler=SCHEDULER, average_losses=2, rrm=rrms(N + 1)).state_dict(),
        f"n is {N + 1} in the state and {N} here",
    ),
    "no RRM": (
        lambda: make_dividemix(scheduler=SCHEDULER, average_losses=2).state_dict(),
        "state must have the parts .*rrm_1, rrm_2.*, got model_1",
    ),
    "another RRM": (
        lambda: make_dividemix(scheduler=SCHEDULER, average_losses=2, rrm=rrms(groups=noisy_set().labels)).state_dict(),
        "rrm_1 of the state doesn't match: ",
    ),
    "another network": (
        lambda: with_part(dividemix_with_state().state_dict(), "model_2", torch.nn.Linear(2, 3).state_dict()),
        "model_2 of the state doesn't match: ",
    ),
    "another optimizer": (
        lambda: with_part(dividemix_with_state().state_dict(), "optimizer_2", {"state": {}, "param_groups": []}),
        "optimizer_2 of the state doesn't match: ",
    ),
    "CC": (
        lambda: make_cc().state_dict(),
        "state must be that of DivideMix, got one of another method or version, which differs in the settings average_",
    ),
    "no state": (
        lambda: {"epoch": 1},
        "state lacks a valid settings, history, parts, tensors; pass what DivideMix.state_dict",
    ),
    "no dict": (lambda: 3, "state lacks a valid settings"),
    "settings that are none": (
        lambda: dividemix_with_state().state_dict() | {"settings": None},
        "state lacks a valid settings; ",
    ),
    "a history of numbers": (
        lambda: dividemix_with_state().state_dict() | {"history": [1]},
        "state lacks a valid history; ",
    ),
}


@pytest.mark.parametrize(("make_state", "message"), STATES.values(), ids=STATES)
def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(make_state, message):
    method = dividemix_with_state()
    method.fit(2)
    before = copy.deepcopy(method.state_dict())
    digest = digest_of(method)
    with pytest.raises(ValueError, match=message):
        method.load_state_dict(make_state())
    assert digest_of(method) == digest
    after = method.state_dict()
    assert after["history"] == before["history"]
    assert after["epoch"] == 2
    torch.testing.assert_close(after["tensors"], before["tensors"], atol=0, rtol=0)
    method.fit(3)
    assert digest_of(method) == whole_digest()


def test_print_epoch_prints_one_line(capsys):
    print_epoch({"epoch": 3, "loss": [0.123456, 2.0], "labelled": [10, 20], "name": None})
    assert capsys.readouterr().out == "epoch 3, loss 0.1235 2, labelled 10 20, name None\n"


def test_optimizers_and_schedules_have_names():
    optimizers, parts = make_optimizers(
        ["a", "b"],
        [model.parameters() for model in networks()],
        partial(torch.optim.SGD, lr=0.1),
        partial(MultiStepLR, milestones=[1]),
    )
    assert list(parts) == ["a", "b", "a_schedule", "b_schedule"]
    assert [parts["a"], parts["b"]] == optimizers
    assert parts["b_schedule"].optimizer is optimizers[1]
