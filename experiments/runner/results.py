"""What is kept of an experiment: one file with the results of all its runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from . import environment as origin
from .jobs import Experiment, Folder, Run, planned, write


def collect(experiment: Experiment, seeds: int, folder: Path, partial: bool = False) -> dict[str, Any]:
    """Return the record of an experiment.

    Parameters
    ----------
    experiment : Experiment
    seeds : int
        How often each run is repeated.
    folder : Path
        Where the results are.
    partial : bool
        Return what there is, and the number of the runs that aren't finished as ``missing``.

    Returns
    -------
    dict
        ``experiment``; ``command``, which makes all of it; ``commit``, a list of those that the runs were made with,
        null for code outside a checkout; ``date`` of the last run; ``machine`` and ``versions``, with a list wherever
        the runs differ; ``seconds`` in total; ``runs``, in the experiment's order, each with ``method``, ``settings``,
        ``seed``, ``seconds``, ``workers``, ``commit`` and ``result``.

    Raises
    ------
    ValueError
        Runs are missing, and `partial` is false; or a file is damaged.
    """
    runs = planned(experiment, seeds)
    kept = Folder(folder)
    found = [one for run in runs if (one := kept.finished(run)) is not None]
    missing = len(runs) - len(found)
    if missing and not partial:
        raise ValueError(f"{missing} of {len(runs)} runs of {experiment.name} are missing")
    entries = [
        {
            **one["run"],
            "seconds": one["seconds"],
            "workers": one["workers"],
            "commit": one["commit"],
            "result": one["result"],
        }
        for one in found
    ]
    commits = {commit for one in found for commit in _commits(one["commit"])}
    data = " --data DIR" if experiment.data else ""
    return {
        "experiment": experiment.name,
        "command": f"python -m experiments {experiment.name}{data} --seeds {seeds}",
        "commit": sorted(commits, key=str),
        "date": max((one["date"] for one in found), default=datetime.now(timezone.utc).date().isoformat()),
        "machine": _merged([one["machine"] for one in found]),
        "versions": _merged([one["versions"] for one in found]),
        "seconds": sum(one["seconds"] for one in found),
        **({"missing": missing} if partial else {}),
        "runs": entries,
    }


def take_apart(record: dict[str, Any], experiment: Experiment, folder: Folder) -> int:
    """Write the results in a record to the files that its runs would have left, but for those that are there.

    Parameters
    ----------
    record : dict
        From `collect`, of this experiment.
    experiment : Experiment
    folder : Folder
        Made if it doesn't exist.

    Returns
    -------
    int
        How many results were written.

    Raises
    ------
    ValueError
        It is no record of this experiment.
    """
    name = record.get("experiment")
    if name != experiment.name or not isinstance(record.get("runs"), list):
        raise ValueError(f"that is no record of {experiment.name}" + (f", but of {name}" if name else ""))
    folder.path.mkdir(parents=True, exist_ok=True)
    written = 0
    for entry in record["runs"]:
        run = Run(entry["method"], entry["settings"], entry["seed"])
        if not folder.result(run).exists():
            kept = {name: entry[name] for name in ("result", "seconds", "workers", "commit")}
            about = {name: record[name] for name in ("versions", "machine", "date")}
            write(folder.result(run), {"run": asdict(run), **kept, **about})
            written += 1
    return written


def dirty(record: dict[str, Any]) -> list[str]:
    """Return the methods of a record of which a run was made by code that no commit holds."""
    return list(dict.fromkeys(run["method"] for run in record["runs"] if origin.DIRTY in (run["commit"] or "")))


def _commits(joined: str | None) -> list[str | None]:
    """Take apart what `carry_out` joined: None for code outside a checkout."""
    return [None if part == "None" else part for part in (joined or "None").split("+")]


def _merged(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for name in dict.fromkeys(name for part in parts for name in part):
        given = [part.get(name) for part in parts]
        # A list is of values that were merged before, in a record that was taken apart.
        flat = {one for value in given for one in (value if isinstance(value, list) else [value])}
        values = sorted(flat, key=str)
        merged[name] = values[0] if len(values) == 1 else values
    return merged
