"""The cuda backend on a GPU, with torch's CUDA tensors, streams and graphs. test_cuda.py needs no GPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import rrm_core
from support.families import DTYPES, FAMILIES, LARGE, assert_same_bits, losses, old_weights, reference, reweight_cases
from support.frameworks import make

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(),
    reason="no GPU: NOTHING here proves that the CUDA kernels run on real hardware",
)

MILLIONS = 5_000_003


def on_gpu(array):
    return make("torch", array).cuda()


def assert_equal(actual, expected):
    (weights, plan), (right, right_plan) = actual, expected
    assert weights.is_cuda
    assert_same_bits(weights.cpu().numpy(), right)
    assert plan == right_plan


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("n", [1, 33, 4096, 4097, LARGE])
def test_bits_equal_the_reference(family, n, dtype):
    c, w = on_gpu(losses(family, n, dtype)), on_gpu(old_weights(n, dtype))
    for (rule, mu, with_old), expected in zip(reweight_cases(family), reference(family, n, dtype), strict=True):
        assert_equal(rrm_core.reweight(c, w if with_old else None, mu=mu, backend="cuda", **rule), expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule", [{"contamination": 0.3}, {"gamma": 0.9}, {"contamination": 0.2, "redistribute": 0.1}])
def test_millions_of_losses(dtype, rule):
    c, w = losses("exponential", MILLIONS, dtype), old_weights(MILLIONS, dtype)
    expected = rrm_core.reweight(c, w, mu=0.3, **rule)
    moved = on_gpu(w)
    weights, plan = rrm_core.reweight(on_gpu(c), moved, mu=0.3, out=moved, **rule)
    assert weights is moved
    assert_equal((weights, plan), expected)


def test_cuda_graph_replay():
    c, w = on_gpu(losses("exponential", LARGE, "float32")), torch.empty(LARGE, device="cuda")
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):  # loads the kernels, which is not possible during a capture
        rrm_core.reweight(c, out=w, contamination=0.2)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        _, plan = rrm_core.reweight(c, out=w, contamination=0.2)
    other = losses("negative", LARGE, "float32")
    c.copy_(torch.from_numpy(other))
    graph.replay()
    torch.cuda.synchronize()
    assert_equal((w, plan), rrm_core.reweight(other, contamination=0.2))


def test_runs_on_the_current_stream():
    c = losses("exponential", MILLIONS, "float32")
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        slow = torch.rand(4000, 4000, device="cuda")
        for _ in range(20):
            slow = slow @ slow.T / 4000
        moved = on_gpu(c) + 0 * slow[0, 0]
        weights, plan = rrm_core.reweight(moved, contamination=0.2)
    side.synchronize()
    assert_equal((weights, plan), rrm_core.reweight(np.asarray(moved.cpu()), contamination=0.2))


def test_reweight_does_not_synchronise():
    c = on_gpu(losses("exponential", MILLIONS, "float32"))
    rrm_core.reweight(c, contamination=0.2)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        _, plan = rrm_core.reweight(c, contamination=0.2)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert plan.n_pruned == MILLIONS // 5
