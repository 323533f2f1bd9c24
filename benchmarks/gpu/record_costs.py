"""Count launches and bytes of one reweight by the CUDA kernels on the model of a GPU, and record them.

    python -m benchmarks.gpu.record_costs [--draft]

It counts the loads and stores of the kernels as tests/cuda_model executes them, without the effect of caches, and needs
no GPU. --draft accepts uncommitted sources and writes into build/.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.progress import track

from benchmarks.common.losses import Losses
from benchmarks.common.record import ROOT, provenance, write_record
from benchmarks.gpu.cells import Cell
from benchmarks.gpu.devices import kernel_name
from rrm_core._cli import run

sys.path.append(str(ROOT / "tests"))
from cuda_model.builds import harness, kernels, link

FORMATS = ("float32", "float64")
SIZES = (1_000_000, 100_000_000)
RULES = {"rank": "contamination 0.2", "gamma": "gamma 1.6", "fraction": "recipients 0.1"}  # of kernel_cases
ORDER = ("sample_brackets", "scan_losses", "radix_pass", "write_weights")


def count(program: Sequence[str], format: str, n: int, rule: str) -> dict[str, Any]:
    """Return the cost of one call, by kernel and in memory floors."""
    command = [*program, "costs", format, str(n), rule]
    counts = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    by_kernel = {kernel_name(row.pop("kernel")): row for row in counts["kernels"]}
    total = sum(row["read"] + row["written"] for row in by_kernel.values()) / n
    return {
        "format": format,
        "n": n,
        "rule": RULES[rule],
        "launches": sum(row["launches"] for row in by_kernel.values()),
        "workspace": counts["workspace"],
        "bytes a sample": round(total, 4),
        "floors": round(total / Cell(Losses(n, format=format)).floor, 4),
        "kernels": {name: by_kernel[name] for name in ORDER},
    }


def main() -> None:
    """Build, count, record."""
    draft = "--draft" in sys.argv[1:]
    path = ROOT / ("build" if draft else "benchmarks/results") / "gpu_costs.json"
    origin = provenance("rrm-core", draft=draft)
    conditions = [(format, n, rule) for n in SIZES for format in FORMATS for rule in RULES]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        program = link(folder / "cases", "plain", *harness(folder, "plain"), kernels(folder, "plain"))
        cases = [count(program, *condition) for condition in track(conditions, "Counting, for some minutes")]
    record = {
        "what": "One in-place reweight of exponential losses, mu = 0.3, counted on the model for the grid of a GPU "
        "with 132 multiprocessors. Floor: the losses read twice, the weights read and written, 16 bytes a sample in "
        "single and 32 in double precision. By kernel: bytes a sample",
        **origin,
        "cases": sorted(cases, key=lambda case: case["format"]),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_record(path, record)
    print(f"wrote {path}")


if __name__ == "__main__":
    raise SystemExit(run("python -m benchmarks.gpu.record_costs", main))
