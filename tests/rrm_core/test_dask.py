"""Dask arrays: results equal those of the whole array, are lazy, and need little communication."""

from __future__ import annotations

import math
import pickle
import subprocess
import sys
from collections import Counter
from itertools import cycle
from pathlib import Path

import array_api_strict
import cloudpickle
import dask
import dask.array as da
import numpy as np
import pytest
from numpy.testing import assert_array_equal

import rrm_core
from rrm_core import dask_arrays
from support.families import DTYPES, FAMILIES, assert_same_bits, losses, old_weights, reference, reweight_cases

OK = {"contamination": 0.2}
CHUNKS = {
    "one": (1025,),
    "several": (256, 256, 256, 257),
    "uneven": (1, 700, 2, 3, 319),
    "empty": (0, 500, 0, 0, 525, 0),
    "of one": (1,) * 33,
}
STEP = 5  # through the 65 combinations of rule, mu and old weights


@pytest.fixture(autouse=True)
def scheduler():
    """Compute in this thread, so that tests can count calls; a test may choose another scheduler."""
    with dask.config.set(scheduler="synchronous"):
        yield


def blocks(x, chunks):
    return da.from_array(x, chunks=(chunks,))


class CountedReads:
    """A Dask array that counts how often each block is read."""

    def __init__(self, x, size):
        self.whole, self.reads = x, Counter()
        self.array = blocks(x, tuple(len(part) for part in np.split(x, range(size, len(x), size)))).map_blocks(
            self._read, dtype=x.dtype, meta=np.empty(0, x.dtype)
        )

    def __dask_tokenize__(self):
        return id(self)

    def _read(self, block, block_info=None):
        self.reads[block_info[0]["chunk-location"][0]] += 1
        return block


# Results


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("family", FAMILIES)
def test_reweight_matches_the_whole_array(family, dtype):
    chunkings = cycle(CHUNKS.items())
    n_tested = 0
    for i, (rule, mu, with_old) in enumerate(reweight_cases(family)):
        if i % STEP != len(family) % STEP:
            continue
        n_tested += 1
        name, chunks = next(chunkings)
        n, label = sum(chunks), f"{rule}, mu={mu}, {name}"
        c, w = losses(family, n, dtype), old_weights(n, dtype)
        expected, expected_plan = reference(family, n, dtype)[i]
        lazy, plan = rrm_core.reweight(
            blocks(c, chunks), da.from_array(w, chunks=100) if with_old else None, mu=mu, **rule
        )
        assert plan == expected_plan, label
        assert type(plan) is rrm_core.Plan
        assert_same_bits(lazy.compute(), expected, label)
        assert lazy.chunks == (chunks,)
        assert lazy.dtype == expected.dtype
    assert n_tested >= len(CHUNKS)


def test_plan_and_apply_match_reweight():
    c, w = losses("exponential", 1025, "float64"), old_weights(1025, "float64")
    lazy = blocks(c, CHUNKS["several"])
    plan = rrm_core.plan(lazy, redistribute="kept", **OK)
    assert plan == rrm_core.plan(c, redistribute="kept", **OK)
    for old in (None, w):
        expected = rrm_core.apply(plan, c, old, mu=0.3)
        applied = rrm_core.apply(plan, lazy, None if old is None else da.from_array(old, chunks=-1), mu=0.3)
        assert_same_bits(applied.compute(), expected)
        part = rrm_core.apply(plan, lazy.blocks[1:3], None if old is None else da.from_array(old[256:768]), mu=0.3)
        assert_same_bits(part.compute(), expected[256:768])


@pytest.mark.parametrize("backend", [None, "cpp", "numpy"])
@pytest.mark.parametrize("threads", [None, 2])
def test_backend_threads_and_scheduler_do_not_matter(backend, threads):
    c = losses("capped", 1025, "float32")
    expected, expected_plan = rrm_core.reweight(c, ties="share", **OK)
    with dask.config.set(scheduler="threads"):
        lazy, plan = rrm_core.reweight(
            blocks(c, CHUNKS["uneven"]), ties="share", backend=backend, threads=threads, **OK
        )
        assert plan == expected_plan
        assert_same_bits(lazy.compute(), expected)


@pytest.mark.parametrize(("given", "in_tasks"), [(None, 1), (3, 3)], ids=["one by default", "three"])
def test_threads_apply_to_each_task(given, in_tasks, monkeypatch):
    seen = set()

    prepare_fast = dask_arrays.prepare_fast

    def prepare(*args):
        seen.add(args[-1])
        return prepare_fast(*args)

    planners = []
    monkeypatch.setattr(dask_arrays, "prepare_fast", prepare)
    count = dask_arrays.count_block
    monkeypatch.setattr(dask_arrays, "count_block", lambda *args: planners.append(args[-1]) or count(*args))
    rrm_core.reweight(blocks(losses("exponential", 33, "float32"), (20, 13)), threads=given, **OK)[0].compute()
    assert seen == {*planners} == {in_tasks}


def test_big_endian_blocks():
    c = losses("exponential", 1025, "float32")
    lazy, plan = rrm_core.reweight(blocks(c.astype(">f4"), CHUNKS["several"]), **OK)
    expected, expected_plan = rrm_core.reweight(c, **OK)
    assert plan == expected_plan
    assert_same_bits(lazy.compute(), expected)


@pytest.mark.parametrize("m", [0, 100])
def test_blocks_of_another_framework_keep_their_type(m):
    c = losses("exponential", 1025, "float32")
    plan = rrm_core.plan(c, **OK)
    state = rrm_core.Planner(**OK).partial()["state"]
    block = array_api_strict.asarray(c[:m])
    counted, expected = (dask_arrays.count_block(state, x, 7, None, 1) for x in (block, c[:m]))
    for name in expected:
        assert_array_equal(counted[name], expected[name])
    reweighted = dask_arrays.reweight_block(block, plan=plan, mu=1.0, backend=None, threads=1)
    assert type(reweighted) is type(block)
    assert_same_bits(reweighted, rrm_core.reweight(c, **OK)[0][:m])


@pytest.mark.parametrize("size", [100, 1025])
def test_objective_is_summed_block_by_block(size):
    c = np.round(losses("exponential", 1025, "float32") * 64) / 64  # whose sums are exact
    assert rrm_core.objective(da.from_array(c, chunks=size), 0.5) == rrm_core.objective(c, 0.5)


# Unknown sizes


def shortened(c, chunks):
    """Return the losses without the first of each block, in blocks of unknown size."""
    return blocks(c, chunks).map_blocks(lambda block: block[1:], dtype=c.dtype, chunks=((math.nan,) * len(chunks),))


def test_chunks_of_unknown_size():
    lazy = shortened(losses("exponential", 1025, "float32"), CHUNKS["uneven"])
    whole = lazy.compute()
    assert len(whole) == 1020
    weights, plan = rrm_core.reweight(lazy, mu=0.3, **OK)
    expected, expected_plan = rrm_core.reweight(whole, mu=0.3, **OK)
    assert plan == expected_plan
    assert np.isnan(weights.chunks[0]).all()
    assert_same_bits(weights.compute(), expected)


def test_nan_is_located_in_chunks_of_unknown_size():
    c = losses("exponential", 1025, "float32")
    c[[600, 900]] = np.nan
    lazy = shortened(c, CHUNKS["several"])
    with pytest.raises(ValueError, match=r"^losses contain 2 NaN among 1_021, the first at index 597; ") as caught:
        rrm_core.plan(lazy, **OK)
    with pytest.raises(ValueError) as expected:
        rrm_core.plan(lazy.compute(), **OK)
    assert str(caught.value) == str(expected.value)


def test_weights_require_known_chunk_sizes():
    c = losses("exponential", 1025, "float32")
    known, unknown = blocks(c, CHUNKS["several"]), shortened(c, CHUNKS["several"])
    with pytest.raises(ValueError, match=r"losses have chunks of unknown size.*losses\.compute_chunk_sizes\(\)"):
        rrm_core.reweight(unknown, known, **OK)
    with pytest.raises(ValueError, match=r"weights have chunks of unknown size.*weights\.compute_chunk_sizes\(\)"):
        rrm_core.reweight(known, unknown, **OK)
    weights, plan = rrm_core.reweight(unknown.compute_chunk_sizes(), known[4:], mu=0.3, **OK)
    assert plan.n == 1021
    assert_same_bits(weights.compute(), rrm_core.reweight(unknown.compute(), c[4:], mu=0.3, **OK)[0])


# Invalid arguments


C = np.array([0.5, 3.0, 0.25, 2.0, 1.0], np.float32)
D = da.from_array(C, chunks=2)
INVALID = {
    "NaN": ((da.from_array([0.5, 1.0, math.nan, math.nan], chunks=1),), OK, ValueError, "2 NaN among 4, the first at"),
    "-inf": ((da.from_array([0.5, 1.0, -math.inf], chunks=1),), OK, ValueError, "1 values of -inf among 3, the first"),
    "all infinite": ((da.full(4, math.inf, chunks=3),), OK, ValueError, "losses contain no finite value: 4 of 4"),
    "no rule": ((D,), {}, ValueError, "give exactly one of contamination and gamma"),
    "a bad rule": ((D,), {"gamma": -1.0}, ValueError, "gamma must be at least 0, got -1.0"),
    "mu": ((D,), OK | {"mu": 0}, ValueError, "mu must lie in (0, 1], got 0"),
    "integers": ((D.astype(int),), OK, TypeError, "losses must be float16, bfloat16, float32 or float64, got int64"),
    "two dimensions": ((D[None],), OK, ValueError, "losses must be one-dimensional, got shape (1, 5)"),
    "no losses": ((D[:0],), OK, ValueError, "losses is empty; at least one sample is needed"),
    "none of unknown": ((D[D > 9],), OK, ValueError, "no losses were counted; at least one sample is needed"),
    "masked": ((da.ma.masked_greater(D, 1),), OK, TypeError, "dask.array.ma.filled(losses, numpy.nan)"),
    "objects": ((D.astype(object),), OK, TypeError, "losses must be float16, bfloat16, float32 or float64, got object"),
    "weights' type": ((D, D.astype("f2")), OK, TypeError, "weights must be float32 for float32 losses, got float16"),
    "weights' length": ((D, D[:-1]), OK, ValueError, "weights must have one entry per loss, got 4 for 5 losses"),
    "weights' shape": ((D, D[None]), OK, ValueError, "weights must be one-dimensional, got shape (1, 5)"),
    "NumPy weights": ((D, C), OK, TypeError, "got ndarray; pass dask.array.from_array(weights)"),
    "NumPy losses": ((C, D), OK, TypeError, "losses must be a Dask array where weights are one, got ndarray"),
    "out": ((D,), OK | {"out": C}, ValueError, "out can't be given with Dask arrays"),
    "out of Dask": ((C,), OK | {"out": D}, ValueError, "out can't be given with Dask arrays"),
    "a backend unknown": ((D,), OK | {"backend": "fast"}, ValueError, "backend must be one of 'cpp', 'numpy' or None"),
    "numba": ((D,), OK | {"backend": "numba"}, ValueError, "backend must be one of 'cpp', 'numpy' or None"),
    "threads": ((D,), OK | {"threads": 0}, ValueError, "threads must be a whole number, at least 1"),
}


@pytest.mark.parametrize("name", INVALID)
def test_invalid_arguments_are_rejected_at_the_call(name):
    args, kwargs, error, message = INVALID[name]
    with pytest.raises(error) as caught:
        rrm_core.reweight(*args, **kwargs)
    assert caught.type is error
    assert message in str(caught.value)
    assert_array_equal(C, [0.5, 3.0, 0.25, 2.0, 1.0])


@pytest.mark.parametrize("position", [0, 255, 256, 700, 1024])
def test_errors_match_those_of_the_whole_array(position):
    c = losses("exponential", 1025, "float32")
    for bad in (np.nan, -np.inf):
        c[[position, 1024]] = bad
        with pytest.raises(ValueError) as expected:
            rrm_core.plan(c, **OK)
        with pytest.raises(ValueError) as caught:
            rrm_core.plan(blocks(c, CHUNKS["several"]), **OK)
        assert str(caught.value) == str(expected.value)
        assert f"the first at index {position};" in str(caught.value)


def test_blocks_of_another_type_than_declared():
    mislabeled = D.map_blocks(lambda block: block.astype(np.float64), dtype=np.float32)
    with pytest.raises(TypeError, match="losses are float32 by their dtype, but their blocks are float64"):
        rrm_core.reweight(mislabeled, **OK)


def test_apply_rejects_losses_that_were_not_planned():
    plan = rrm_core.plan(D, **OK)
    with pytest.raises(TypeError, match="losses must be float32, as the planned ones were, got float64"):
        rrm_core.apply(plan, D.astype(np.float64))
    with pytest.raises(ValueError, match="losses have 10 samples, but the plan was made for 5"):
        rrm_core.apply(plan, da.concatenate([D, D]))
    weights = rrm_core.apply(plan, D - 1)  # only the tasks can detect it
    with pytest.raises(ValueError, match="losses contain 1 values that the planned ones can't have contained"):
        weights.compute()


def test_losses_that_change_between_rounds_are_detected():
    rng = np.random.default_rng(0)
    changing = blocks(np.empty(1025, np.float32), CHUNKS["several"]).map_blocks(
        lambda block: rng.random(block.size, np.float32), dtype=np.float32, meta=np.empty(0, np.float32)
    )
    with pytest.raises(ValueError, match="other losses were counted in round 2 than in the first"):
        rrm_core.plan(changing, **OK)


# Reads and communication


@pytest.mark.parametrize(("dtype", "rounds"), [("float16", 1), ("bfloat16", 1), ("float32", 2), ("float64", 2)])
def test_plan_reads_each_block_once_per_round_and_compute_once(dtype, rounds):
    counted = CountedReads(losses("exponential", 1025, dtype), 100)
    lazy, _ = rrm_core.reweight(counted.array, **OK)
    assert counted.reads == dict.fromkeys(range(11), rounds)
    lazy.blocks[3].compute()
    assert counted.reads == dict.fromkeys(range(11), rounds) | {3: rounds + 1}
    counted.reads.clear()
    assert_same_bits(lazy.compute(), rrm_core.reweight(counted.whole, **OK)[0])
    assert counted.reads == dict.fromkeys(range(11), 1)


def test_apply_is_lazy():
    counted = CountedReads(losses("exponential", 1025, "float32"), 100)
    rrm_core.apply(rrm_core.plan(counted.whole, **OK), counted.array)
    assert not counted.reads


def test_argument_errors_read_no_block():
    counted = CountedReads(losses("exponential", 1025, "float32"), 100)
    with pytest.raises(ValueError, match="weights must have one entry per loss"):
        rrm_core.reweight(counted.array, da.ones(7, dtype=np.float32), **OK)
    with pytest.raises(ValueError, match="gamma must be at least 0"):
        rrm_core.reweight(counted.array, gamma=-1.0)
    assert not counted.reads


def test_weights_are_not_read_for_mu_1():
    c, w = losses("exponential", 1025, "float32"), CountedReads(old_weights(1025, "float32"), 100)
    rrm_core.reweight(da.from_array(c), w.array, **OK)[0].compute()
    assert not w.reads
    rrm_core.reweight(da.from_array(c), w.array, mu=0.5, **OK)[0].compute()
    assert w.reads == dict.fromkeys(range(11), 1)


@pytest.mark.parametrize("n", [1, 7, 8, 9, 64, 65, 100])
def test_partial_results_are_merged_in_a_tree(n, monkeypatch):
    tasks = Counter()
    state_sizes, fan_ins, result_sizes = [], [], []
    count, merge = dask_arrays.count_block, dask_arrays.merge_partials

    def count_block(state, *args):
        tasks["count"] += 1
        state_sizes.append(len(pickle.dumps(state)))
        return count(state, *args)

    def merge_partials(partials):
        tasks["merge"] += 1
        fan_ins.append(len(partials))
        return merge(partials)

    def schedule(graph, keys, **kwargs):
        results = dask.get(graph, keys, **kwargs)
        result_sizes.append(len(pickle.dumps(results)))
        return results

    monkeypatch.setattr(dask_arrays, "count_block", count_block)
    monkeypatch.setattr(dask_arrays, "merge_partials", merge_partials)
    c = losses("exponential", n, "float32")
    with dask.config.set(scheduler=schedule):
        plan = rrm_core.plan(da.from_array(c, chunks=1), **OK)
    assert plan == rrm_core.plan(c, **OK)
    rounds, merges, level = 2, 0, n
    while level > 1:
        full, rest = divmod(level, dask_arrays.FAN_IN)
        merges += full + (rest > 1)
        level = full + (rest > 0)
    assert tasks == Counter({"count": rounds * n, "merge": rounds * merges})
    assert merges <= n / (dask_arrays.FAN_IN - 1) + 3
    assert max(fan_ins, default=2) <= dask_arrays.FAN_IN <= 16  # partial results of half a megabyte
    # One partial result per round is returned: the first has 65,536 counts, the last a few keys.
    assert len(result_sizes) == rounds
    assert result_sizes[0] < 65_536 * 8 + 2_000
    assert result_sizes[1] < 5_000
    # Each task receives a few numbers.
    assert max(state_sizes) < 1_000


def test_tasks_of_the_result_are_small():
    source = da.concatenate([da.full(10_000, i, dtype=np.float32, chunks=-1) for i in range(10)])
    weights, _ = rrm_core.reweight(source, gamma=3.0)
    before, after = (len(cloudpickle.dumps(dict(x.__dask_graph__()))) for x in (source, weights))
    assert after - before < 10 * 1_000


def test_killed_workers_do_not_change_the_result(tmp_path):
    program = Path(__file__).parents[1] / "support" / "dask_cluster.py"
    run = subprocess.run(
        [sys.executable, program, tmp_path], capture_output=True, text=True, check=False, cwd=tmp_path, timeout=300
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout == "equal\n"


# No cost without Dask


def test_dask_is_not_imported_for_other_arrays():
    program = """
import sys, numpy as np, rrm_core
rrm_core.reweight([1.0, 2.0], gamma=0.5)
rrm_core.plan(np.ones(4, np.float32)[::2], gamma=0.5)
assert "array_api_compat" in sys.modules
print([name for name in ("dask", "distributed", "rrm_core.dask_arrays") if name in sys.modules])
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=Path("/"))
    assert run.stdout == "[]\n"


def test_fast_path_skips_the_dask_check(monkeypatch):
    checked = []
    monkeypatch.setattr("rrm_core.api.is_dask_array", lambda x: checked.append(x) or False)
    rrm_core.reweight(C, **OK)
    assert not checked
    rrm_core.reweight([1.0, 2.0], **OK)
    assert len(checked) == 3
