"""A reweight on two worker processes; one is killed in each round, and again while the weights are computed.

Run as a program: ``python dask_cluster.py FOLDER``, with an empty folder in which the workers record their reads.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
from pathlib import Path

import dask.array as da
import numpy as np
from dask import delayed
from distributed import Client, LocalCluster

import rrm_core

BLOCKS, SIZE = 20, 5000
KILLS = {
    (5, 0),
    (9, 1),
    (13, 2),
}  # (block, previous reads): float32 losses are read by two rounds, then for the weights
RULE = {"contamination": 0.2, "redistribute": 0.1, "mu": 0.3}


def load(block: int, folder: str) -> np.ndarray:
    """Return a block of losses, or kill this process."""
    for reading in itertools.count():
        try:
            Path(folder, f"{block}-{reading}").touch(exist_ok=False)
        except FileExistsError:
            continue
        if (block, reading) in KILLS:
            os.kill(os.getpid(), signal.SIGKILL)
        return np.random.default_rng(block).exponential(size=SIZE).astype(np.float32)
    raise AssertionError


def main(folder: str) -> None:
    """Reweight on the cluster and in this process, and compare."""
    parts = [da.from_delayed(delayed(load)(i, folder), (SIZE,), np.float32) for i in range(BLOCKS)]
    losses = da.concatenate(parts)
    weights = da.ones(BLOCKS * SIZE, dtype=np.float32, chunks=1234)
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        Client(cluster),
    ):
        lazy, plan = rrm_core.reweight(losses, weights, **RULE)
        computed = lazy.compute()
    assert all(Path(folder, f"{block}-{reading + 1}").exists() for block, reading in KILLS), "no worker was killed"
    whole, expected_plan = rrm_core.reweight(losses.compute(scheduler="synchronous"), weights.compute(), **RULE)
    assert plan == expected_plan
    assert computed.tobytes() == whole.tobytes()
    print("equal")


if __name__ == "__main__":
    main(sys.argv[1])
