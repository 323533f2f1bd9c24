"""The closing table, and the report folder: what was found, as tables and pictures."""

from __future__ import annotations

import csv
import json
import os
import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from rich.table import Table

from .comparison import Outcome, Settings, Trial
from .images import ImageData

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = ("index", "given_label", "predicted_label", "label_quality", "is_label_issue", "sample_weight")
"""Columns of flagged.csv: cleanlab's names, preceded by the sample's index."""

COLOURS = {"plain": "tab:gray", "RRM": "tab:blue", "clean": "tab:blue", "wrong": "tab:red", "all": "tab:blue"}


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
        return {"accuracy": o.accuracy, "memorised": o.memorised, "seconds": asdict(o.seconds)}

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
    folder.mkdir(parents=True, exist_ok=True)
    probe = folder / ".writable"
    probe.touch()
    probe.unlink()


def write(folder: Path, source: str, data: ImageData, settings: Settings, trials: Sequence[Trial]) -> list[str]:
    """Write the report of finished trials; flagged.csv and the pictures of samples show the first one.

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
        Names of the files written. Without Matplotlib there are no pictures among them.
    """
    with _replace(folder / "results.json") as file:
        json.dump(results(source, settings, trials), file, indent=1)
        file.write("\n")
    with _replace(folder / "flagged.csv") as file:
        _write_flagged(file, trials[0])
    names = ["results.json", "flagged.csv"]
    if find_spec("matplotlib") is not None:
        pictures = {
            "curves": _curves(trials),
            "weights": _weights(trials[0]),
            "suspicious": _suspicious(data, trials[0]),
        }
        for name, figure in pictures.items():
            figure.savefig(folder / f"{name}.png", dpi=120)
            names.append(f"{name}.png")
    return names


@contextmanager
def _replace(path: Path) -> Iterator[IO[str]]:
    unfinished = path.with_name(path.name + ".tmp")
    with unfinished.open("w", newline="") as file:
        yield file
    unfinished.replace(path)


def _write_flagged(file: IO[str], trial: Trial) -> None:
    """Write every training sample, the most suspicious first."""
    flagged = set(trial.rrm.flagged().tolist())
    losses, weights = trial.rrm.losses.numpy(), trial.rrm.weights.numpy()
    predicted = trial.probabilities.argmax(1)
    rows = csv.writer(file, lineterminator="\n")
    rows.writerow(COLUMNS)
    for i in np.argsort(-losses, kind="stable").tolist():
        given = int(trial.labels[i])
        quality = float(trial.probabilities[i, given])  # the model's confidence in the given label
        rows.writerow([i, given, int(predicted[i]), f"{quality:.6g}", i in flagged, f"{weights[i]:.6g}"])


def _figure(columns: int, width: float, height: float) -> tuple[Figure, list[Any]]:
    from matplotlib.figure import Figure  # no pyplot: no global state, no display

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, [figure.add_subplot(1, columns, i + 1) for i in range(columns)]


def _curves(trials: Sequence[Trial]) -> Figure:
    figure, (accuracy, loss) = _figure(2, 9, 3.6)
    for name, outcomes in (("plain", [t.plain for t in trials]), ("RRM", [t.weighted for t in trials])):
        for axes, attribute, scale in ((accuracy, "accuracy", 100), (loss, "loss", 1)):
            curves = np.array([[scale * getattr(e, attribute) for e in o.history.epochs] for o in outcomes])
            epochs = np.arange(1, curves.shape[1] + 1)
            axes.plot(epochs, curves.T, color=COLOURS[name], alpha=0.25, linewidth=0.8)
            axes.plot(epochs, curves.mean(axis=0), color=COLOURS[name], label=name)
    warmup = trials[0].rrm.warmup
    for axes, title in ((accuracy, "test accuracy, %"), (loss, "training loss against the given labels")):
        axes.axvline(warmup, color="black", linestyle=":", linewidth=0.8, label="first reweight")
        axes.set(xlabel="epoch", title=title)
        axes.grid(alpha=0.3)
    accuracy.legend()
    return figure


def _weights(trial: Trial) -> Figure:
    figure, (means, final) = _figure(2, 9, 3.6)
    history = trial.weighted.history
    groups = history.members(trial.rrm.n)
    weights = trial.rrm.weights.numpy()
    for name in groups:
        label = f"{name} labels"
        means.plot(
            [e.epoch for e in history.epochs],
            [e.groups[name].mean_weight for e in history.epochs],
            color=COLOURS[name],
            label=label,
        )
    bins = np.linspace(0, max(float(weights.max()), 1.0) * 1.02, 31)
    final.hist(
        [weights[mask] for mask in groups.values()],
        bins=list(bins),
        color=[COLOURS[name] for name in groups],
        label=[f"{name} labels" for name in groups],
    )
    means.set(xlabel="epoch", title="mean weight", ylim=(-0.05, None))
    final.set(xlabel="weight", title="samples by weight, at the end", yscale="log")
    for axes in (means, final):
        axes.grid(alpha=0.3)
        axes.legend()
    return figure


def _suspicious(data: ImageData, trial: Trial, rows: int = 3, columns: int = 8) -> Figure:
    """Show the most suspicious samples with their given and predicted labels."""
    from matplotlib.figure import Figure

    worst = trial.rrm.flagged()[: rows * columns].numpy()
    predicted = trial.probabilities.argmax(1)
    figure = Figure(figsize=(1.35 * columns, 1.75 * rows + 0.5), layout="constrained")
    known = "" if trial.wrong is None else " (red: in truth the given label is right)"
    figure.suptitle(f"Most suspicious labels: given → predicted{known}", fontsize=11)
    for place, (i, picture) in enumerate(zip(worst.tolist(), data.pictures(worst), strict=True)):
        axes = figure.add_subplot(rows, columns, place + 1)
        axes.imshow(picture, cmap="gray_r" if picture.ndim == 2 else None, vmin=0, vmax=1)
        axes.set_axis_off()
        right = trial.wrong is not None and not trial.wrong[i]
        given, guess = data.classes[trial.labels[i]], data.classes[predicted[i]]
        axes.set_title(f"{given} → {guess}", fontsize=9, color="tab:red" if right else "black")
    return figure
