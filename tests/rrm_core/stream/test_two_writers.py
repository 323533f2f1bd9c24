"""Two processes that write one output at the same time: it is always one of the two, whole, and neither fails."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pyarrow.parquet
import pytest

import rrm_core

LOSSES = np.random.default_rng(0).exponential(size=50_000).astype(np.float32)
SHARES = (0.1, 0.4)
ROUNDS = 12
WRITER = """
import sys, rrm_core
losses, out, share, rounds = sys.argv[1:]
for _ in range(int(rounds)):
    rrm_core.stream.reweight(losses, out, contamination=float(share), redistribute="kept", threads=1)
"""


def read(path):
    if path.suffix == ".npy":
        return np.load(path)
    # Opened once: pyarrow opens a path twice, and would find two files.
    with path.open("rb") as file:
        return pyarrow.parquet.read_table(file).column(0).to_numpy()


@pytest.mark.parametrize("kind", ["npy", "parquet"])
def test_two_processes_with_one_output(kind, tmp_path):
    losses = tmp_path / "losses.npy"
    np.save(losses, LOSSES)
    out = tmp_path / f"w.{kind}"
    wanted = [rrm_core.reweight(LOSSES, contamination=share, redistribute="kept")[0] for share in SHARES]
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(losses), str(out), str(share), str(ROUNDS)],
            stderr=subprocess.PIPE,
            text=True,
        )
        for share in SHARES
    ]
    found = []
    is_running = True
    while is_running:
        is_running = any(writer.poll() is None for writer in writers)
        if out.exists():
            weights = read(out)
            found.append(any(np.array_equal(weights, other) for other in wanted))
    results = [(*writer.communicate(), writer.returncode) for writer in writers]
    assert results == [(None, "", 0)] * 2
    assert all(found)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["losses.npy", out.name]
