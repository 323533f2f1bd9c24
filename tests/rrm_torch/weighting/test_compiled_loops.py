"""The compiled loops give the bits of torch's operations, with every instruction set."""

from __future__ import annotations

from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest
import torch

import rrm_core
from rrm_core import _cpu
from rrm_torch import RRM
from rrm_torch.weighting import packed_bits, reweight_scan
from rrm_torch.weighting.pruning_records import PruningRecords
from rrm_torch.weighting.reweight_samples import ReweightSamples
from rrm_torch.weighting.reweight_sums import ReweightSums
from rrm_torch.weighting.suspicion import order_by_suspicion
from support.operations import without_compiled_loops
from support.weighting import assert_identical

SIZES = (1, 7, 8, 2047, 2049, 70_001)  # around a byte of bits, and a block


def instruction_sets():
    used, best = _cpu.instruction_sets()
    names = ("baseline", "v3", "v4")
    return used, names[: names.index(best) + 1]


@pytest.fixture(params=instruction_sets()[1])
def instruction_set(request):
    used, _ = instruction_sets()
    _cpu.choose_instruction_set(request.param)
    yield request.param
    _cpu.choose_instruction_set(used)


def random_samples(n, dtype, kind, rng):
    """Return samples of a reweight, the plan, and the records before."""
    c = rng.exponential(size=n) - (0.5 if kind == "negative" else 0)
    if kind == "ties":
        c = np.round(4 * c) / 4 * rng.choice([1.0, -1.0], n)  # with both zeros
    if kind == "infinite":
        c[rng.random(n) < 0.1] = np.inf
        c[0] = 0.25
    losses = torch.from_numpy(c).to(dtype)
    weights, plan = rrm_core.reweight(losses, contamination=0.3, redistribute="kept")
    has_nan = kind in ("NaN", "of some batches", "members")
    if has_nan:
        losses[torch.from_numpy(rng.random(n) < 0.1)] = torch.nan
        losses[0] = float(plan.loss_min)
    draw = torch.from_numpy(rng.random(n))
    thresholds = plan.threshold * (0.5 + draw).to(dtype) if kind in ("groups", "caps") else None
    samples = ReweightSamples(
        losses=losses,
        weights=weights * (1 + draw.to(weights.dtype)),
        threshold=torch.inf if kind == "of some batches" else plan.threshold,
        thresholds=thresholds,
        excess_thresholds=thresholds if kind == "groups" else None,
        pruned=draw < 0.3 if kind == "of some batches" else None,
        members=draw < 0.6 if kind == "members" else None,
        has_nan=has_nan,
        excess_threshold=torch.inf if kind == "of some batches" else plan.threshold / 2,
    )
    masks = [packed_bits.pack(torch.from_numpy(rng.random(n) < share)) for share in (0.3, 0.2)]
    excess_sum = torch.from_numpy(rng.random(n).astype(np.float32))
    records = PruningRecords(rounds=(), bits=(), last=masks[0], ever=masks[0] | masks[1], excess_sum=excess_sum)
    return samples, None if kind == "of some batches" else plan, records


KINDS = ("exponential", "negative", "ties", "infinite", "NaN", "groups", "caps", "members", "of some batches")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", KINDS)
def test_passes_over_a_reweight(kind, dtype, instruction_set, monkeypatch):
    rng = np.random.default_rng(0)
    for n in SIZES:
        samples, plan, records = random_samples(n, dtype, kind, rng)
        sums = ReweightSums(n, n, float(samples.weights.max()), plan)
        outcomes = []
        for compiled in (True, False):
            with monkeypatch.context() as patches:
                if not compiled:
                    without_compiled_loops(patches)
                scan = reweight_scan.scan(samples, records, sums)
            outcomes.append((scan.totals, scan.bits, scan.ever, scan.excess_sum))
        for one, other in zip(*outcomes, strict=True):
            assert_identical(one, other)


@pytest.mark.parametrize("n", [0, 1, 255, 256, 257, 30_000])
def test_order_by_suspicion(n, monkeypatch):
    rng = np.random.default_rng(n)
    excess = torch.from_numpy(np.round(rng.normal(size=n) * 50).astype(np.float32) / 8)
    excess[rng.random(n) < 0.02] = torch.inf
    found = order_by_suspicion(excess)
    without_compiled_loops(monkeypatch)
    assert_identical(found, order_by_suspicion(excess))


@pytest.mark.parametrize("rounds", [0, 1, 255, 256, 600])
def test_counts_of_prunings(rounds, monkeypatch):
    n = 9_001
    masks = torch.from_numpy(np.random.default_rng(0).random((rounds, n)) < 0.4)
    rows = tuple(packed_bits.pack(mask) for mask in masks)
    found = packed_bits.count_times(rows, n)
    assert_identical(found, masks.sum(0, dtype=torch.int32))
    without_compiled_loops(monkeypatch)
    assert_identical(packed_bits.count_times(rows, n), found)


def test_bits_are_packed_as_numpy_does():
    for n in (1, 8, 9, 1001):
        mask = torch.from_numpy(np.random.default_rng(n).random(n) < 0.5)
        bits = packed_bits.pack(mask)
        assert_identical(bits, torch.from_numpy(np.packbits(mask.numpy())))
        assert_identical(packed_bits.unpack(bits, n), mask)
        assert int(packed_bits.count_set(bits)) == int(mask.sum())


BATCHES = {
    "int64": lambda losses, index: (losses, index),
    "int32": lambda losses, index: (losses, index.int()),
    "every other loss": lambda losses, index: (losses.repeat_interleave(2)[::2], index),
    "every other index": lambda losses, index: (losses, index.repeat_interleave(2)[::2]),
    "one loss expanded": lambda losses, index: (losses[:1].expand(len(index)), index),
    "negated on reading": lambda losses, index: (torch._neg_view(-losses), index),
    "half": lambda losses, index: (losses.half(), index),
    "float64": lambda losses, index: (losses.double(), index),
    "repeated": lambda losses, index: (losses, index % 7),
    "empty": lambda losses, index: (losses[:0], index[:0]),
    "infinite and NaN": lambda losses, index: (
        torch.cat([losses[:-3], torch.tensor([torch.nan, torch.inf, -torch.inf])]),
        index,
    ),
}
SETTINGS = {"an epoch": {}, "latest": {"unseen": "latest"}, "steps": {"unit": "step", "warmup": 99}}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("batch_of", BATCHES.values(), ids=BATCHES)
def test_recording_a_batch(batch_of, settings, monkeypatch):
    n = 60
    generator = torch.Generator().manual_seed(0)
    losses = torch.rand(40, generator=generator)
    index = torch.randperm(n, generator=generator)[:40]
    outcomes = []
    for compiled in (True, False):
        with monkeypatch.context() as patches:
            if not compiled:
                without_compiled_loops(patches)
            rrm = RRM(n, contamination=0.25, **({"warmup": 1} | settings))
            rrm._state.weights[index[:5]] = 0
            batch, positions = batch_of(losses, index)
            batch.requires_grad_()
            means = [rrm.weighted_mean(batch, positions) for _ in range(2)]
            means[1].backward()
            outcomes.append((*(mean.detach() for mean in means), batch.grad, rrm.state_dict()))
    (*found, state), (*wanted, expected) = outcomes
    for one, other in zip(found, wanted, strict=True):
        assert_identical(one, other)
    for name in ("recorded", "marks"):
        assert (state[name] is None) == (expected[name] is None)
        if state[name] is not None:
            assert_identical(state[name], expected[name])


def test_plain_batches_are_recorded_by_the_compiled_loop(monkeypatch):
    """Otherwise the tests above would compare torch with itself."""
    rrm = RRM(8, contamination=0.25, warmup=1)
    monkeypatch.setattr(rrm._buffer, "record", None)
    rrm.weighted_mean(torch.rand(8, requires_grad=True), torch.arange(8))
    assert rrm._buffer.marks.tolist() == [1] * 8


def test_losses_after_ranking_numbers_rank_themselves():
    rrm = RRM(4, contamination=0.5, warmup=1)
    rrm.weighted_mean(torch.tensor([1.0]), torch.tensor([0]))  # makes the memory of the compiled loop known
    rrm.weighted_mean(torch.tensor([2.0]), torch.tensor([1]), ranking=torch.tensor([9.0]))
    rrm.weighted_mean(torch.tensor([8.0, 3.0]), torch.tensor([2, 3]))
    rrm.step()
    assert rrm.flagged().tolist() == [1, 2]


def test_memory_that_torch_moves():
    """`torch.multiprocessing` moves the memory of what it sends to another process."""
    n = 100_000
    rrm = RRM(n, contamination=0.25, warmup=1)
    rrm.record(torch.full((2,), 3.0), torch.arange(2))
    ForkingPickler.dumps(rrm)
    rrm.record(torch.full((n - 2,), 5.0), torch.arange(2, n))
    assert bool((rrm._buffer.marks == 1).all())
    rrm.weights.data = torch.full((n,), 2.0)
    assert float(rrm.weighted_mean(torch.ones(2), torch.arange(2))) == 2


def test_index_out_of_range_records_nothing():
    rrm = RRM(4, contamination=0.25, warmup=1)
    with pytest.raises(IndexError, match="the first 9"):
        rrm.weighted_mean(torch.rand(2), torch.tensor([0, 9]))
    assert rrm.state_dict()["recorded"] is None
    assert rrm._buffer.marks.tolist() == [0] * 4
