"""Time `weighted_mean` and `step` beside the loop written by hand, in this checkout and in an earlier one, in turns.

    python -m benchmarks.training.bench_trainer --before PYTHON

writes benchmarks/results/trainer.json. PYTHON is the interpreter of an environment with an editable install of a
checkout of an earlier commit. Each process measures everything once, `trainer_process` says how; the processes
alternate, so that other load on the machine affects both. Without ``--before`` only this checkout is measured.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

from benchmarks.common.other_checkout import commit_of, measure
from benchmarks.common.record import RESULTS, provenance, write_record
from rrm_core._cli import run

PROCESSES = 3
PROGRAM = Path(__file__).with_name("trainer_process.py")


def median(results: list[Any]) -> Any:
    """Return the medians of nested numbers."""
    if isinstance(results[0], dict):
        return {name: median([result[name] for result in results]) for name in results[0]}
    return results[0] if isinstance(results[0], str) else statistics.median(results)


def main() -> None:
    """Run, record, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training.bench_trainer", description=__doc__)
    parser.add_argument("--before", metavar="PYTHON", help="interpreter of an environment with an earlier commit")
    before = parser.parse_args().before
    origin = provenance("rrm-core", "torch", "numpy")
    pythons = {"after": sys.executable} | ({"before": before} if before else {})
    results: dict[str, list[Any]] = {name: [] for name in pythons}
    for number in range(PROCESSES):
        for name, python in pythons.items():
            print(f"process {number + 1} of {PROCESSES}, {name}", file=sys.stderr, flush=True)
            results[name].append(measure(python, PROGRAM))
    record: dict[str, Any] = {"what": f"processor time, one thread; medians of {PROCESSES} processes in turns"}
    for name, measured in results.items():
        file = measured[0].pop("file")
        for other in measured[1:]:
            del other["file"]
        record[name] = median(measured)
        if name == "before":
            record[name]["commit"] = commit_of(Path(file).parent)
    write_record(RESULTS / "trainer.json", record | origin)
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    raise SystemExit(run("python -m benchmarks.training.bench_trainer", main))
