"""Train on digits, 30 % of them with wrong labels, in every framework, plain and with RRM, and record the results.

    make test-integrations                     # makes the environment
    .venv-integrations/bin/python -m benchmarks.integrations.record_integrations [--seeds 3] [--draft FILE] [NAME ...]

writes benchmarks/results/integrations.json. Runs in that record, of the same settings, are not repeated.
"""

from __future__ import annotations

import argparse
import inspect
import json
import warnings
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from benchmarks.common.record import RESULTS, provenance, write_record
from benchmarks.integrations.digits_run import BATCH_SIZE, EPOCHS, HIDDEN, LEARNING_RATE, MARK, SHARE, load
from rrm_core._cli import run

MODULES = (
    "pytorch",
    "accelerate_loop",
    "ignite_engine",
    "huggingface_trainer",
    "lightning_module",
    "skorch_net",
    "keras_torch",
    "keras_tensorflow",
    "keras_jax",
    "sklearn_logistic",
    "lightgbm_trees",
    "xgboost_trees",
    "catboost_trees",
)
METHODS: dict[str, dict[str, Any] | None] = {
    "plain": None,
    "auto": {"contamination": "auto"},
    "told": {"contamination": SHARE},
}
PACKAGES = (
    "rrm-core",
    "torch",
    "numpy",
    "scikit-learn",
    "accelerate",
    "pytorch-ignite",
    "transformers",
    "lightning",
    "skorch",
    "keras",
    "tensorflow-cpu",
    "jax",
    "lightgbm",
    "xgboost-cpu",
    "catboost",
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"modules to run: {', '.join(MODULES)}; default all")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each kind (default: 3)")
    parser.add_argument("--draft", type=Path, help="a file for the results of uncommitted code")
    options = parser.parse_args()
    unknown = set(options.names) - set(MODULES)
    if unknown:
        parser.error(f"NAME must be one of {', '.join(MODULES)}, got {', '.join(sorted(unknown))}")
    if options.seeds < 1:
        parser.error(f"--seeds must be at least 1, got {options.seeds}")
    path = options.draft or RESULTS / "integrations.json"
    origin = provenance(*PACKAGES, draft=options.draft is not None)
    settings = {"epochs": EPOCHS, "batch_size": BATCH_SIZE, "hidden": HIDDEN, "learning_rate": LEARNING_RATE}
    runs: dict[str, Any] = {}
    if path.exists():
        previous = json.loads(path.read_text())
        if previous["settings"] == settings:
            runs = {key(entry): entry for entry in previous["runs"]}
    jobs = [
        (module, method, seed)
        for module in options.names or MODULES
        for method in METHODS
        for seed in range(options.seeds)
    ]
    for module, method, seed in track(jobs, "training"):
        entry = {"module": module, "method": method, "seed": seed}
        if key(entry) in runs:
            continue
        runs[key(entry)] = {**entry, "commit": origin["commit"], **measure_apart(module, METHODS[method], seed)}
        ordered = [runs[key] for key in sorted(runs, key=order)]
        command = f"python -m benchmarks.integrations.record_integrations --seeds {options.seeds}"
        write_record(path, {"command": command, "settings": settings, **origin, "runs": ordered})
    print(f"recorded in {path}")
    return 0


def key(entry: dict[str, Any]) -> str:
    """Return what tells runs apart."""
    return f"{entry['module']} {entry['method']} {entry['seed']}"


def order(name: str) -> tuple[int, int, int]:
    """Return the place of a run in the record."""
    module, method, seed = name.split()
    return MODULES.index(module), list(METHODS).index(method), int(seed)


def measure_apart(module: str, settings: dict[str, Any] | None, seed: int) -> dict[str, Any]:
    """Return the same as `measure`, of a process of its own: frameworks get in each other's way."""
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        return process.submit(measure, module, settings, seed).result()


def measure(module: str, settings: dict[str, Any] | None, seed: int) -> dict[str, Any]:
    """Return what one run reaches: test accuracy after the last epoch, and for RRM how well it lists wrong labels."""
    framework = import_module(f"benchmarks.integrations.{module}")
    digits = load(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = framework.train(digits.x_train, digits.y_train, settings, seed)
    result: dict[str, Any] = {
        "framework": framework.NAME,
        "lines": count_lines(Path(inspect.getfile(framework.train))),
        "accuracy": float(np.mean(fitted.predict(digits.x_test) == digits.y_test)),
    }
    if fitted.rrm is None:
        return result
    flagged = np.asarray(fitted.rrm.flagged())
    n_found = int(digits.is_wrong[flagged].sum())
    return {
        **result,
        "estimate": None if fitted.rrm.estimate is None else fitted.rrm.estimate.contamination,
        "n_flagged": len(flagged),
        "precision": n_found / max(len(flagged), 1),
        "recall": n_found / int(digits.is_wrong.sum()),
    }


def count_lines(file: Path) -> int:
    """Return the number of lines of a framework's module that only the runs with RRM need."""
    return sum(line.rstrip().endswith(MARK) for line in file.read_text(encoding="utf-8").splitlines())


if __name__ == "__main__":
    raise SystemExit(run("python -m benchmarks.integrations.record_integrations", main))
