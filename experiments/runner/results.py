"""The record of an experiment: one file with the results of all its jobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from . import environment
from .jobs import Experiment, Job, plan_jobs
from .run_directory import RunDirectory, write_json


def collect(experiment: Experiment, seeds: int, path: Path, partial: bool = False) -> dict[str, Any]:
    """Return the record of an experiment.

    Parameters
    ----------
    experiment : Experiment
    seeds : int
        Number of repetitions of each method.
    path : Path
        Directory with the results.
    partial : bool
        Accept missing jobs, and add their number as ``missing``.

    Returns
    -------
    dict
        ``experiment``; ``command``, which makes the whole record; ``commit``, a list of those of the code, null for
        code outside a checkout; ``date`` of the last job; ``machine`` and ``versions``, with a list wherever the jobs
        differ; ``seconds`` in total; ``runs``, in the experiment's order, each with ``method``, ``settings``,
        ``seed``, ``seconds``, ``workers``, ``commit`` and ``result``.

    Raises
    ------
    ValueError
        Jobs are missing and `partial` is false, or a result is damaged.
    """
    jobs = plan_jobs(experiment, seeds)
    directory = RunDirectory(path)
    results = [result for job in jobs if (result := directory.read_result(job)) is not None]
    missing = len(jobs) - len(results)
    if missing and not partial:
        raise ValueError(f"{missing} of {len(jobs)} runs of {experiment.name} are missing")
    runs = [
        {
            **result["run"],
            "seconds": result["seconds"],
            "workers": result["workers"],
            "commit": result["commit"],
            "result": result["result"],
        }
        for result in results
    ]
    commits = {commit for result in results for commit in _split_commits(result["commit"])}
    data = " --data DIR" if experiment.data else ""
    return {
        "experiment": experiment.name,
        "command": f"python -m experiments {experiment.name}{data} --seeds {seeds}",
        "commit": sorted(commits, key=str),
        "date": max((result["date"] for result in results), default=environment.today()),
        "machine": _merge([result["machine"] for result in results]),
        "versions": _merge([result["versions"] for result in results]),
        "seconds": sum(result["seconds"] for result in results),
        **({"missing": missing} if partial else {}),
        "runs": runs,
    }


def split(record: dict[str, Any], experiment: Experiment, directory: RunDirectory) -> None:
    """Write the results in a record to one file a job, except those that exist: the inverse of `collect`.

    Parameters
    ----------
    record : dict
        From `collect`, of this experiment.
    experiment : Experiment
    directory : RunDirectory
        Created if it does not exist.

    Raises
    ------
    ValueError
        It is not a record of this experiment.
    """
    name = record.get("experiment")
    if name != experiment.name or not isinstance(record.get("runs"), list):
        raise ValueError(f"that is no record of {experiment.name}" + (f", but of {name}" if name else ""))
    directory.path.mkdir(parents=True, exist_ok=True)
    for run in record["runs"]:
        job = Job(run["method"], run["settings"], run["seed"])
        if not directory.result_path(job).exists():
            of_job = {key: run[key] for key in ("result", "seconds", "workers", "commit")}
            of_record = {key: record[key] for key in ("versions", "machine", "date")}
            write_json(directory.result_path(job), {"run": asdict(job), **of_job, **of_record})


def uncommitted_methods(record: dict[str, Any]) -> list[str]:
    """Return the methods of a record with a job that uncommitted code executed."""
    methods = (run["method"] for run in record["runs"] if environment.DIRTY in (run["commit"] or ""))
    return list(dict.fromkeys(methods))


def _split_commits(commits: str | None) -> list[str | None]:
    """Split the commits that `run_job` joined; None stands for code outside a checkout."""
    return [None if commit == "None" else commit for commit in (commits or "None").split("+")]


def _merge(entries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Merge dictionaries; an entry that differs becomes the sorted list of its values."""
    merged: dict[str, Any] = {}
    for name in dict.fromkeys(name for entry in entries for name in entry):
        distinct: set[Any] = set()
        for entry in entries:
            value = entry.get(name)
            # A list holds values that were merged before, in a record that was split.
            distinct.update(value if isinstance(value, list) else [value])
        values = sorted(distinct, key=str)
        merged[name] = values[0] if len(values) == 1 else values
    return merged
