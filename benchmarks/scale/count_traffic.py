"""Count the bytes of a plan over ranks.

    torchrun --nproc-per-node 4 --module benchmarks.scale.count_traffic FILE

It writes to FILE, for each rule, the bytes that a rank passes to collectives, and those that cross the loopback device.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

import rrm_core
from rrm_torch.distributed import ProcessGroup, plan

N = 1_000_000
TIMES = 20
RULES: dict[str, dict[str, Any]] = {
    "contamination": {"contamination": 0.2},
    "contamination, a fraction receives": {"contamination": 0.2, "redistribute": 0.1},
    "gamma": {"gamma": 0.5},
}


def loopback_bytes() -> int:
    """Return the number of bytes that the loopback device has received."""
    lines = Path("/proc/net/dev").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.split()[0] == "lo:")


def count_keys(losses: torch.Tensor, rule: dict[str, Any]) -> int:
    """Return the number of keys that remain after the first round."""
    planner = rrm_core.Planner(**rule)
    planner.update(losses)
    planner.advance()
    planner.update(losses)
    return len(planner.partial()["keys"])


def main() -> None:
    """Count and write."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    size = dist.get_world_size()
    everything = torch.empty(N).exponential_(generator=torch.Generator().manual_seed(0))
    losses = torch.tensor_split(everything, size)[rank]
    counts = {}
    for name, rule in RULES.items():
        ranks = ProcessGroup()
        plan(losses, group=ranks, **rule)  # establishes the connections
        ranks.traffic.clear()
        dist.barrier()
        before = loopback_bytes()
        for _ in range(TIMES):
            plan(losses, group=ranks, **rule)
        dist.barrier()
        wire = loopback_bytes() - before
        passed = sum(count for kind, count in ranks.traffic.items() if kind.endswith("bytes")) // TIMES
        calls = sum(count for kind, count in ranks.traffic.items() if kind.endswith("calls")) // TIMES
        counts[name] = {
            "keys": count_keys(everything, rule),
            "bytes given by a rank": passed,
            "collectives": calls,
            "bytes over the wire, by rank": round(wire / TIMES / size),
        }
    if rank == 0:
        Path(sys.argv[1]).write_text(json.dumps(counts, indent=1) + "\n")
    dist.barrier()  # all processes end together
    os._exit(0)  # as in examples/distributed/ddp.py


if __name__ == "__main__":
    main()
