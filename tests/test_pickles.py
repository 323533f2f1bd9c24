"""What can be pickled and copied comes back equal, and is found again by names that a process can import."""

from __future__ import annotations

import copy
import functools
import io
import pickle
import subprocess
import sys
from importlib import import_module

import dask.array
import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

import rrm_core
import rrm_torch
from rrm_torch import Ramp, adversarial, distributed, losses
from rrm_torch.data import noise

OURS = ("rrm_core", "rrm_torch")
C = np.array([0.1, 0.3, 0.2, 4.0, 0.4, 0.1], np.float32)
RULE = {"contamination": 0.2, "redistribute": 0.5, "ties": "share"}


def plan_in_parts():
    planner = rrm_core.Planner(**RULE)
    while not planner.done:
        planner.update(C)
        planner.advance()
    return planner.plan


def trained(**options):
    """Return an RRM with a round behind it, and losses recorded for the next."""
    rrm = rrm_torch.RRM(len(C), warmup=1, **options)
    for _ in range(2):
        rrm.weighted_mean(torch.from_numpy(C), torch.arange(len(C)))
        rrm.step()
    rrm.weighted_mean(torch.from_numpy(C[:3]), torch.arange(3))
    return rrm


def warming_up(n_epochs=2):
    """Return an RRM that estimates the contamination, after some epochs."""
    rrm = rrm_torch.RRM(200, contamination="auto", warmup=4)
    labels = torch.arange(200) % 3
    for _ in range(n_epochs):
        logits = torch.nn.functional.one_hot(labels, 3).float()
        rrm.weighted_mean(torch.rand(200), torch.arange(200), logits=logits, labels=labels)
        rrm.step()
    return rrm


def history():
    kept = rrm_torch.History(C > 1)
    kept.record(1, 0.5, 0.6, trained(contamination=0.2))
    return kept


def seen_elr():
    loss = rrm_torch.ELR(4, 2)
    loss.parts(torch.nn.Linear(3, 2), torch.ones(2, 3), torch.tensor([0, 1]), torch.tensor([3, 1]))
    return loss


def pictures():
    x, y = torch.rand(4, 1, 2, 2), torch.tensor([0, 1, 1, 0])
    return rrm_torch.ImageData("four", x, y, x[:2], y[:2], ("no", "yes"), 0.0, 1.0)


def seconds():
    model, x, y = torch.nn.Linear(3, 2), torch.rand(4, 3), torch.tensor([0, 1, 1, 0])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return rrm_torch.fit(model, rrm_torch.batches(x, y, 2, shuffle=False), optimizer, 1)


def model_with_optimizer():
    model = torch.nn.Linear(3, 2)
    return distributed.FullState(model, torch.optim.SGD(model.parameters(), lr=0.1))


EXAMPLES = {
    "Rule": lambda: rrm_core.Rule(**RULE),
    **{
        f"Plan by {name}": lambda name=name: rrm_core.plan(C, backend=name, **RULE)
        for name in rrm_core.available_backends()
        if name != "cuda"
    },
    "Plan of a Planner": plan_in_parts,
    "Plan of chunks": lambda: rrm_core.stream.plan([C[:2], C[2:]], **RULE),
    "Plan of a Dask array": lambda: rrm_core.plan(dask.array.from_array(C, chunks=4), **RULE),
    "Levels": lambda: rrm_core.plan(C, **RULE).levels,
    "CpuInfo": rrm_core.cpu_info,
    "partial result": lambda: rrm_core.Planner(**RULE).partial(),
    "ContaminationEstimate": lambda: rrm_core.estimate_contamination(
        [0, 1, 1], [0, 1, 0], [0.9, 0.8, 0.7], [True, False, True]
    ),
    "RRM": lambda: trained(contamination=0.2),
    "RRM that records predictions": warming_up,
    "RRM with an estimate": lambda: warming_up(n_epochs=6),
    "RRM with a schedule": lambda: trained(contamination=Ramp(0.4, 3), mu=0.3, ids=list("abcdef")),
    "RRM by step": lambda: trained(gamma=0.3, unit="step"),
    "Diagnosis": lambda: rrm_torch.diagnose(trained(contamination=0.2)),
    "Trajectory": lambda: trained(contamination=0.2).trajectory,
    "Round": lambda: trained(contamination=0.2).trajectory.rounds[-1],
    "History": history,
    "ELR": seen_elr,
    "Checkpoint": lambda: rrm_torch.Checkpoint("run.pt", model=torch.nn.Linear(3, 2), order=torch.Generator()),
    "ImageData": pictures,
    "Indexed": lambda: rrm_torch.Indexed(TensorDataset(torch.rand(4, 3))),
    "data set of batches": lambda: rrm_torch.batches(torch.rand(4, 3), torch.zeros(4), 2, shuffle=True).dataset,
    "times of fit": seconds,
    "FGSM": lambda: adversarial.FGSM(0.1, clip=(0, 1)),
    "PGD": lambda: adversarial.PGD(0.1, unit=[1, 2], norm="l2"),
    "LossParts": lambda: losses.LossParts(torch.ones(2), torch.zeros(2)),
    "loss by name": lambda: losses.by_name("truncated_gce"),
    "Ramp": lambda: Ramp(0.2, over=4),
    "NoisyLabels": lambda: noise.symmetric(np.arange(8) % 4, 0.5, 4, rng=0),
    "ShardSampler": lambda: distributed.ShardSampler(20, rank=1, size=2),
    "FullState": model_with_optimizer,
}
EQUAL = ("Rule", "Plan", "Levels", "CpuInfo", "Round", "FGSM", "PGD", "Ramp", "times of fit", "Diagnosis")  # by ==, too


def content(value):
    """Return what an object holds, in types that == compares, NaN by its bits."""
    kind = type(value)
    if isinstance(value, torch.Tensor):
        return kind, value.dtype, value.shape, value.detach().contiguous().numpy().tobytes()
    if isinstance(value, np.ndarray):
        return kind, value.dtype, value.shape, value.tobytes()
    if isinstance(value, torch.Generator):
        return kind, content(value.get_state())
    if isinstance(value, (torch.nn.Module, torch.optim.Optimizer)):
        return kind, content(value.state_dict())
    if isinstance(value, functools.partial):
        return kind, value.func, content([*value.args]), content(value.keywords)
    if isinstance(value, dict):
        return kind, {key: content(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return kind, [content(item) for item in value]
    if kind.__module__.partition(".")[0] in OURS or isinstance(value, torch.utils.data.Dataset):
        # Some leave out what a copy makes again.
        leaves_out = any("__getstate__" in vars(base) for base in kind.__mro__[:-1])
        return kind, content(value.__getstate__() if leaves_out else vars(value))
    return kind, value


class Finder(pickle.Unpickler):
    """Unpickles, and keeps the names that are looked up for it."""

    def __init__(self, file):
        super().__init__(file)
        self.found = set()

    def find_class(self, module, name):
        self.found.add((module, name))
        return super().find_class(module, name)


def assert_comes_back(name, value, again):
    assert type(again) is type(value)
    assert content(again) == content(value)
    if name.startswith(EQUAL):
        assert again == value
        assert repr(again) == repr(value)


@pytest.mark.parametrize("protocol", [2, pickle.HIGHEST_PROTOCOL])
@pytest.mark.parametrize("name", EXAMPLES)
def test_pickles_come_back(name, protocol):
    value = EXAMPLES[name]()
    assert_comes_back(name, value, pickle.loads(pickle.dumps(value, protocol)))


@pytest.mark.parametrize("name", EXAMPLES)
def test_copies_are_equal(name):
    value = EXAMPLES[name]()
    assert_comes_back(name, value, copy.deepcopy(value))


@pytest.mark.parametrize("name", EXAMPLES)
def test_names_within_can_be_imported(name):
    finder = Finder(io.BytesIO(pickle.dumps(EXAMPLES[name]())))
    finder.load()
    for module, path in finder.found:
        found = functools.reduce(getattr, path.split("."), import_module(module))
        if module.partition(".")[0] in OURS:
            assert (found.__module__, found.__qualname__) == (module, path)


def test_a_process_that_has_imported_nothing_reads_all_of_them():
    pickled = {name: pickle.dumps(make()) for name, make in EXAMPLES.items()}
    program = """
import pickle, sys
for name, bytes in pickle.load(sys.stdin.buffer).items():
    print(name, type(pickle.loads(bytes)).__qualname__, sep=": ")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], input=pickle.dumps(pickled), capture_output=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr.decode()
    expected = [f"{name}: {type(pickle.loads(bytes)).__qualname__}" for name, bytes in pickled.items()]
    assert done.stdout.decode().splitlines() == expected
