"""Count the bytes of a plan over ranks.

    torchrun --nproc-per-node 4 --module benchmarks.scale.count_traffic FILE

FILE gets, for each rule, what a rank gave to collectives, and what crossed the loopback device meanwhile.
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


def crossed() -> int:
    """Return the bytes that the loopback device has received."""
    lines = Path("/proc/net/dev").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.split()[0] == "lo:")


def keys_of(losses: torch.Tensor, rule: dict[str, Any]) -> int:
    """Return how many keys remain after the first round."""
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
    found = {}
    for name, rule in RULES.items():
        ranks = ProcessGroup()
        plan(losses, group=ranks, **rule)  # the connections are made
        ranks.traffic.clear()
        dist.barrier()
        before = crossed()
        for _ in range(TIMES):
            plan(losses, group=ranks, **rule)
        dist.barrier()
        wire = crossed() - before
        given = sum(count for kind, count in ranks.traffic.items() if kind.endswith("bytes")) // TIMES
        calls = sum(count for kind, count in ranks.traffic.items() if kind.endswith("calls")) // TIMES
        found[name] = {
            "keys": keys_of(everything, rule),
            "bytes given by a rank": given,
            "collectives": calls,
            "bytes over the wire, by rank": round(wire / TIMES / size),
        }
    if rank == 0:
        Path(sys.argv[1]).write_text(json.dumps(found, indent=1) + "\n")
    dist.barrier()  # the group ends with the processes
    os._exit(0)  # as in examples/distributed/ddp.py


if __name__ == "__main__":
    main()
