"""Many Python threads at once, from the first call on: the same bits. On free-threaded Python without the GIL."""

from __future__ import annotations

import subprocess
import sys

# In a process of its own, so that the threads meet in the first call: loading the backend, filling caches.
PROGRAM = """
import sys, threading
import numpy as np
import rrm_core

N_THREADS, N_ROUNDS = 8, int(sys.argv[1])
RULES = ({"contamination": 0.2}, {"gamma": 0.7}, {"contamination": 0.3, "redistribute": 0.1, "nan": "prune"})
TYPES = (np.float16, np.float32, np.float64)
errors = []

def arrays(seed):
    losses = np.random.default_rng(seed).exponential(size=20_000 + 1000 * seed)
    return [losses.astype(kind) for kind in TYPES]

def compute(losses, backend=None):
    result = []
    for rule in RULES:
        weights, plan = rrm_core.reweight(losses, threads=2, backend=backend, **rule)
        result += [weights.tobytes(), plan, rrm_core.apply(plan, losses[:100], backend=backend).tobytes()]
    return result

def plans(losses):
    results = []
    for rule in RULES:
        planner = rrm_core.Planner(**rule)
        while not planner.done:
            planner.update(losses[:7000])
            planner.update(losses[7000:], offset=7000)
            planner.advance()
        results += [planner.plan, rrm_core.stream.plan(losses, threads=3, **rule)]
    return results

shared = arrays(0)
barrier = threading.Barrier(N_THREADS)

def work(seed):
    try:
        barrier.wait()
        own = arrays(seed)
        for losses in shared + own:
            results = [(compute(losses), plans(losses)) for _ in range(N_ROUNDS)]
            expected = compute(losses, backend="numpy")
            for weights, planned in results:
                assert weights == expected
                assert planned == [plan for plan in expected[1::3] for _ in range(2)]
    except BaseException as error:
        errors.append(repr(error))
        raise

threads = [threading.Thread(target=work, args=(seed,)) for seed in range(1, N_THREADS + 1)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
gil = getattr(sys, "_is_gil_enabled", lambda: True)()
print(len(errors), gil)
"""


def test_threads_compute_the_same():
    run = subprocess.run([sys.executable, "-c", PROGRAM, "1"], capture_output=True, text=True, timeout=300)
    # The modules do not switch the GIL on where Python runs without it.
    gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    assert (run.stdout, run.stderr) == (f"0 {gil}\n", "")
