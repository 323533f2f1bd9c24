"""Experiments and the jobs that they consist of."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, TypeAlias

JSON: TypeAlias = "dict[str, JSON] | list[JSON] | str | int | float | bool | None"
OnEpoch: TypeAlias = Callable[[int, int], None]


@dataclass(frozen=True)
class Job:
    """One training run: one seed of one row of an experiment's table.

    Attributes
    ----------
    method : str
        The row of the table.
    settings : dict
        Everything except the seed that determines the result, as JSON. A job with other settings is another job.
    seed : int
    """

    method: str
    settings: dict[str, JSON]
    seed: int

    @property
    def key(self) -> str:
        """File name of the job: readable, and unique to its method, settings and seed."""
        content = json.dumps([self.method, self.settings, self.seed], sort_keys=True, allow_nan=False)
        digest = hashlib.sha256(content.encode()).hexdigest()[:10]
        words = re.sub(r"[^a-z0-9.]+", "-", self.method.lower()).strip("-.")[:48]
        return f"{words or 'run'}-seed{self.seed}-{digest}"


Execute: TypeAlias = Callable[[Job, Path, Path, OnEpoch], dict[str, Any]]


@dataclass(frozen=True)
class Experiment:
    """The jobs behind one table.

    Attributes
    ----------
    name : str
        Name on the command line.
    data : tuple of str
        Names of the files or folders that it needs in the data folder; ``"a|b"`` means either.
    jobs : callable
        ``jobs(seeds)`` returns the jobs with seeds 0 to seeds-1, in the table's order.
    execute : callable
        ``execute(job, data, checkpoint, on_epoch)`` executes a job and returns its result, as JSON. It must be a
        module-level function, because it is pickled for the worker processes. `data` is the data folder. If the file
        `checkpoint` exists, the job resumes from it; `execute` must replace it atomically before each
        ``on_epoch(done, total)``.
    packages : tuple of str
        Distributions that must be installed.
    packages_without_requirements : tuple of str
        Distributions that must be installed, but not what they require, such as old versions of other packages.
    quick : callable, optional
        Like `jobs`, for a version that runs in a few minutes and needs no data.
    """

    name: str
    data: tuple[str, ...]
    jobs: Callable[[int], list[Job]]
    execute: Execute
    packages: tuple[str, ...] = ()
    packages_without_requirements: tuple[str, ...] = ()
    quick: Callable[[int], list[Job]] | None = None

    def quick_version(self) -> Experiment:
        """Return the version that runs in a few minutes.

        Raises
        ------
        ValueError
            There is none.
        """
        if self.quick is None:
            raise ValueError(f"{self.name} has no quick version; --only METHOD and --seeds 1 run a part of it")
        return replace(self, name=f"{self.name}-quick", data=(), jobs=self.quick, quick=None)


def plan_jobs(experiment: Experiment, seeds: int, only: Sequence[str] = ()) -> list[Job]:
    """Return the experiment's jobs, in its order.

    Parameters
    ----------
    experiment : Experiment
    seeds : int
        Number of repetitions of each method.
    only : sequence of str
        If not empty, keep the jobs whose method contains one of these words, ignoring case.

    Raises
    ------
    ValueError
        No job is left, or two jobs are the same.
    """
    jobs = experiment.jobs(seeds)
    if len({job.key for job in jobs}) < len(jobs):
        raise ValueError(f"{experiment.name} has the same run twice")
    if not only:
        return jobs
    selected = [job for job in jobs if any(word.lower() in job.method.lower() for word in only)]
    if not selected:
        methods = ", ".join(dict.fromkeys(job.method for job in jobs))
        raise ValueError(f"no method of {experiment.name} contains {' or '.join(map(repr, only))}; it has {methods}")
    return selected


def find_data(data: Path, names: str) -> Path | None:
    """Return the path of the first of the names, separated by ``|``, in the data folder; None if there is none."""
    for name in names.split("|"):
        path = data / name
        if path.exists():
            return path
    return None


def check_packages(experiment: Experiment) -> None:
    """Raise a ValueError if a package that the experiment needs is not installed."""
    kinds = {
        "pip install": experiment.packages,
        "pip install --no-deps": experiment.packages_without_requirements,
    }
    commands = []
    for command, packages in kinds.items():
        missing = [name for name in packages if not _is_installed(name)]
        if missing:
            commands.append(f"{command} {' '.join(missing)}")
    if commands:
        raise ValueError(f"{experiment.name} needs packages that are not installed: {'; '.join(commands)}")


def _is_installed(package: str) -> bool:
    try:
        distribution(package)
    except PackageNotFoundError:
        return False
    return True


def check_data(experiment: Experiment, data: Path | None) -> None:
    """Check that the data folder holds what the experiment needs.

    Raises
    ------
    ValueError
        The folder or one of the files is missing; the message names it.
    """
    if not experiment.data:
        return
    required = ", ".join(name.replace("|", " or ") for name in experiment.data)
    if data is None:
        raise ValueError(f"{experiment.name} needs --data, a folder that holds {required}")
    if not data.is_dir():
        problem = "is a file" if data.exists() else "doesn't exist"
        raise ValueError(f"data folder {str(data)!r} {problem}; it should be a folder that holds {required}")
    missing = [name.replace("|", " or ") for name in experiment.data if find_data(data, name) is None]
    if missing:
        raise ValueError(f"data folder {str(data)!r} lacks {', '.join(missing)}; it should hold {required}")
