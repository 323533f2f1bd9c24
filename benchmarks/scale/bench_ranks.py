"""Measure what RRM adds to a training run of Clothing1M's size under torchrun, which is also killed and resumed.

    python -m benchmarks.scale.bench_ranks FOLDER

writes benchmarks/results/ranks.json. FOLDER takes checkpoints and results, some 100 MB. The run is
training_run.py, on 2 ranks of one thread. One rank is killed by SIGKILL, at a random moment after the second epoch; the
other rank exits, both are started again, and they resume from the checkpoint. Last, the bytes of a plan over 1 to 8
ranks are counted: those that each rank passes to collectives, and those that cross the loopback device.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.common.record import RESULTS, ROOT, provenance, write_record
from rrm_core import _cli

TRAINING_RUN = "benchmarks.scale.training_run"
TRAFFIC = "benchmarks.scale.count_traffic"
SIZES = (1, 2, 3, 4, 8)


def torchrun(size: int, module: str, *arguments: str) -> subprocess.Popen[str]:
    """Start a module on `size` ranks."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={size}"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen([*command, "--module", module, *arguments], env=environment, cwd=ROOT, text=True)


def run(folder: Path, arguments: list[str], *, killed: bool) -> list[dict[str, Any]]:
    """Return the results of both ranks; with `killed`, of a run that was killed and resumed."""
    folder.mkdir(parents=True)
    job = torchrun(2, TRAINING_RUN, str(folder), *arguments)
    if killed:
        checkpoint = folder / "run.pt"
        n_saved = 0
        while job.poll() is None and n_saved < 2:  # epochs, counted by the replacements of the file
            before = checkpoint.stat().st_ino if checkpoint.exists() else None
            time.sleep(0.2)
            n_saved += checkpoint.exists() and checkpoint.stat().st_ino != before
        time.sleep(random.Random(7).uniform(1, 10))
        os.kill(int((folder / "rank1.pid").read_text()), signal.SIGKILL)
        if not job.wait():
            raise SystemExit("the rank ended before it was killed")
        job = torchrun(2, TRAINING_RUN, str(folder), *arguments)
    if job.wait():
        raise SystemExit(f"the run in {folder} failed")
    return [json.loads((folder / f"rank{rank}.json").read_text()) for rank in (0, 1)]


def summary(seconds: list[float]) -> dict[str, float]:
    """Return median and quartiles in milliseconds."""
    low, median, high = statistics.quantiles([1e3 * s for s in seconds], n=4)
    return {"median": round(median, 3), "quartile1": round(low, 3), "quartile3": round(high, 3)}


def traffic(folder: Path) -> dict[str, Any]:
    """Return the bytes that ranks pass to collectives and that cross the loopback device, by number of ranks."""
    counts = {}
    for size in SIZES:
        path = folder / f"traffic{size}.json"
        if torchrun(size, TRAFFIC, str(path)).wait():
            raise SystemExit("counting the traffic failed")
        counts[str(size)] = json.loads(path.read_text())
    return counts


def main() -> None:
    """Run, record, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--draft", action="store_true", help="don't record; the tree may have changes")
    options, arguments = parser.parse_known_args()
    options.folder = options.folder.resolve()  # the ranks run in the root of the checkout
    origin = provenance("rrm-core", "torch", "numpy", draft=options.draft)
    uninterrupted = run(options.folder / "whole", arguments, killed=False)
    resumed = run(options.folder / "killed", arguments, killed=True)
    first = uninterrupted[0]
    epoch = statistics.median(first["seconds of epochs"])
    added = max(result["seconds added per batch"] for result in uninterrupted) * first["batches"]
    step = max(statistics.median(result["seconds of reweights"]) for result in uninterrupted)
    record = {
        "what": f"{first['samples']:,} samples of 14 classes, 38 % wrong labels, a convolutional net of "
        f"{first['parameters']:,} parameters, {first['ranks']} gloo ranks of one thread, batches of {first['batch']}",
        **{key: first[key] for key in ("samples", "ranks", "batch", "parameters", "wrong labels found")},
        "seconds of an epoch": epoch,
        "added to an epoch, %": round(100 * (added + step) / epoch, 3),
        "of it, by the batches, %": round(100 * added / epoch, 3),
        "ms of reweights while training": [round(1e3 * s, 2) for s in first["seconds of reweights"]],
        "MB held by each rank": [round(result["bytes held"] / 1e6, 2) for result in uninterrupted],
        "MB beyond, at the height of a reweight": [
            round(max(result["bytes beyond, at the height of a reweight"]) / 1e6, 2) for result in uninterrupted
        ],
        "ms of a reweight": {name: summary(seconds) for name, seconds in first["reweights rehearsed"].items()},
        "killed and resumed: the same bits": [
            a["hash"] == b["hash"] for a, b in zip(uninterrupted, resumed, strict=True)
        ],
        "epochs after the restart": len(resumed[0]["seconds of epochs"]),
        "traffic of a plan": traffic(options.folder),
        **origin,
    }
    print(json.dumps(record, indent=1))
    if not options.draft:
        write_record((RESULTS / "ranks.json"), record)


if __name__ == "__main__":
    raise SystemExit(_cli.run("python -m benchmarks.scale.bench_ranks", main))
