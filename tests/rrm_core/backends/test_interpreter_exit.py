"""Daemon threads in a kernel when the interpreter exits."""

from __future__ import annotations

import subprocess
import sys

import pytest

import rrm_core

# Each thread repeats one call for ever; the calls last from microseconds to milliseconds, with and without helpers.
PROGRAM = """
import sys, threading, time
import numpy as np
import rrm_core

backend = sys.argv[1]
losses = np.random.default_rng(0).exponential(size=400_000).astype(np.float32)
plan = rrm_core.plan(losses, contamination=0.2, backend=backend)
invalid = np.full(1000, np.nan)

def plan_invalid():
    try:
        rrm_core.plan(invalid, contamination=0.2, backend=backend)
    except ValueError:
        pass

calls = [
    lambda: rrm_core.reweight(losses, contamination=0.2, threads=1, backend=backend),
    lambda: rrm_core.reweight(losses, contamination=0.2, threads=3, backend=backend),
    lambda: rrm_core.plan(losses[:10], contamination=0.2, backend=backend),
    lambda: rrm_core.apply(plan, losses, backend=backend),
    plan_invalid,
]
if backend != "numba":
    calls += [
        lambda: rrm_core.Planner(contamination=0.2, backend=backend).update(losses),
        lambda: rrm_core.stream.plan(losses, contamination=0.2, threads=2),
    ]

def repeat(call):
    while True:
        call()

for call in calls:
    threading.Thread(target=repeat, args=(call,), daemon=True).start()
time.sleep(0.3)
print("exits")
"""


HOST = [name for name in ("cpp", "numba", "numpy") if name in rrm_core.available_backends()]


@pytest.mark.parametrize("backend", HOST)
def test_daemon_threads_in_a_kernel_end_with_the_process(backend):
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, backend], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    results = [(*run.communicate(timeout=300), run.returncode) for run in runs]
    assert results == [("exits\n", "", 0)] * len(runs)
