"""The report folder of a comparison: results.json, flagged.csv, diagnosis.txt and figures."""

from __future__ import annotations

import json
import math
import os
import platform
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rrm_core._atomic_write import atomic_write
from rrm_review import to_csv, write_page

from ..data.images import ImageData
from ..training.compare import ComparisonSettings, Outcome, Trial
from .diagnosis import diagnose

MAX_IMAGES = 1_000
"""On the page; their thumbnails take a few megabytes."""

PAGE = "review.html"
FIGURES = ("curves.png", "weights.png", "trajectory.png", "suspicious.png", "joint.png", "groups.png")


def prepare(folder: Path) -> None:
    """Create the folder, and check that it is writable before any training; OSError otherwise."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise OSError(f"report folder {str(folder)!r} can't be written: {error.strerror}; choose another") from error


def write(
    folder: Path,
    source: str,
    data: ImageData,
    settings: ComparisonSettings,
    trials: Sequence[Trial],
    corrections: Sequence[Path] = (),
) -> list[str]:
    """Write the report of the finished trials.

    The page, flagged.csv, diagnosis.txt and all figures except curves.png show the first trial.

    Parameters
    ----------
    folder : Path
        An existing, writable folder, see `prepare`. Files of an earlier report are replaced atomically.
    source : str
        The data source on the command line.
    data : ImageData
    settings : ComparisonSettings
    trials : sequence of Trial, not empty
    corrections : sequence of Path
        The files of corrections by which `data` were corrected.

    Returns
    -------
    list of str
        Names of the files written. Without Matplotlib no figures are written, without Pillow no page, without an
        estimate no joint.png, and without groups no groups.png; those of an earlier report are removed.
    """
    first = trials[0]
    diagnosis = f"{diagnose(first.rrm, data.classes, first.labels)}\n"
    results = _replace_non_finite(make_results(source, settings, trials))
    with atomic_write(folder / "results.json") as file:
        file.write((json.dumps(results, indent=1, allow_nan=False) + "\n").encode())
    issues = first.rrm.issues(labels=first.labels, predictions=first.probabilities.argmax(1), ids=data.ids)
    to_csv(issues, folder / "flagged.csv")
    with atomic_write(folder / "diagnosis.txt") as file:
        file.write(diagnosis.encode())
    files = ["results.json", "flagged.csv", "diagnosis.txt"]
    if find_spec("PIL") is None:
        (folder / PAGE).unlink(missing_ok=True)
    else:
        _write_page(folder / PAGE, data, first, diagnosis, corrections)
        files.append(PAGE)
    drawn = {} if find_spec("matplotlib") is None else _draw(data, settings, trials)
    for name in FIGURES:
        if name not in drawn:
            (folder / name).unlink(missing_ok=True)
            continue
        with atomic_write(folder / name) as file:
            drawn[name].savefig(file, format="png", dpi=120)
    return [*files, *drawn]


def _write_page(path: Path, data: ImageData, trial: Trial, diagnosis: str, corrections: Sequence[Path]) -> None:
    """Write the page on which a person judges the labels, which have their names there."""
    names = np.array(data.classes, dtype=object)
    rrm = trial.rrm
    issues = rrm.issues(
        labels=names[_given_labels(data, trial)],
        predictions=names[trial.probabilities.argmax(1)],
        ids=data.ids,
        order="index",
    )
    issues["confidence"] = trial.probabilities.max(1)
    # Only the most suspicious images are on the page: the others need not be turned into pictures.
    rows = np.argsort(issues["label_quality"], kind="stable")[:MAX_IMAGES]
    shown = {name: column[rows] for name, column in issues.items()}
    shown["index"] = np.arange(len(rows))
    shown.setdefault("id", rows)
    write_page(
        shown,
        data.pictures(rows),
        path,
        classes=data.classes,
        title=f"Label issues of {data.name}",
        notes=[line.removeprefix("- ") for line in diagnosis.splitlines()],
        pruned=rrm.trajectory.pruned().numpy()[:, rows],
        corrections=list(corrections),
    )


def _given_labels(data: ImageData, trial: Trial) -> npt.NDArray[np.int64]:
    """Return the labels before corrections, which the corrections that a person exports are applied to."""
    if data.uncorrected is None:
        return trial.labels
    # Labels that a trial made wrong are in no source.
    return np.where(trial.labels == data.y_train.numpy(), data.uncorrected, trial.labels)


def _draw(data: ImageData, settings: ComparisonSettings, trials: Sequence[Trial]) -> dict[str, Any]:
    """Return the figures by file name."""
    from . import figures, group_figure, joint_figure, loss_figure

    first = trials[0]
    if first.wrong is None:
        weights = loss_figure.losses_and_classes(first, data.classes)
    else:
        weights = figures.weights(first)
    drawn = {
        "curves.png": figures.curves(trials),
        "weights.png": weights,
        "trajectory.png": figures.trajectory(first.rrm, first.wrong),
        "suspicious.png": figures.suspicious(data, first),
    }
    if first.rrm.estimate is not None:
        drawn["joint.png"] = joint_figure.confident_joint(first.rrm.estimate, data.classes)
    if first.rrm.groups is not None:
        # Labels may leave out the last classes.
        names = data.classes[: first.rrm.groups.n_groups] if settings.groups == "labels" else None
        drawn["groups.png"] = group_figure.pruned_by_group(first.rrm, names)
    return drawn


def make_results(source: str, settings: ComparisonSettings, trials: Sequence[Trial]) -> dict[str, Any]:
    """Return settings, environment and measurements as JSON content."""
    return {
        "data": Path(source).name,
        "settings": asdict(settings),
        "machine": {"processor": platform.machine(), "cores": os.cpu_count(), "system": platform.system()},
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("rrm-core", "torch", "numpy")},
        },
        "trials": [_trial_content(trial) for trial in trials],
    }


def _trial_content(trial: Trial) -> dict[str, Any]:
    n_wrong = None
    realised_noise = None
    if trial.wrong is not None:
        n_wrong = int(trial.wrong.sum())
        realised_noise = float(trial.wrong.mean())
    last = trial.rrm.trajectory.rounds[-1]
    return {
        "seed": trial.seed,
        "samples": len(trial.labels),
        "wrong": n_wrong,
        "realised_noise": realised_noise,
        "plain": _outcome_content(trial.plain),
        "rrm": _outcome_content(trial.weighted),
        "estimate": _estimate_content(trial),
        "flagged": len(trial.rrm.flagged()),
        "samples_by_group": last.n_planned_by_group,
        "pruned_by_group": last.n_pruned_by_group,
        "precision": trial.precision,
        "recall": trial.recall,
    }


def _estimate_content(trial: Trial) -> dict[str, Any] | None:
    """Return the numbers of the estimate; None without one."""
    estimate = trial.rrm.estimate
    if estimate is None:
        return None
    names = ("contamination", "interval", "by_group", "epoch", "n", "n_held_out", "basis")
    return {name: getattr(estimate, name) for name in names}


def _outcome_content(outcome: Outcome) -> dict[str, Any]:
    return {
        "accuracy": outcome.accuracy,
        "robust_accuracy": outcome.robust_accuracy,
        "memorised": outcome.memorised,
        "seconds": asdict(outcome.seconds),
        "epochs": [asdict(epoch) for epoch in outcome.history.epochs],
    }


def _replace_non_finite(content: Any) -> Any:
    """Replace NaN and infinities, which JSON lacks, by None."""
    if isinstance(content, dict):
        return {name: _replace_non_finite(value) for name, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [_replace_non_finite(value) for value in content]
    if isinstance(content, float) and not math.isfinite(content):
        return None
    return content
