"""Access to an experiment's record for tables and figures: runs by method, mean and spread, provenance."""

from __future__ import annotations

import hashlib
import json
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

Record = dict[str, Any]  # see experiments.runner.results.collect
Run = dict[str, Any]
MISSING = "–"  # shown in a table where there is no value


def require_complete(record: Record) -> None:
    """Exit if runs are missing: a table of some seeds or methods would be mistaken for the whole."""
    if "missing" in record:  # recorded with --draft, even if the number is 0
        raise SystemExit(
            f"the record of {record['experiment']} is a draft that lacks {record['missing']} runs, and isn't rendered: "
            f"finish them, and record without --draft, with {current_command(record)}"
        )
    repeats = Counter(
        (_row_of(run), run["method"], json.dumps(run["settings"], sort_keys=True)) for run in record["runs"]
    )
    if len({(row, count) for (row, _, _), count in repeats.items()}) != len({row for row, _, _ in repeats}):
        raise SystemExit(f"the record of {record['experiment']} hasn't as many seeds for every method")


def current_command(record: Record) -> str:
    """Return the command that makes a record, with the current module: the experiments used to be part of rrm_torch."""
    return str(record["command"]).replace("-m rrm_torch.experiments", "-m experiments")


def methods(record: Record, **settings: Any) -> list[str]:
    """Return the methods with these settings, in the experiment's order."""
    return list(dict.fromkeys(run["method"] for run in record["runs"] if settings.items() <= run["settings"].items()))


def distinct(record: Record, setting: str) -> list[Any]:
    """Return the values of a setting, in the experiment's order."""
    return list(dict.fromkeys(run["settings"][setting] for run in record["runs"]))


def select(record: Record, method: str, **settings: Any) -> list[Run]:
    """Return the runs of a method with these settings, by seed."""
    runs = [run for run in record["runs"] if run["method"] == method and settings.items() <= run["settings"].items()]
    return sorted(runs, key=lambda run: run["seed"])


def results(record: Record, method: str, *path: str, **settings: Any) -> list[Any]:
    """Return the entry under `path` of each result, by seed; None where a method has none."""
    values = []
    for run in select(record, method, **settings):
        value: Any = run["result"]
        for name in path:
            value = None if value is None else value.get(name)
        values.append(value)
    return values


def metrics(runs: Iterable[Run], name: str) -> list[Any]:
    """Return a number of the results of some runs."""
    return [run["result"][name] for run in runs]


def spread(values: Iterable[float | None], scale: float = 100.0, digits: int = 1, sign: str = "") -> str:
    """Return mean ± sample standard deviation; the mean alone of a single value, and a dash without values."""
    scaled = [scale * value for value in values if value is not None]
    if not scaled:
        return MISSING
    mean = f"{statistics.mean(scaled):{sign},.{digits}f}".replace("-", "−")
    return mean + (f" ± {statistics.stdev(scaled):,.{digits}f}" if len(scaled) > 1 else "")


def seeds(record: Record) -> str:
    """Return in words what the cells of a table are: one seed, or mean and deviation over several."""
    by_row: dict[str, set[int]] = {}
    for run in record["runs"]:
        by_row.setdefault(_row_of(run), set()).add(run["seed"])
    fewest = min(map(len, by_row.values()))
    most = max(map(len, by_row.values()))
    if most == 1:
        return "one seed"
    return f"mean ± standard deviation over {fewest if fewest == most else f'{fewest} to {most}'} seeds"


def provenance(record: Record) -> str:
    """Return the line under a table: command, seeds, time, machine, versions, commits."""
    at_a_time = sorted({run["workers"] for run in record["runs"]})
    seconds = record["seconds"]
    hours = f"{seconds / 3600:.1f} hours" if seconds >= 3600 else f"{seconds / 60:.0f} minutes"
    pace = "" if at_a_time == [1] else f", {_listed(at_a_time)} at a time"
    versions = ", ".join(f"{name} {_listed(number)}" for name, number in record["versions"].items())
    processor = _listed(record["machine"]["processor"])
    cores = _listed(record["machine"]["cores"])
    commits = [_short(commit) for commit in record["commit"]]
    return (
        f"`{current_command(record)}`; {seeds(record)}; {len(record['runs'])} runs, {hours} of machine time in "
        f"all{pace}. "
        f"{processor}, {cores} cores; {versions}; commit{'s' * (len(commits) > 1)} {_listed(commits)}, "
        f"{record['date']}."
    )


def _row_of(run: Run) -> str:
    """Return the data set and the noise of a run, which may decide how many seeds there are; empty without them."""
    return f"{run['settings'].get('data', '')} {run['settings'].get('noise', '')}"


def digest(record: Record) -> str:
    """Return a hash of the record, independent of the layout of its file."""
    content = json.dumps(record, sort_keys=True, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(content.encode()).hexdigest()


def _listed(values: Any) -> str:
    """Return a value as text, or the values of runs that differ."""
    if isinstance(values, Sequence) and not isinstance(values, str):
        *first, last = map(str, values)
        return f"{', '.join(first)} and {last}" if first else last
    return str(values)


def _short(commit: str | None) -> str:
    if commit is None:
        return "unknown"
    name, _, state = commit.partition("-")  # keep "-dirty" when the digits are cut
    return name[:10] + (f"-{state}" if state else "")
