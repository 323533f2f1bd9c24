"""The kernel that records a batch, on the stand-in for a GPU: what operations of torch do, to the bit, in fewer."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.autograd import forward_ad

from cuda_model.cudart.stand_in import needs_nvcc
from rrm_torch import RRM
from rrm_torch.weighting import batch_recorder
from rrm_torch.weighting.batch_recorder import DeviceRecorder
from rrm_torch.weighting.loss_buffer import EpochLossBuffer
from support.operations import Operations, without_compiled_loops

N = 200
LEGACY_STREAM = 1


@pytest.fixture
def on_device(stand_in, monkeypatch):
    """Make tensors on the CPU count as those of a GPU; return a function that says whether its kernel is there."""
    stand_in.reset(order="eager")
    stand_in.call_assume_device(0)
    without_compiled_loops(monkeypatch)
    # As on a GPU.
    monkeypatch.setattr(EpochLossBuffer, "_mark_dtype", lambda self, device: torch.int32)
    monkeypatch.setattr(DeviceRecorder, "serves", staticmethod(lambda losses: True))
    monkeypatch.setattr(batch_recorder, "_current_stream", lambda device: LEGACY_STREAM)

    def set_kernels(are_there):
        monkeypatch.setattr(batch_recorder, "cuda_kernels", lambda: stand_in.module if are_there else None)

    yield set_kernels
    assert not stand_in.lost
    stand_in.reset()


def draw_batches(generator, *, nan_share, dtype, index_dtype):
    """Return the losses and indices of an epoch, in an order of its own."""
    order = torch.randperm(N, generator=generator)
    losses = torch.empty(N).exponential_(generator=generator)
    losses[torch.rand(N, generator=generator) < nan_share] = torch.nan
    losses[7] = torch.inf
    return [(losses[index].to(dtype), index.to(index_dtype)) for index in order.split(64)]


def train(rrm, *, nan_share=0.0, dtype=torch.float32, index_dtype=torch.int64, regularizer=False):
    """Return all numbers of three epochs: means, gradients, weights and the state."""
    generator = torch.Generator().manual_seed(1)
    numbers = []
    for _ in range(3):
        for losses, index in draw_batches(generator, nan_share=nan_share, dtype=dtype, index_dtype=index_dtype):
            inputs = [losses.requires_grad_()]
            if regularizer:
                inputs.append(torch.rand(len(losses), generator=generator).requires_grad_())
            mean = rrm.weighted_mean(losses, index, regularizer=inputs[1] if regularizer else None)
            numbers += [mean.detach(), *torch.autograd.grad(mean, inputs)]
        marks = rrm._buffer.marks.clone()
        numbers += [marks, torch.where(marks > 0, rrm._buffer.losses, 0)]
        rrm.step()
    return [*numbers, rrm.weights, rrm.losses]


CASES = {
    "losses": ({}, {}),
    "losses that count for several epochs": ({"unseen": "latest"}, {}),
    "NaN": ({"nan": "prune"}, {"nan_share": 0.1}),
    "NaN that is skipped": ({"unseen": "latest", "nan": "raise"}, {"nan_share": 0.1}),
    "float64": ({}, {"dtype": torch.float64}),
    "bfloat16": ({}, {"dtype": torch.bfloat16}),
    "int32 indices": ({}, {"index_dtype": torch.int32}),
    "a regularizer": ({}, {"regularizer": True}),
    "the paper's scale": ({"scale": "paper"}, {"regularizer": True}),
}


@needs_nvcc
@pytest.mark.parametrize(("settings", "run"), CASES.values(), ids=CASES)
def test_kernel_gives_the_bits_of_torch(settings, run, on_device, stand_in):
    results = []
    for has_kernels in (False, True):
        on_device(has_kernels)
        stand_in.log()
        results.append(train(RRM(N, contamination=0.3, warmup=1, mu=0.3, **settings), **run))
        launches = [entry for entry in stand_in.log() if entry.what == "launch"]
        assert len(launches) == (12 if has_kernels else 0)
    for by_torch, by_kernel in zip(*results, strict=True):
        assert by_torch.dtype == by_kernel.dtype
        assert torch.equal(by_torch.nan_to_num(-1), by_kernel.nan_to_num(-1))


@needs_nvcc
def test_operations_of_weighted_mean(on_device):
    on_device(True)
    rrm = RRM(N, contamination=0.3)
    losses = torch.rand(64, requires_grad=True)
    index = torch.arange(64)
    rrm.weighted_mean(losses, index).backward()
    losses.grad = None
    with Operations() as forward:
        mean = rrm.weighted_mean(losses, index)
    with Operations() as backward:
        mean.backward()
    allocations = [name for name in forward.names if name.startswith("empty")]
    assert len(forward.names) - len(allocations) + 1 <= 5, forward.names  # 1: the kernel, which no mode of torch sees
    assert len(backward.names) <= 3, backward.names


@needs_nvcc
def test_scores_are_recorded_by_the_kernel_alone(on_device):
    on_device(True)
    rrm = RRM(N, contamination=0.3)
    losses = torch.rand(64)
    index = torch.arange(64)
    with Operations() as operations:
        rrm.record(losses, index)
    assert not [name for name in operations.names if not name.startswith("empty")]
    assert rrm._buffer.marks.sum() == 64


@needs_nvcc
@pytest.mark.parametrize("outside", [-1, N])
def test_index_out_of_range_is_raised_by_the_next_step(outside, on_device):
    on_device(True)
    rrm = RRM(N, contamination=0.3, warmup=1)
    rrm.weighted_mean(torch.rand(N), torch.arange(N))
    before = rrm._buffer.losses.clone()
    mean = rrm.weighted_mean(torch.ones(2), torch.tensor([3, outside]))
    assert mean == 1
    assert rrm._buffer.losses[3] == 1
    assert torch.equal(rrm._buffer.losses[4:], before[4:])
    with pytest.raises(IndexError, match=rf"\[0, {N}\)"):
        rrm.step()


@needs_nvcc
def test_copy_records_in_memory_of_its_own(on_device):
    on_device(True)
    rrm = RRM(N, contamination=0.3)
    rrm.record(torch.zeros(N), torch.arange(N))
    other = copy.deepcopy(rrm)
    other.record(torch.ones(N), torch.arange(N))
    assert rrm._buffer.losses.max() == 0
    assert other._buffer.losses.min() == 1


@needs_nvcc
def test_gradient_of_a_gradient(on_device):
    on_device(True)
    rrm = RRM(N, contamination=0.3)
    inputs = torch.rand(8, dtype=torch.float32, requires_grad=True)
    mean = rrm.weighted_mean(inputs**3, torch.arange(8))
    (gradient,) = torch.autograd.grad(mean, inputs, create_graph=True)
    (second,) = torch.autograd.grad(gradient.sum(), inputs)
    torch.testing.assert_close(second, 6 * inputs / 8)


@needs_nvcc
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # by torch itself
def test_tangent_of_forward_mode(on_device):
    on_device(True)
    rrm = RRM(N, contamination=0.3)
    losses = torch.rand(8)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(losses, torch.arange(8.0))
        mean = rrm.weighted_mean(dual, torch.arange(8), regularizer=dual)
        assert forward_ad.unpack_dual(mean).tangent == 7


@needs_nvcc
def test_deterministic_algorithms_are_those_of_torch(on_device, stand_in):
    on_device(True)
    rrm = RRM(N, contamination=0.3)
    rrm.record(torch.zeros(2), torch.arange(2))
    stand_in.log()
    torch.use_deterministic_algorithms(True)
    try:
        rrm.record(torch.rand(8), torch.arange(8))
    finally:
        torch.use_deterministic_algorithms(False)
    assert not [entry for entry in stand_in.log() if entry.what == "launch"]
