"""Calls in child processes, forked or not, of a parent whose threads load or run kernels; and in several threads."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import rrm_core

# `check()` compares each kind of call with NumPy's result: large and small, smoothed, applied to a part of the losses.
CHECK = """
import numpy as np
import rrm_core

losses = np.random.default_rng(0).exponential(size=200_000).astype(np.float32)
old = np.random.default_rng(1).random(len(losses), np.float32)
few_values = np.round(losses, 1)
rules = ({"contamination": 0.2}, {"gamma": 0.5}, {"contamination": 0.3, "redistribute": 0.1, "nan": "prune"})

def check(backend, threads=2):
    for c in (losses, few_values, losses[:100]):
        for rule in rules:
            expected, expected_plan = rrm_core.reweight(c, old[: len(c)], mu=0.3, backend="numpy", **rule)
            weights, plan = rrm_core.reweight(c, old[: len(c)], mu=0.3, backend=backend, threads=threads, **rule)
            assert plan == expected_plan
            assert weights.tobytes() == expected.tobytes()
        expected = rrm_core.apply(plan, c[:50], backend="numpy")
        assert rrm_core.apply(plan, c[:50], backend=backend, threads=threads).tobytes() == expected.tobytes()
    return "checked"
"""

FORK = (
    CHECK
    + """
import concurrent.futures, os, sys, threading
backend, state = sys.argv[1:]
if state != "loading":
    check(backend)
stop = threading.Event()
worker = threading.Thread(target=lambda: [check(backend) for _ in iter(stop.is_set, True)])
if state != "idle":
    worker.start()
while state == "loading" and "numba" not in sys.modules:
    pass

def run_child():
    child = os.fork()
    if not child:
        try:
            check(backend)
            with concurrent.futures.ThreadPoolExecutor(1) as pool:
                pool.submit(check, backend, threads=1).result()
            grandchild = os.fork()
            if not grandchild:
                check(backend)
                os._exit(0)
            os._exit(os.waitstatus_to_exitcode(os.waitpid(grandchild, 0)[1]))
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

codes = [run_child() for _ in range(3)]
stop.set()
if state != "idle":
    worker.join()
check(backend)
print(codes)
"""
)

POOLS = (
    CHECK
    + """
import multiprocessing, sys, warnings

def work(backend):
    return check(backend)

if __name__ == "__main__":
    backend, method = sys.argv[1:]
    check(backend)
    warnings.simplefilter("ignore", DeprecationWarning)  # of fork() in a process with threads, from Python 3.12
    if method == "DataLoader":
        import torch
        class Data(torch.utils.data.Dataset):
            def __len__(self):
                return 2
            def __getitem__(self, index):
                return check(backend)
        results = sum(map(list, torch.utils.data.DataLoader(Data(), num_workers=2)), [])
    else:
        with multiprocessing.get_context(method).Pool(2) as pool:
            results = pool.map(work, [backend] * 2)
    print(results)
"""
)

BACKENDS = [name for name in ("cpp", "numba") if name in rrm_core.available_backends()]


def run(program, *arguments, **environment):
    command = [sys.executable, program, *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=600, env=os.environ | {"PYTHONWARNINGS": ""} | environment
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


STATES = {"cpp": ("idle", "busy"), "numba": ("idle", "busy", "loading")}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.parametrize(("backend", "state"), [(name, state) for name in BACKENDS for state in STATES[name]])
def test_forked_children_compute_the_same(backend, state, tmp_path):
    (tmp_path / "fork.py").write_text(FORK, encoding="utf-8")
    assert run(tmp_path / "fork.py", backend, state) == "[0, 0, 0]\n"


METHODS = {"cpp": ("fork", "DataLoader"), "numba": ("fork", "forkserver", "DataLoader")}


@pytest.mark.parametrize(("backend", "method"), [(name, method) for name in BACKENDS for method in METHODS[name]])
def test_worker_processes_compute_the_same(backend, method, tmp_path):
    (tmp_path / "pools.py").write_text(POOLS, encoding="utf-8")
    assert run(tmp_path / "pools.py", backend, method) == "['checked', 'checked']\n"


THREADS = (
    CHECK
    + """
import concurrent.futures, sys
with concurrent.futures.ThreadPoolExecutor(4) as pool:
    print(set(pool.map(check, [sys.argv[1]] * 8)))
"""
)


@pytest.mark.parametrize("layer", ["omp", "workqueue", "tbb"])  # tbb is not installed: runs serially
def test_numba_in_several_threads(layer, tmp_path):
    (tmp_path / "threads.py").write_text(THREADS, encoding="utf-8")
    assert run(tmp_path / "threads.py", "numba", NUMBA_THREADING_LAYER=layer) == "{'checked'}\n"
