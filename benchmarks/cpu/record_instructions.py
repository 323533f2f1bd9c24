"""Count the instructions of the kernels with callgrind, and record them for the test of instructions per sample.

    python -m benchmarks.cpu.record_instructions

valgrind does not support AVX-512: v4, whose loops have the same source as v3's, cannot be counted.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from benchmarks.common.record import provenance, write_record
from rrm_core._cli import run

from .instruction_counts import RECORD, build, instructions_per_sample

N = 1_000_000


def main() -> None:
    """Count, record, print."""
    origin = provenance("rrm-core")
    with tempfile.TemporaryDirectory() as folder:
        program = build(Path(folder) / "kernel_cases", "-O3")
        counts = {
            function: {
                name: round(instructions_per_sample(program, name, N, Path(folder), function), 3)
                for name in ("baseline", "v3")
            }
            for function in ("reweight", "count_first_pass", "count_pass")
        }
    record = {
        "what": "one reweight, in place, mu = 0.3, contamination = 0.2, float32 exponential losses, 1 thread",
        "n": N,
        "instructions per sample": counts.pop("reweight"),
        "passes of a selection": counts,  # of the same losses: all bins; then one bin, and a pivot
        **origin,
    }
    write_record(RECORD, record)
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    raise SystemExit(run("python -m benchmarks.cpu.record_instructions", main))
