"""How many operations of torch, and how much memory, weighting takes: counted, so that the machine doesn't matter."""

from __future__ import annotations

import pytest
import torch

from rrm_torch import RRM
from support.operations import Operations, without_compiled_loops

SIZES = (1_001, 200_000)


def operations_of_step(n, **settings):
    """Return the operations of a reweight, the third, so that nothing is done for the first time."""
    rrm = RRM(n, contamination=0.2, warmup=1, **settings)
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        rrm.record(torch.empty(n).exponential_(generator=generator), torch.randperm(n, generator=generator))
        with Operations() as operations:
            assert rrm.step() is not None
    return operations.names


STEPS = {
    "one threshold": ({"mu": 0.3}, 60),
    "new weights": ({"mu": 1.0}, 60),
    "a loss of any epoch": ({"unseen": "latest"}, 70),
}


@pytest.mark.parametrize(("settings", "most"), STEPS.values(), ids=STEPS)
def test_operations_of_a_step_on_a_device_do_not_grow_with_the_samples(settings, most, monkeypatch):
    without_compiled_loops(monkeypatch)
    names = [operations_of_step(n, **settings) for n in SIZES]
    assert names[0] == names[1]
    assert len(names[0]) <= most, names[0]


def test_operations_with_groups_do_not_grow_with_the_samples(monkeypatch):
    without_compiled_loops(monkeypatch)
    names = [operations_of_step(n, groups=torch.arange(n) % 10, mass="group") for n in SIZES]
    assert names[0] == names[1]
    assert len(names[0]) <= 70, names[0]


def test_compiled_step_takes_few_operations():
    names = [operations_of_step(n, mu=0.3) for n in SIZES]
    assert names[0] == names[1]
    assert len(names[0]) <= 25, names[0]


def operations_of_weighted_mean(device):
    """Return the operations of a batch, forward and backward, and those of the plain mean."""
    rrm = RRM(1_000, contamination=0.2, warmup=1)
    losses = torch.rand(128, device=device, requires_grad=True)
    index = torch.arange(128, device=device)
    counts = []
    for mean_of in (lambda: rrm.weighted_mean(losses, index), losses.mean):
        mean_of().backward()
        losses.grad = None
        with Operations() as forward:
            mean = mean_of()
        with Operations() as backward:
            mean.backward()
        losses.grad = None
        counts.append((forward.names, backward.names))
    return counts


def test_operations_of_weighted_mean_on_a_device():
    (forward, backward), _ = operations_of_weighted_mean("meta")
    assert len(forward) <= 16, forward
    assert len(backward) <= 5, backward


def test_compiled_weighted_mean_adds_two_operations_and_one_backward():
    (forward, backward), (plain_forward, plain_backward) = operations_of_weighted_mean("cpu")
    assert len(forward) == len(plain_forward) + 2, forward  # memory for the weights, and a product
    assert len(backward) == len(plain_backward) + 1, backward


def bytes_of(rrm):
    """Return the bytes of all memory that an RRM holds for its samples, without the bits of the trajectory."""
    records = rrm.trajectory._records
    buffer = rrm._buffer
    tensors = (rrm.weights, rrm.losses, buffer._losses, buffer._marks, records.excess_sum, records.last, records.ever)
    return sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}.values())


@pytest.mark.parametrize(("settings", "most"), [({}, 17.5), ({"unseen": "latest"}, 20.5)])
def test_memory_by_sample(settings, most):
    n = 100_000
    rrm = RRM(n, contamination=0.2, warmup=1, mu=0.3, **settings)
    for _ in range(3):
        rrm.record(torch.rand(n), torch.arange(n))
        rrm.step()
    assert bytes_of(rrm) <= most * n
