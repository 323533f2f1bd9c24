"""Compare the attacks with those of torchattacks, for options that both support.

torchattacks pins an old version of requests, so it isn't installed into this environment but into a temporary folder,
without its dependencies, and runs in a separate process with this environment's torch, NumPy and SciPy.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from rrm_torch.adversarial.attacks import FGSM, PGD

BATCH = 8
SEEDS = (0, 1, 2)

# torchattacks class and options, and the attack of rrm_torch.
CASES = {
    "fgsm": ("FGSM", {"eps": 0.07}, FGSM(0.07, clip=(0, 1))),
    "linf": ("PGD", {"eps": 0.1, "alpha": 0.03, "steps": 6}, PGD(0.1, steps=6, step_size=0.03, clip=(0, 1))),
    "linf from x": (
        "PGD",
        {"eps": 0.1, "alpha": 0.025, "steps": 10, "random_start": False},
        PGD(0.1, steps=10, step_size=0.025, random_start=False, clip=(0, 1)),
    ),
    "l2": (
        "PGDL2",
        {"eps": 0.8, "alpha": 0.2, "steps": 6},
        PGD(0.8, steps=6, step_size=0.2, norm="l2", clip=(0, 1)),
    ),
    "l2 from x": (
        "PGDL2",
        {"eps": 0.8, "alpha": 0.2, "steps": 6, "random_start": False},
        PGD(0.8, steps=6, step_size=0.2, norm="l2", random_start=False, clip=(0, 1)),
    ),
}

THEIRS = """
import sys
import torch
import torchattacks

torch.set_num_threads(1)
jobs = torch.load(sys.argv[1], weights_only=False)
found = {}
for key, (name, options, model, x, y, seed) in jobs.items():
    attack = getattr(torchattacks, name)(model, **options)
    torch.manual_seed(seed)
    found[key] = attack(x, y)
torch.save(found, sys.argv[2])
"""


def network(seed):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(96, 5)
    )


def images(seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(BATCH, 3, 8, 8, generator=generator), torch.randint(5, (BATCH,), generator=generator)


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """Adversarial images of torchattacks, by case and seed."""
    folder = tmp_path_factory.mktemp("torchattacks")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*install, "--target", folder, "torchattacks==3.5.1"], check=True, capture_output=True)
    jobs = {
        (case, seed): (name, options, network(seed), *images(seed), seed)
        for case, (name, options, _) in CASES.items()
        for seed in SEEDS
    }
    torch.save(jobs, folder / "jobs.pt")
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    command = [sys.executable, "-c", THEIRS, folder / "jobs.pt", folder / "found.pt"]
    subprocess.run(command, check=True, cwd=folder, env=environment)
    return torch.load(folder / "found.pt", weights_only=True)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("case", CASES)
def test_equals_torchattacks(theirs, case, seed):
    _, _, attack = CASES[case]
    model = network(seed)
    x, y = images(seed)
    torch.manual_seed(seed)
    actual = attack(model, x, y)
    assert (actual - x).abs().amax() > 0.01
    if case.startswith("l2"):
        # torchattacks adds 1e-10 to the norm of the mean loss's gradient, which shortens steps in large batches;
        # rrm_torch divides by the largest entry first. The rounding differences of a few steps add up.
        assert_close(actual, theirs[case, seed], rtol=0, atol=5e-7)
    else:
        assert_close(actual, theirs[case, seed], rtol=0, atol=0)


def test_torchattacks_is_not_importable_here():
    assert "torchattacks" not in sys.modules
    with pytest.raises(ModuleNotFoundError):
        __import__("torchattacks")
