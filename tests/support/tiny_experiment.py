"""An experiment of a few milliseconds; as a program, the command line of the experiments with this one registered.

It appends a line to the file `epochs` in the data folder at the start of each epoch. The settings can make it fail.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

if __name__ in ("__main__", "__mp_main__"):
    root = Path(__file__).parents[2]
    sys.path[:0] = [str(root / "tests"), str(root)]
    os.environ["TINY_AS_PROGRAM"] = "1"  # for the workers as well

if "TINY_AS_PROGRAM" not in os.environ:
    # As a module it imports torch, as the experiments do; as a program it does not, so that a process starts quickly.
    import torch  # noqa: F401

from experiments.registry import EXPERIMENTS
from experiments.runner.jobs import Experiment, Job

EPOCHS = 6


def jobs(seeds):
    settings = {"epochs": EPOCHS, "pause": float(os.environ.get("TINY_PAUSE", 0.0))}
    wrong = os.environ.get("TINY_WRONG")
    return [
        Job(method, {**settings, "wrong": wrong if method == "RRM, C=0.3" else None}, seed)
        for method in ("plain", "RRM, C=0.3")
        for seed in range(seeds)
    ]


def execute(job, data, checkpoint, on_epoch):
    state = json.loads(checkpoint.read_text()) if checkpoint.exists() else {"epoch": 0, "sum": job.seed}
    while state["epoch"] < job.settings["epochs"]:
        with (data / "epochs").open("a") as log:
            log.write(f"{job.key} {state['epoch']} {os.getpid()}\n")
        time.sleep(job.settings["pause"])
        if state["epoch"] == 3 and job.settings["wrong"] == "raises":
            raise ValueError("losses contain\n3 NaN")
        if state["epoch"] == 3 and job.settings["wrong"] == "dies":
            os._exit(7)
        state = {"epoch": state["epoch"] + 1, "sum": 3 * state["sum"] + len(job.method)}
        unfinished = checkpoint.with_suffix(".pt.tmp")
        unfinished.write_text(json.dumps(state))
        unfinished.replace(checkpoint)
        on_epoch(state["epoch"], job.settings["epochs"])
    torch = sys.modules.get("torch")
    threads = torch.get_num_threads() if torch else None
    return {
        "sum": float("nan") if job.settings["wrong"] == "nan" else state["sum"],
        "threads": [threads, os.environ.get("OMP_NUM_THREADS")],
    }


EXPERIMENT = Experiment("tiny", ("tiny.npz",), jobs, execute)

if __name__ == "__main__":
    from experiments.cli import main

    # SIGINT is ignored if the tests were started in the background, and child processes inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    EXPERIMENTS["tiny"] = ("support.tiny_experiment", "a few milliseconds")
    sys.exit(main())
