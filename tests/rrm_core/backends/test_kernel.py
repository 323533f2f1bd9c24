"""The compiled CPU kernel: reference bits for every instruction set and thread count; its memory and its threads."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading
import time
from itertools import product

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import rrm_core
from rrm_core import _cpu
from rrm_core.backends import cpp
from support.families import DTYPES, FAMILIES, assert_same_bits, losses, old_weights, reference, reweight_cases
from support.peak_memory import needs_proc, run_program
from support.tuned import AVAILABLE, SETS

THREADS = (1, 2, 3, 7)
SIZES = (2049, 4096, 4097, 16_385)
RULE_STRIDE = 9  # each size tests every ninth of the 65 rules, starting at another one

# Thresholds so low that few samples use threads, marks, samples in runs, and pieces of one block. All threads work on
# them.
SMALL = {
    "samples_per_thread": 1,
    "mark_from": 2048,
    "sample_runs_from": 8192,
    "min_piece": 2048,
    "wait_for_threads": 1,
}


@pytest.fixture
def configure():
    """Return a function that sets the instruction set and the tuning; the defaults are restored after the test."""
    default_tuning = _cpu.tuning()
    default_set = rrm_core.cpu_info().instruction_set

    def set_tuning(name=None, **sizes):
        _cpu.tune(default_tuning | sizes)
        _cpu.choose_instruction_set(name or default_set)

    yield set_tuning
    set_tuning()


@pytest.mark.parametrize("name", AVAILABLE)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shift", [0, 1])  # streaming stores need memory aligned to 16 bytes
def test_streaming_stores_give_reference_bits(shift, dtype, name, configure):
    n = 10_007
    c = losses("exponential", n, dtype)
    for sizes in ({"mark_from": 2048}, {"mark_from": n + 1}):
        configure(name, **SMALL | sizes | {"stream_bytes": 0})
        for mu in (1.0, 0.3):
            expected, plan = rrm_core.reweight(c, contamination=0.3, mu=mu, ties="share", backend="numpy")
            out = np.full(n + 4, np.nan, expected.dtype)[shift : shift + n]
            rrm_core.reweight(c, contamination=0.3, mu=mu, ties="share", out=out, backend="cpp", threads=3)
            assert_same_bits(out, expected, f"{sizes=} {mu=}")
            if mu == 1:
                assert_same_bits(rrm_core.apply(plan, c, backend="cpp", threads=2), expected)


@pytest.mark.parametrize("mu", [1.0, 0.3])
@pytest.mark.parametrize("redistribute", ["argmin", "kept"])
def test_minimum_is_the_threshold_and_ties_share(redistribute, mu, configure):
    configure(mark_from=1)
    c = np.ones(1000, np.float32)
    rule = {"contamination": 0.5, "ties": "share", "redistribute": redistribute}
    old = np.full(1000, 0.75, np.float32)
    expected, _ = rrm_core.reweight(c, old, mu=mu, backend="numpy", **rule)
    actual, _ = rrm_core.reweight(c, old, mu=mu, backend="cpp", **rule)
    assert_same_bits(actual, expected)


def test_number_of_cases_is_at_least_ten_thousand():
    assert len(SETS) * len(THREADS) * len(FAMILIES) * len(DTYPES) * len(SIZES) * (65 // RULE_STRIDE) >= 10_000


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_instruction_set_and_thread_count_gives_reference_bits(family, dtype, configure):
    for n in SIZES:
        c = losses(family, n, dtype)
        w = old_weights(n, dtype)
        results = reference(family, n, dtype)
        for i, ((rule, mu, with_old), (expected, expected_plan)) in enumerate(
            zip(reweight_cases(family), results, strict=True)
        ):
            if i % RULE_STRIDE != n % RULE_STRIDE:
                continue
            for name, threads in product(AVAILABLE, THREADS):
                configure(name, **SMALL)
                label = f"{n=} {rule=} {mu=} {with_old=} {name=} {threads=}"
                in_place = w.copy() if with_old else None
                weights, plan = rrm_core.reweight(
                    c, in_place, mu=mu, out=in_place, backend="cpp", threads=threads, **rule
                )
                assert plan == expected_plan, label
                assert_same_bits(weights, expected, label)


@pytest.mark.parametrize("name", AVAILABLE)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("family", ["exponential", "ascending", "minimum repeated", "capped", "NaN", "subnormal"])
def test_reference_bits_at_default_tuning(family, dtype, name, configure):
    n = 1_100_003
    configure(name)
    c = losses(family, n, dtype)
    w = old_weights(n, dtype)
    for rule in (
        {"contamination": 0.2, "mu": 0.3},
        {"contamination": 0.5, "ties": "share"},
        {"gamma": 0.7, "redistribute": "kept", "mu": 0.3},
        {"contamination": 0.3, "redistribute": 0.1},
    ):
        rule = rule | ({"nan": "prune"} if family == "NaN" else {})
        expected, expected_plan = rrm_core.reweight(c, w, backend="numpy", **rule)
        for threads in (1, 2):
            weights, plan = rrm_core.reweight(c, w, backend="cpp", threads=threads, **rule)
            assert plan == expected_plan, rule
            assert_same_bits(weights, expected, str(rule))
        assert_same_bits(rrm_core.apply(plan, c, w, mu=rule.get("mu", 1.0), threads=2), expected, str(rule))


UNREPRESENTATIVE = (-1e4, 1e4, np.inf, np.nan, -1e4 + np.arange(777), 1e4 + np.arange(777), (-1e4, 1e4))


@pytest.mark.parametrize("name", AVAILABLE)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [5000, 70_001, 400_003])
@pytest.mark.parametrize("attempts", [1, 3])
def test_unrepresentative_sample_gives_reference_bits(n, dtype, attempts, name, configure):
    # The fallback is a radix selection.
    configure(name, samples_per_thread=100_000, wait_for_threads=1, max_attempts=attempts)
    sample = _cpu.sample_indices(n)
    for values in UNREPRESENTATIVE:
        c = losses("exponential", n, dtype)
        c[sample] = np.resize(values, len(sample))
        for rule in ({"contamination": 0.03}, {"contamination": 0.6, "mu": 0.3}, {"gamma": 1.0, "redistribute": 0.4}):
            expected, expected_plan = rrm_core.reweight(c, nan="prune", backend="numpy", **rule)
            weights, plan = rrm_core.reweight(c, nan="prune", backend="cpp", threads=2, **rule)
            assert plan == expected_plan, (values, rule)
            assert_same_bits(weights, expected, str((values, rule)))


def test_counts_beyond_32_bits():
    n = 2**32 + 70
    try:
        c = np.zeros(n, np.float16)  # untouched memory, mapped to one page of zeros
    except MemoryError:
        pytest.skip("this machine cannot reserve 8 GiB of untouched memory")
    c[-70:] = np.arange(1, 71)
    plan = rrm_core.plan(c, contamination=69.5 / n, backend="cpp")
    assert (plan.n_pruned, plan.n_tied, plan.threshold, plan.n_recipients) == (69, 1, 1.0, 2**32)
    plan = rrm_core.plan(c, gamma=0.0, backend="cpp")
    assert (plan.n_pruned, plan.n_tied) == (70, 2**32)
    c[-1] = np.nan
    with pytest.raises(ValueError, match=f"1 NaN among {n:_}, the first at index {n - 1};"):
        rrm_core.plan(c, contamination=0.1, backend="cpp")


PEAK = """
import sys, numpy as np, rrm_core
from support.peak_memory import peak, reset_peak
dtype, family, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
c = np.random.default_rng(0).exponential(size=40_000_000 // np.dtype(dtype).itemsize * 2).astype(dtype)
if family == "capped":
    c = np.minimum(c, c.dtype.type(0.5))
if family == "sorted":
    c.view(f"u{c.itemsize}").sort(kind="stable")  # the same order; a radix sort for 16 bits
w = np.ones(c.size, np.float64 if dtype == "float64" else np.float32)
rule = {"contamination": 0.2, "mu": 0.3, "backend": "cpp", "threads": threads}
rrm_core.reweight(c[:9999], w[:9999], **rule)
before = reset_peak()
rrm_core.reweight(c, w, out=w, **rule)
print((peak() - before) / c.nbytes)
"""


@needs_proc
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("family", ["random", "sorted", "capped"])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_scratch_memory_is_at_most_a_twentieth_of_the_losses(dtype, family, threads):
    assert float(run_program(PEAK, dtype, family, threads)) < 0.052  # including the stack of a thread


def count_started_threads(call):
    before = _cpu.threads_started()
    call()
    return _cpu.threads_started() - before


def test_number_of_started_threads():
    c = losses("exponential", 3_000_000, "float32")
    team_size = min(3, rrm_core.cpu_info().threads)  # one per million samples
    assert count_started_threads(lambda: rrm_core.plan(c, contamination=0.2)) == team_size - 1
    assert count_started_threads(lambda: rrm_core.plan(c, contamination=0.2, threads=1)) == 0
    assert count_started_threads(lambda: rrm_core.plan(c, contamination=0.2, threads=2)) == 1
    assert count_started_threads(lambda: rrm_core.reweight(c, contamination=0.2, threads=100)) == 2
    assert count_started_threads(lambda: rrm_core.reweight(c[:1_999_999], contamination=0.2, threads=100)) == 0


@pytest.mark.parametrize(
    ("setting", "threads"), [("1", 1), ("3", 3), ("2,1", 2), ("", None), ("no", None), ("0", None)]
)
def test_omp_num_threads_sets_the_default_thread_count(setting, threads, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", setting)
    cpp.default_threads.cache_clear()
    try:
        assert rrm_core.cpu_info().threads == (threads or len(os.sched_getaffinity(0)))
    finally:
        cpp.default_threads.cache_clear()


@pytest.mark.parametrize("threads", [0, -1, True, 1.5, "2"])
def test_rejects_invalid_threads(threads):
    with pytest.raises(ValueError, match=r"^threads must be a whole number, at least 1, or None, got"):
        rrm_core.reweight([1.0, 2.0], contamination=0.2, threads=threads)


@pytest.mark.parametrize("backend", ["numba", "numpy", "array_api"])
def test_every_backend_accepts_threads(backend):
    c = losses("exponential", 100, "float32")
    expected, plan = rrm_core.reweight(c, contamination=0.2)
    weights, plan_of_backend = rrm_core.reweight(c, contamination=0.2, backend=backend, threads=np.int64(1))
    assert_array_equal(weights, expected)
    assert plan_of_backend == plan == rrm_core.plan(c, contamination=0.2, backend=backend, threads=1)
    assert_array_equal(rrm_core.apply(plan, c, backend=backend, threads=1), expected)


FORK = """
import os, numpy as np, rrm_core
c = np.random.default_rng(0).exponential(size=2_000_000)
expected, _ = rrm_core.reweight(c, contamination=0.2, threads=3)
child = os.fork()
weights, _ = rrm_core.reweight(c, contamination=0.2, threads=3)
right = np.array_equal(weights, expected)
if child == 0:
    os._exit(0 if right else 1)
assert right and os.waitpid(child, 0)[1] == 0
"""


def test_forked_child_can_use_threads():
    # In a separate process, because libraries loaded in this one (JAX) warn about forks.
    subprocess.run([sys.executable, "-c", FORK], check=True, timeout=60)


def test_concurrent_calls_from_python_threads(configure):
    configure(**SMALL)
    inputs = [(losses(family, 20_011, "float32"), family) for family in ("exponential", "negative", "capped")]
    expected = [rrm_core.reweight(c, contamination=0.3, backend="numpy") for c, _ in inputs]
    wrong = []

    def work(c, expected_weights, expected_plan):
        for _ in range(50):
            weights, plan = rrm_core.reweight(c, contamination=0.3, threads=3)
            if plan != expected_plan or not np.array_equal(weights, expected_weights):
                wrong.append(plan)

    workers = [
        threading.Thread(target=work, args=(c, *result)) for (c, _), result in zip(inputs, expected, strict=True)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def test_calls_release_the_gil():
    losses = np.ones(30_000_000, np.float16)
    usleep_with_gil = ctypes.PyDLL(None).usleep
    assert any(runs_during(lambda: rrm_core.plan(losses, contamination=0.2, threads=1)) for _ in range(30))
    assert not all(runs_during(lambda: usleep_with_gil(20_000)) for _ in range(5))  # the check can fail


def runs_during(call):
    """Return whether this thread ran in the middle of another thread's call; on a busy machine it may not run."""
    span = []
    turns = []
    done = threading.Event()

    def work():
        span.append(time.perf_counter())
        call()
        span.append(time.perf_counter())
        done.set()

    worker = threading.Thread(target=work)
    worker.start()
    while not done.is_set():
        turns.append(time.perf_counter())
        time.sleep(0)  # yields to the other thread
    worker.join()
    begin, end = span
    quarter = (end - begin) / 4
    return any(begin + quarter < turn < end - quarter for turn in turns)


@pytest.mark.parametrize("name", AVAILABLE)
def test_rrm_cpu_sets_the_instruction_set(name):
    check = "import rrm_core; print(rrm_core.cpu_info().instruction_set)"
    run = subprocess.run(
        [sys.executable, "-c", check], env=os.environ | {"RRM_CPU": name}, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == name


def test_invalid_rrm_cpu_raises_with_threads():
    call = """if True:
        import numpy as np, os, rrm_core
        c = np.random.default_rng(0).exponential(size=2_000_000)
        plan = rrm_core.plan(c, contamination=0.2, backend="numpy")
        os.environ["RRM_CPU"] = "v5"
        for _ in range(5):
            try:
                rrm_core.apply(plan, c, threads=3)
            except ValueError:
                continue
            raise SystemExit("no error")"""
    run = subprocess.run([sys.executable, "-c", call], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")


def test_invalid_rrm_cpu_names_the_valid_values():
    call = "import rrm_core; rrm_core.reweight([1.0, 2.0], contamination=0.2)"
    run = subprocess.run(
        [sys.executable, "-c", call], env=os.environ | {"RRM_CPU": "v5"}, capture_output=True, text=True, check=False
    )
    assert run.stderr.strip().splitlines()[-1] == "ValueError: RRM_CPU must be baseline, v3 or v4, got v5"
