from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import BatchSampler, DataLoader, SubsetRandomSampler, TensorDataset

from rrm_torch import ELR, RRM, Checkpoint, Indexed, batches, fit

LOSSES = torch.tensor([0.1, 0.3, 0.2, 4.0, 0.4])


def objects(n=5, **settings):
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    rrm = RRM(n, **({"contamination": 0.2, "warmup": 1} | settings))
    return {"model": model, "optimizer": optimizer, "rrm": rrm}


def test_run_killed_at_random_calls_ends_with_the_same_bits(tmp_path):
    script = Path(__file__).parents[2] / "support" / "killed_run.py"
    run = subprocess.run(
        [sys.executable, script, tmp_path, "20"], capture_output=True, text=True, timeout=600, check=False
    )
    assert run.returncode == 0, run.stderr
    *hashes, last = run.stdout.split("\n")[:-1]
    assert last == "killed 20"
    assert len(hashes) >= 2  # the uninterrupted run, and at least one that was killed and resumed
    assert len(set(hashes)) == 1
    # Besides, only what was killed while it saved has left a file.
    others = {path.name for path in tmp_path.iterdir()} - {"whole.pt", "calls"}
    assert all(re.fullmatch(r"killed\.pt\.[0-9a-f]{16}\.tmp", name) for name in others)


def test_restores_the_global_random_states(tmp_path):
    checkpoint = Checkpoint(tmp_path / "run.pt", **objects())
    assert checkpoint.load() == 0
    checkpoint.save(3)

    def draws():
        return torch.rand(2).tolist(), random.random(), np.random.rand(), np.random.randn()  # noqa: NPY002

    first = draws()
    assert checkpoint.load() == 3
    assert draws() == first


def test_file_loads_with_weights_only(tmp_path):
    Checkpoint(tmp_path / "run.pt", **objects(), order=torch.Generator()).save(7)
    assert torch.load(tmp_path / "run.pt", weights_only=True)["epoch"] == 7


def test_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    checkpoint = Checkpoint(tmp_path / "run.pt", **objects())
    checkpoint.save(1)
    old = (tmp_path / "run.pt").read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    for name in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, full)
            with pytest.raises(OSError, match="No space"):
                checkpoint.save(2)
        assert (tmp_path / "run.pt").read_bytes() == old
        assert [path.name for path in tmp_path.iterdir()] == ["run.pt"]


@pytest.mark.parametrize("content", [b"", b"nonsense", "torn"])
def test_load_rejects_invalid_file(tmp_path, content):
    path = tmp_path / "run.pt"
    checkpoint = Checkpoint(path, **objects())
    if content == "torn":
        checkpoint.save(1)
        content = path.read_bytes()[:-100]
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"run\.pt' isn't a checkpoint .*; remove it to start afresh"):
        checkpoint.load()
    assert path.read_bytes() == content


def test_load_rejects_file_with_other_objects(tmp_path):
    Checkpoint(tmp_path / "run.pt", **objects()).save(1)
    other = objects()
    del other["rrm"]
    with pytest.raises(ValueError, match="holds model, optimizer, rrm, not model, optimizer; remove it"):
        Checkpoint(tmp_path / "run.pt", **other).load()


@pytest.mark.parametrize(
    ("saved", "loaded", "message"),
    [
        ({"n": 5}, {"n": 6}, r"n is 5 there and 6 here"),
        ({"ids": list("abcde")}, {"ids": list("abcdf")}, "saved for another data set: the hash of its ids is"),
        ({"ids": list("abcde")}, {}, "saved for another data set"),
        ({"mu": 1.0}, {"mu": 0.5}, "mu is 1.0 there and 0.5 here"),
    ],
)
def test_load_rejects_another_data_set_and_keeps_the_model(tmp_path, saved, loaded, message):
    Checkpoint(tmp_path / "run.pt", **objects(**saved)).save(1)
    here = objects(**loaded)
    before = here["model"].weight.data.fill_(7.0).clone()
    with pytest.raises(ValueError, match=rf"rrm of checkpoint '.*run\.pt' doesn't match: .*{message}"):
        Checkpoint(tmp_path / "run.pt", **here).load()
    assert torch.equal(here["model"].weight, before)


def test_load_rejects_another_model(tmp_path):
    Checkpoint(tmp_path / "run.pt", model=nn.Linear(3, 2)).save(1)
    with pytest.raises(ValueError, match=r"model of checkpoint .* doesn't match: .*size mismatch") as caught:
        Checkpoint(tmp_path / "run.pt", model=nn.Linear(3, 4)).load()
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_rejects_bad_arguments(tmp_path):
    with pytest.raises(TypeError, match=r"loader must be a torch\.Generator or have state_dict"):
        Checkpoint(tmp_path / "run.pt", loader=[1, 2])
    with pytest.raises(FileNotFoundError, match=r"checkpoint: there is no folder .*nowhere for run.pt"):
        Checkpoint(tmp_path / "nowhere" / "run.pt", model=nn.Linear(3, 2))
    with pytest.raises(IsADirectoryError, match="is a folder; name a file in it"):
        Checkpoint(tmp_path, model=nn.Linear(3, 2))


class Versioned:
    """An object that rejects the state of another version."""

    def state_dict(self):
        return {"b": 1}

    def load_state_dict(self, state):
        raise TypeError(f"unexpected entry {next(iter(state))!r}")


def test_load_rejects_state_of_another_version(tmp_path):
    Checkpoint(tmp_path / "run.pt", versioned=Versioned()).save(1)
    with pytest.raises(ValueError, match=r"versioned of checkpoint .* doesn't match: unexpected entry 'b'"):
        Checkpoint(tmp_path / "run.pt", versioned=Versioned()).load()


@pytest.mark.parametrize("damage", [{"parts": [1, 2]}, {"random": {"cuda": []}}])
def test_load_rejects_damaged_file_before_restoring_anything(tmp_path, damage):
    path = tmp_path / "run.pt"
    checkpoint = Checkpoint(path, **objects())
    checkpoint.save(1)
    torch.save(torch.load(path, weights_only=True) | damage, path)
    weight = checkpoint.objects["model"].weight.data.fill_(7.0).clone()
    with pytest.raises(ValueError, match=r"run\.pt' isn't a checkpoint .*; remove it to start afresh"):
        checkpoint.load()
    assert torch.equal(checkpoint.objects["model"].weight, weight)


def test_fit_rejects_checkpoint_without_rrm(tmp_path):
    here = objects()
    checkpoint = Checkpoint(tmp_path / "run.pt", model=here["model"], optimizer=here["optimizer"])
    loader = batches(torch.zeros(5, 3), torch.zeros(5, dtype=torch.int64), 5, shuffle=False)
    with pytest.raises(ValueError, match=r"checkpoint must hold rrm: Checkpoint\(path, rrm=\.\.\.\)"):
        fit(here["model"], loader, here["optimizer"], 1, rrm=here["rrm"], checkpoint=checkpoint)
    assert not (tmp_path / "run.pt").exists()


def test_fit_does_nothing_if_all_epochs_are_done(tmp_path):
    here = objects()
    epochs = []
    checkpoint = Checkpoint(tmp_path / "run.pt", **here)
    loader = batches(torch.zeros(5, 3), torch.zeros(5, dtype=torch.int64), 5, shuffle=False)
    for _ in range(2):
        fit(
            here["model"],
            loader,
            here["optimizer"],
            3,
            rrm=here["rrm"],
            checkpoint=checkpoint,
            on_epoch=lambda epoch, loss: epochs.append(epoch),
        )
    assert epochs == [1, 2, 3]
    assert here["rrm"].epoch == 3
    with pytest.raises(ValueError, match=r"epochs=2 is less than the 3 epochs done in checkpoint '.*run\.pt'"):
        fit(here["model"], loader, here["optimizer"], 2, rrm=here["rrm"], checkpoint=checkpoint)


@pytest.mark.parametrize("kind", ["batches", "DataLoader", "sampler", "batch sampler"])
def test_fit_rejects_checkpoint_without_loader_generator_or_loss(tmp_path, kind):
    here = objects()
    order = torch.Generator()
    x, y = torch.zeros(5, 3), torch.zeros(5, dtype=torch.int64)
    data = Indexed(TensorDataset(x, y))
    sampler = SubsetRandomSampler(range(5), generator=order)
    if kind == "batches":
        loader = batches(x, y, 5, shuffle=True, generator=order)
    elif kind == "DataLoader":
        loader = DataLoader(data, batch_size=5, shuffle=True, generator=order)
    elif kind == "sampler":
        loader = DataLoader(data, batch_size=5, sampler=sampler)
    else:
        loader = DataLoader(data, batch_sampler=BatchSampler(sampler, 5, drop_last=False))
    elr = ELR(5, 2)

    def train(**more):
        checkpoint = Checkpoint(tmp_path / "run.pt", **here, **more)
        fit(here["model"], loader, here["optimizer"], 2, rrm=here["rrm"], loss=elr, checkpoint=checkpoint)

    with pytest.raises(ValueError, match=r"checkpoint must hold order \(the loader's generator\)"):
        train(elr=elr)
    with pytest.raises(ValueError, match="checkpoint must hold loss: "):
        train(order=order)
    train(elr=elr, order=order)


def test_save_rejects_state_that_could_not_be_loaded(tmp_path):
    here = objects()
    scheduler = torch.optim.lr_scheduler.LambdaLR(here["optimizer"], lambda epoch: np.cos(epoch / 10))
    with pytest.raises(
        TypeError, match=r"the state of (optimizer|scheduler) must consist of tensors, numbers, strings"
    ):
        Checkpoint(tmp_path / "run.pt", **here, scheduler=scheduler).save(1)
    assert not list(tmp_path.iterdir())
