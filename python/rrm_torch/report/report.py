"""The closing table, and the report folder: what was found, as tables and pictures."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from rrm_core._atomic_write import atomic_write

from ..data.images import ImageData
from ..training.compare import Outcome, Settings, Trial

COLUMNS = ("index", "given_label", "predicted_label", "label_quality", "is_label_issue", "sample_weight")
"""Columns of flagged.csv: cleanlab's names, preceded by the sample's index."""

PICTURES = ("curves.png", "weights.png", "trajectory.png", "suspicious.png")


def spread(values: Sequence[float | None], scale: float = 100.0, digits: int = 1) -> str:
    """Return mean ± sample standard deviation, ``"–"`` where nothing was measured."""
    known = [scale * value for value in values if value is not None]
    if not known:
        return "–"
    deviation = f" ± {np.std(known, ddof=1):.{digits}f}" if len(known) > 1 else ""
    return f"{np.mean(known):.{digits}f}{deviation}"


def table(trials: Sequence[Trial], title: str) -> Table:
    """Return the closing table: plain training against RRM, mean ± standard deviation over the seeds."""
    seeds = "one seed" if len(trials) == 1 else f"mean ± standard deviation over {len(trials)} seeds"
    view = Table(title=title, title_justify="left", caption=seeds, caption_justify="left")
    view.add_column("")
    for method in ("plain training", "RRM"):
        view.add_column(method, justify="right")

    def row(name: str, plain: str, weighted: str) -> None:
        view.add_row(name, plain, weighted)

    def seconds(outcomes: list[Outcome], part: str) -> str:
        return spread([getattr(outcome.seconds, part) for outcome in outcomes], 1.0, 2)

    plain, weighted = [trial.plain for trial in trials], [trial.weighted for trial in trials]
    row("test accuracy, %", spread([o.accuracy for o in plain]), spread([o.accuracy for o in weighted]))
    if plain[0].robust_accuracy is not None:
        robust = [spread([o.robust_accuracy for o in outcomes]) for outcomes in (plain, weighted)]
        row("the same under attack, %", *robust)
    row("wrong labels memorised, %", spread([o.memorised for o in plain]), spread([o.memorised for o in weighted]))
    row("labels made wrong, %", *2 * (spread([None if t.wrong is None else t.wrong.mean() for t in trials]),))
    row("flagged labels", "", spread([len(trial.rrm.flagged()) for trial in trials], 1.0, 0))
    row("  of them wrong (precision), %", "", spread([trial.precision for trial in trials]))
    row("  of the wrong, found (recall), %", "", spread([trial.recall for trial in trials]))
    for part in ("training", "scoring", "reweighting"):
        row(f"{part}, s", seconds(plain, part), seconds(weighted, part))
    return view


def results(source: str, settings: Settings, trials: Sequence[Trial]) -> dict[str, Any]:
    """Return everything that was measured, fit for JSON."""

    def outcome(o: Outcome) -> dict[str, Any]:
        return {
            "accuracy": o.accuracy,
            "robust_accuracy": o.robust_accuracy,
            "memorised": o.memorised,
            "seconds": asdict(o.seconds),
            "epochs": [asdict(epoch) for epoch in o.history.epochs],
        }

    return {
        "data": Path(source).name,
        "settings": asdict(settings),
        "machine": {"processor": platform.machine(), "cores": os.cpu_count(), "system": platform.system()},
        "versions": {"python": platform.python_version(), **{n: version(n) for n in ("rrm-core", "torch", "numpy")}},
        "trials": [
            {
                "seed": trial.seed,
                "samples": len(trial.labels),
                "wrong": None if trial.wrong is None else int(trial.wrong.sum()),
                "realised_noise": None if trial.wrong is None else float(trial.wrong.mean()),
                "plain": outcome(trial.plain),
                "rrm": outcome(trial.weighted),
                "flagged": len(trial.rrm.flagged()),
                "precision": trial.precision,
                "recall": trial.recall,
            }
            for trial in trials
        ],
    }


def prepare(folder: Path) -> None:
    """Create the folder and prove that it can be written, before any work is done; OSError otherwise."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OSError(f"report folder {str(folder)!r} can't be written: {error.strerror}; choose another") from error


def write(folder: Path, source: str, data: ImageData, settings: Settings, trials: Sequence[Trial]) -> list[str]:
    """Write the report of finished trials; flagged.csv and all pictures but curves.png show the first one.

    Parameters
    ----------
    folder : Path
        Exists and is writable, see `prepare`. Files of a former report are replaced, each when its successor is whole.
    source : str
        Where the data came from, as given by the user.
    data : ImageData
    settings : Settings
    trials : sequence of Trial, not empty

    Returns
    -------
    list of str
        Names of the files written. Without Matplotlib there are no pictures among them, and a former report's are
        removed.
    """
    with atomic_write(folder / "results.json") as file:
        file.write((json.dumps(_finite(results(source, settings, trials)), indent=1, allow_nan=False) + "\n").encode())
    with atomic_write(folder / "flagged.csv") as file:
        file.write(_flagged(trials[0]).encode())
    names = ["results.json", "flagged.csv"]
    if find_spec("matplotlib") is None:
        for name in PICTURES:
            (folder / name).unlink(missing_ok=True)
        return names

    from . import figures as pictures

    first = trials[0]
    figures = (
        pictures.curves(trials),
        pictures.weights(first),
        pictures.trajectory(first.rrm, first.wrong),
        pictures.suspicious(data, first),
    )
    for name, figure in zip(PICTURES, figures, strict=True):
        with atomic_write(folder / name) as file:
            figure.savefig(file, format="png", dpi=120)
    return [*names, *PICTURES]


def _finite(content: Any) -> Any:
    """Return JSON content with None where a number isn't finite, for which JSON has no word."""
    if isinstance(content, dict):
        return {name: _finite(value) for name, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def _flagged(trial: Trial) -> str:
    """Return the table of every training sample, the most suspicious first."""
    flagged, ranking = trial.rrm.flagged().tolist(), trial.rrm.ranking().tolist()
    issues, weights = set(flagged), trial.rrm.weights.numpy()
    predicted = trial.probabilities.argmax(1)
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(COLUMNS)
    for i in [*flagged, *(i for i in ranking if i not in issues)]:
        given = int(trial.labels[i])
        quality = float(trial.probabilities[i, given])  # the model's confidence in the given label
        rows.writerow([i, given, int(predicted[i]), f"{quality:.6g}", i in issues, f"{weights[i]:.6g}"])
    return text.getvalue()
