"""An experiment of a few milliseconds. Run as a program, this is the command line of the experiments that knows it.

It adds a line to the file `epochs` in the data folder whenever it begins an epoch. The settings say what goes wrong.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import types
from pathlib import Path

if __name__ in ("__main__", "__mp_main__"):
    # The package without its __init__, which imports torch: a process is there in a tenth of a second.
    root = Path(__file__).parents[2]
    sys.path[:0] = [str(root / "tests"), str(root)]
    package = types.ModuleType("rrm_torch")
    package.__path__ = [str(root / "python" / "rrm_torch")]
    sys.modules["rrm_torch"] = package

from experiments.registry import EXPERIMENTS
from experiments.runner.jobs import Experiment, Run

EPOCHS = 6


def runs(seeds):
    settings = {"epochs": EPOCHS, "pause": float(os.environ.get("TINY_PAUSE", 0.0))}
    wrong = os.environ.get("TINY_WRONG")
    return [
        Run(method, {**settings, "wrong": wrong if method == "RRM, C=0.3" else None}, seed)
        for method in ("plain", "RRM, C=0.3")
        for seed in range(seeds)
    ]


def execute(run, data, checkpoint, on_epoch):
    state = json.loads(checkpoint.read_text()) if checkpoint.exists() else {"epoch": 0, "sum": run.seed}
    while state["epoch"] < run.settings["epochs"]:
        with (data / "epochs").open("a") as log:
            log.write(f"{run.key} {state['epoch']} {os.getpid()}\n")
        time.sleep(run.settings["pause"])
        if state["epoch"] == 3 and run.settings["wrong"] == "raises":
            raise ValueError("losses contain\n3 NaN")
        if state["epoch"] == 3 and run.settings["wrong"] == "dies":
            os._exit(7)
        state = {"epoch": state["epoch"] + 1, "sum": 3 * state["sum"] + len(run.method)}
        unfinished = checkpoint.with_suffix(".pt.tmp")
        unfinished.write_text(json.dumps(state))
        unfinished.replace(checkpoint)
        on_epoch(state["epoch"], run.settings["epochs"])
    torch = sys.modules.get("torch")
    threads = torch.get_num_threads() if torch else None
    return {
        "sum": float("nan") if run.settings["wrong"] == "nan" else state["sum"],
        "threads": [threads, os.environ.get("OMP_NUM_THREADS")],
    }


EXPERIMENT = Experiment("tiny", "a few milliseconds", ("tiny.npz",), runs, execute)

if __name__ == "__main__":
    from experiments.__main__ import main

    # Whoever started the tests in the background may have had Ctrl-C ignored, by all that they start, too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    EXPERIMENTS["tiny"] = ("support.tiny_experiment", EXPERIMENT.description)
    sys.exit(main())
