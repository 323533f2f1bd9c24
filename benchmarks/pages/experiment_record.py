"""What the tables and the pictures need of an experiment's record: its runs by method, mean and spread, its origin."""

from __future__ import annotations

import hashlib
import json
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

Record = dict[str, Any]  # as experiments.record.collect returns it
Run = dict[str, Any]
NOTHING = "–"  # in a table, where there is no value


def require_complete(record: Record) -> None:
    """Leave if runs are missing: a table of some seeds, or of some methods, would be read as one of all."""
    if "missing" in record:  # recorded with --draft, whether or not any are
        raise SystemExit(
            f"the record of {record['experiment']} is a draft that lacks {record['missing']} runs, and isn't rendered: "
            f"finish them, and record without --draft, with {current_command(record)}"
        )
    repeats = Counter(json.dumps([run["method"], run["settings"]], sort_keys=True) for run in record["runs"])
    if len(set(repeats.values())) != 1:
        raise SystemExit(f"the record of {record['experiment']} hasn't as many seeds for every method")


def current_command(record: Record) -> str:
    """Return the command that makes a record, as it is called today: the experiments were once part of rrm_torch."""
    return str(record["command"]).replace("-m rrm_torch.experiments", "-m experiments")


def methods(record: Record, **settings: Any) -> list[str]:
    """Return the methods that were tried with these settings, in the experiment's order."""
    return list(dict.fromkeys(run["method"] for run in record["runs"] if settings.items() <= run["settings"].items()))


def different(record: Record, setting: str) -> list[Any]:
    """Return the values of a setting, in the experiment's order."""
    return list(dict.fromkeys(run["settings"][setting] for run in record["runs"]))


def chosen(record: Record, method: str, **settings: Any) -> list[Run]:
    """Return the runs of a method with these settings, by seed."""
    found = [run for run in record["runs"] if run["method"] == method and settings.items() <= run["settings"].items()]
    return sorted(found, key=lambda run: run["seed"])


def results(record: Record, method: str, *path: str, **settings: Any) -> list[Any]:
    """Return what came out, by seed: the entry under `path`, None where a method has none."""
    found = []
    for run in chosen(record, method, **settings):
        value: Any = run["result"]
        for name in path:
            value = None if value is None else value.get(name)
        found.append(value)
    return found


def spread(values: Iterable[float | None], scale: float = 100.0, digits: int = 1, sign: str = "") -> str:
    """Return mean ± sample standard deviation, the mean alone of one value, and a dash of none."""
    scaled = [scale * value for value in values if value is not None]
    if not scaled:
        return NOTHING
    mean = f"{statistics.mean(scaled):{sign},.{digits}f}".replace("-", "−")
    return mean + (f" ± {statistics.stdev(scaled):,.{digits}f}" if len(scaled) > 1 else "")


def seeds(record: Record) -> str:
    """Return how often each run was repeated, and so what the cells of a table are."""
    count = len({run["seed"] for run in record["runs"]})
    return "one seed" if count == 1 else f"mean ± standard deviation over {count} seeds"


def about(record: Record) -> str:
    """Return the line under a table: command, seeds, time, machine, versions, commits."""
    at_a_time = sorted({run["workers"] for run in record["runs"]})
    seconds = record["seconds"]
    hours = f"{seconds / 3600:.1f} hours" if seconds >= 3600 else f"{seconds / 60:.0f} minutes"
    pace = "" if at_a_time == [1] else f", {_listed(at_a_time)} at a time"
    versions = ", ".join(f"{name} {_listed(number)}" for name, number in record["versions"].items())
    processor, cores = (_listed(record["machine"][name]) for name in ("processor", "cores"))
    commits = [_short(commit) for commit in record["commit"]]
    return (
        f"`{current_command(record)}`; {seeds(record)}; {len(record['runs'])} runs, {hours} of machine time in "
        f"all{pace}. "
        f"{processor}, {cores} cores; {versions}; commit{'s' * (len(commits) > 1)} {_listed(commits)}, "
        f"{record['date']}."
    )


def digest(record: Record) -> str:
    """Return what tells a record from any other, however its file is laid out."""
    content = json.dumps(record, sort_keys=True, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(content.encode()).hexdigest()


def _listed(values: Any) -> str:
    """Return a value, or several that were merged where runs differ."""
    if isinstance(values, Sequence) and not isinstance(values, str):
        return " and ".join(map(str, values))
    return str(values)


def _short(commit: str | None) -> str:
    if commit is None:
        return "unknown"
    name, _, state = commit.partition("-")  # "-dirty" must not be lost with the digits
    return name[:10] + (f"-{state}" if state else "")
