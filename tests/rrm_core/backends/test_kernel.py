"""The compiled kernel: every instruction set and number of threads gives the reference's bits, and what it promises."""

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
from support.families import DTYPES, FAMILIES, assert_same_bits, losses, old_weights, questions, reference

SETS = ("baseline", "v3", "v4")
AVAILABLE = SETS[: SETS.index(rrm_core.cpu_info().best_instruction_set) + 1]
THREADS = (1, 2, 3, 7)
SIZES = (2049, 4096, 4097, 16_385)
EVERY = 9  # of the 65 rules, one in so many for each size; which one differs from size to size

# With few samples what otherwise happens with many: threads, marks, samples drawn in runs, pieces of one block.
SMALL = {"samples_per_thread": 1, "mark_from": 2048, "sample_runs_from": 8192, "min_piece": 2048}


@pytest.fixture
def set_up():
    """Choose an instruction set and sizes from which things are done; afterwards the usual ones are back."""
    usual, usual_set = _cpu.tuning(), rrm_core.cpu_info().instruction_set

    def choose(name=None, **sizes):
        _cpu.tune(usual | sizes)
        _cpu.choose_instruction_set(name or usual_set)

    yield choose
    choose()


@pytest.mark.parametrize("name", AVAILABLE)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shift", [0, 1])  # streamed stores need memory at a multiple of 16 bytes
def test_weights_written_past_the_caches(shift, dtype, name, set_up):
    n = 10_007
    c = losses("exponential", n, dtype)
    for sizes in ({"mark_from": 2048}, {"mark_from": n + 1}):
        set_up(name, **SMALL | sizes | {"stream_bytes": 0})
        for mu in (1.0, 0.3):
            expected, plan = rrm_core.reweight(c, contamination=0.3, mu=mu, ties="share", backend="numpy")
            out = np.full(n + 4, np.nan, expected.dtype)[shift : shift + n]
            rrm_core.reweight(c, contamination=0.3, mu=mu, ties="share", out=out, backend="cpp", threads=3)
            assert_same_bits(out, expected, f"{sizes=} {mu=}")
            if mu == 1:
                assert_same_bits(rrm_core.apply(plan, c, backend="cpp", threads=2), expected)


def test_there_are_ten_thousand_cases():
    assert len(SETS) * len(THREADS) * len(FAMILIES) * len(DTYPES) * len(SIZES) * (65 // EVERY) >= 10_000


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_instruction_set_and_number_of_threads(family, dtype, set_up):
    for n in SIZES:
        c, w, answers = losses(family, n, dtype), old_weights(n, dtype), reference(family, n, dtype)
        for i, ((rule, mu, with_old), (expected, expected_plan)) in enumerate(
            zip(questions(family), answers, strict=True)
        ):
            if i % EVERY != n % EVERY:
                continue
            for name, threads in product(AVAILABLE, THREADS):
                set_up(name, **SMALL)
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
def test_sizes_at_which_threads_and_marks_pay(family, dtype, name, set_up):
    n = 1_100_003
    set_up(name)
    c, w = losses(family, n, dtype), old_weights(n, dtype)
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


MISLEADING = (-1e4, 1e4, np.inf, np.nan, -1e4 + np.arange(777), 1e4 + np.arange(777), (-1e4, 1e4))


@pytest.mark.parametrize("name", AVAILABLE)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [5000, 70_001, 400_003])
@pytest.mark.parametrize("attempts", [1, 3])
def test_a_sample_that_misleads(n, dtype, attempts, name, set_up):
    set_up(name, samples_per_thread=100_000, max_attempts=attempts)  # after the last one the digits are counted
    sample = _cpu.sample_indices(n)
    for values in MISLEADING:
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
        c = np.zeros(n, np.float16)  # which the system holds as one page of zeros as long as nobody writes
    except MemoryError:
        pytest.skip("this machine doesn't lend 8 GiB of untouched memory")
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
def status(name):
    return next(1024 * int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(name))
dtype, family, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
c = np.random.default_rng(0).exponential(size=40_000_000 // np.dtype(dtype).itemsize * 2).astype(dtype)
if family == "capped":
    c = np.minimum(c, c.dtype.type(0.5))
if family == "sorted":
    c.sort()
w = np.ones(c.size, np.float64 if dtype == "float64" else np.float32)
rule = {"contamination": 0.2, "mu": 0.3, "backend": "cpp", "threads": threads}
rrm_core.reweight(c[:9999], w[:9999], **rule)
open("/proc/self/clear_refs", "w").write("5")  # the peak starts anew
before = status("VmRSS")
rrm_core.reweight(c, w, out=w, **rule)
print((status("VmHWM") - before) / c.nbytes)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the process's peak memory from /proc")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("family", ["random", "sorted", "capped"])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_memory_is_a_twentieth_of_the_losses(dtype, family, threads):
    run = subprocess.run(
        [sys.executable, "-c", PEAK, dtype, family, str(threads)], capture_output=True, text=True, check=True
    )
    assert float(run.stdout) < 0.052  # and a stack for the thread


def started(call):
    before = _cpu.threads_started()
    call()
    return _cpu.threads_started() - before


def test_threads_start_where_they_pay_and_as_many_as_allowed():
    c = losses("exponential", 1_500_000, "float32")
    most = min(3, rrm_core.cpu_info().threads)  # one for each half million
    assert started(lambda: rrm_core.plan(c, contamination=0.2)) == most - 1
    assert started(lambda: rrm_core.plan(c, contamination=0.2, threads=1)) == 0
    assert started(lambda: rrm_core.plan(c, contamination=0.2, threads=2)) == 1
    assert started(lambda: rrm_core.reweight(c, contamination=0.2, threads=100)) == 2
    assert started(lambda: rrm_core.reweight(c[:999_999], contamination=0.2, threads=100)) == 0


@pytest.mark.parametrize(
    ("setting", "threads"), [("1", 1), ("3", 3), ("2,1", 2), ("", None), ("no", None), ("0", None)]
)
def test_omp_num_threads_bounds_them(setting, threads, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", setting)
    cpp.default_threads.cache_clear()
    try:
        assert rrm_core.cpu_info().threads == (threads or len(os.sched_getaffinity(0)))
    finally:
        cpp.default_threads.cache_clear()


@pytest.mark.parametrize("threads", [0, -1, True, 1.5, "2"])
def test_threads_that_are_no_number_of_threads(threads):
    with pytest.raises(ValueError, match=r"^threads must be a whole number, at least 1, or None, got"):
        rrm_core.reweight([1.0, 2.0], contamination=0.2, threads=threads)


@pytest.mark.parametrize("backend", ["numba", "numpy", "array_api"])
def test_threads_may_be_given_to_any_backend(backend):
    c = losses("exponential", 100, "float32")
    expected, plan = rrm_core.reweight(c, contamination=0.2)
    weights, same = rrm_core.reweight(c, contamination=0.2, backend=backend, threads=np.int64(1))
    assert_array_equal(weights, expected)
    assert same == plan == rrm_core.plan(c, contamination=0.2, backend=backend, threads=1)
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


def test_in_a_forked_child():
    # In a process of its own: others in this one (JAX) warn of forks for reasons of theirs.
    subprocess.run([sys.executable, "-c", FORK], check=True, timeout=60)


def test_from_several_python_threads_at_once(set_up):
    set_up(**SMALL)
    inputs = [(losses(family, 20_011, "float32"), family) for family in ("exponential", "negative", "capped")]
    expected = [rrm_core.reweight(c, contamination=0.3, backend="numpy") for c, _ in inputs]
    wrong = []

    def work(c, answer, plan):
        for _ in range(50):
            weights, own = rrm_core.reweight(c, contamination=0.3, threads=3)
            if own != plan or not np.array_equal(weights, answer):
                wrong.append(own)

    workers = [
        threading.Thread(target=work, args=(c, *answer)) for (c, _), answer in zip(inputs, expected, strict=True)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def test_other_python_threads_go_on_meanwhile():
    losses, keeps_the_lock = np.ones(30_000_000, np.float16), ctypes.PyDLL(None).usleep
    assert any(goes_on_during(lambda: rrm_core.plan(losses, contamination=0.2, threads=1)) for _ in range(30))
    assert not all(goes_on_during(lambda: keeps_the_lock(20_000)) for _ in range(5))  # or nothing would be noticed


def goes_on_during(call):
    """Return whether this thread got a turn in the middle of another's call; on a busy machine it may get none."""
    span, turns, done = [], [], threading.Event()

    def work():
        span.append(time.perf_counter())
        call()
        span.append(time.perf_counter())
        done.set()

    worker = threading.Thread(target=work)
    worker.start()
    while not done.is_set():
        turns.append(time.perf_counter())
        time.sleep(0)  # a turn for the other
    worker.join()
    begin, end = span
    quarter = (end - begin) / 4
    return any(begin + quarter < turn < end - quarter for turn in turns)


@pytest.mark.parametrize("name", AVAILABLE)
def test_rrm_cpu_chooses_the_instruction_set(name):
    check = "import rrm_core; print(rrm_core.cpu_info().instruction_set)"
    run = subprocess.run(
        [sys.executable, "-c", check], env=os.environ | {"RRM_CPU": name}, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == name


def test_rrm_cpu_that_is_wrong_is_an_error_with_threads_too():
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


def test_rrm_cpu_that_is_no_instruction_set():
    call = "import rrm_core; rrm_core.reweight([1.0, 2.0], contamination=0.2)"
    run = subprocess.run(
        [sys.executable, "-c", call], env=os.environ | {"RRM_CPU": "v5"}, capture_output=True, text=True, check=False
    )
    assert run.stderr.strip().splitlines()[-1] == "ValueError: RRM_CPU must be baseline, v3 or v4, got v5"
