"""What an experiment consists of, and the files that its runs leave in a folder.

Of a run with key K: ``K.json``, its result; until there is one, ``K.pt``, its checkpoint, ``K.progress``, how far it
is, and ``K.error``, why it failed when it was last tried. A file is replaced whole or not at all, so that the folder
is in order whenever the work is stopped.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TypeAlias

from rrm_core._atomic_write import atomic_write

from . import environment as origin

NUMBERS = re.compile(r"\[((?:[-+.,eE\d\s]|null)*)\]")
JSON: TypeAlias = "dict[str, JSON] | list[JSON] | str | int | float | bool | None"
OnEpoch: TypeAlias = Callable[[int, int], None]


@dataclass(frozen=True)
class Run:
    """One training, or what else gives one line of a table for one seed.

    Attributes
    ----------
    method : str
        The row of the table.
    settings : dict
        Everything that decides the result but the seed, as JSON: a run with other settings is another run.
    seed : int
    """

    method: str
    settings: dict[str, JSON]
    seed: int

    @property
    def key(self) -> str:
        """The run's name, for files: readable, and another one for every method, settings and seed."""
        content = json.dumps([self.method, self.settings, self.seed], sort_keys=True, allow_nan=False)
        digest = hashlib.sha256(content.encode()).hexdigest()[:10]
        words = re.sub(r"[^a-z0-9.]+", "-", self.method.lower()).strip("-.")[:48]
        return f"{words or 'run'}-seed{self.seed}-{digest}"


Execute: TypeAlias = Callable[[Run, Path, Path, OnEpoch], dict[str, Any]]


@dataclass(frozen=True)
class Experiment:
    """Many runs, of which one table is made.

    Attributes
    ----------
    name : str
        As on the command line.
    description : str
        One line for ``--help``.
    data : tuple of str
        Names of the files or folders that it needs in the data folder; ``"a|b"`` is either.
    runs : callable
        ``runs(seeds)``: the runs with seeds 0 to seeds-1, in the table's order.
    execute : callable
        ``execute(run, data, checkpoint, on_epoch)``: do a run and return its result, as JSON. A function of a module,
        since it goes to other processes. `data` is the data folder. If the file `checkpoint` exists, the run goes on
        from there; it is to be replaced, whole, before each ``on_epoch(done, total)``.
    """

    name: str
    description: str
    data: tuple[str, ...]
    runs: Callable[[int], list[Run]]
    execute: Execute


def located(data: Path, names: str) -> Path | None:
    """Return the first of the names, separated by ``|``, that the data folder has; None if it has none."""
    return next((data / name for name in names.split("|") if (data / name).exists()), None)


@dataclass(frozen=True)
class Spent:
    """What an unfinished run has cost so far.

    Attributes
    ----------
    seconds : float
        Time up to its checkpoint, in all processes that had it.
    commits : list of str or None
        Code that it was executed by.
    done, total : int
        Epochs.
    """

    seconds: float = 0.0
    commits: list[str | None] | None = None
    done: int = 0
    total: int = 0


@dataclass(frozen=True)
class Folder:
    """The folder that an experiment's runs leave their files in.

    Attributes
    ----------
    path : Path
    """

    path: Path

    def result(self, run: Run) -> Path:
        """Return where the run's result is, or will be."""
        return self.path / f"{run.key}.json"

    def checkpoint(self, run: Run) -> Path:
        """Return where the unfinished run's checkpoint is, or will be."""
        return self.path / f"{run.key}.pt"

    def progress(self, run: Run) -> Path:
        """Return where it is noted how far the unfinished run is."""
        return self.path / f"{run.key}.progress"

    def error(self, run: Run) -> Path:
        """Return where the traceback of a run that failed is."""
        return self.path / f"{run.key}.error"

    def finished(self, run: Run) -> dict[str, Any] | None:
        """Return what `carry_out` has written about the run, or None if it isn't finished.

        Raises
        ------
        ValueError
            The file exists, and isn't about this run.
        """
        path = self.result(run)
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except ValueError as error:
            raise ValueError(f"{path.name} in {str(self.path)!r} is damaged; remove it to repeat the run") from error
        # Through JSON as well: it knows no tuples.
        if not isinstance(found, dict) or found.get("run") != json.loads(json.dumps(asdict(run))):
            raise ValueError(f"{path.name} in {str(self.path)!r} isn't about its run; remove it to repeat the run")
        return found

    def spent(self, run: Run) -> Spent:
        """Return what the unfinished run has cost; nothing if there is no checkpoint to go on from."""
        if not self.checkpoint(run).exists():
            return Spent()
        try:
            return Spent(**json.loads(self.progress(run).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):  # lost in a power cut, and not worth the checkpoint
            return Spent()

    def forget(self, run: Run) -> None:
        """Remove what only an unfinished run needs."""
        for path in self.path.glob(f"{run.key}.*"):  # and whatever was being written when a process was killed
            if path != self.result(run):
                path.unlink(missing_ok=True)

    def state(self, run: Run) -> str:
        """Return in a few words how far the run is."""
        if self.finished(run) is not None:
            return "done"
        spent = self.spent(run)
        reached = f"epoch {spent.done} of {spent.total}" if spent.done else ""
        if self.error(run).exists():
            return f"failed after {reached}" if reached else "failed"
        return reached or "missing"


def planned(experiment: Experiment, seeds: int, only: Sequence[str] = ()) -> list[Run]:
    """Return the experiment's runs, in its order.

    Parameters
    ----------
    experiment : Experiment
    seeds : int
        How often each is repeated.
    only : sequence of str
        If there are any, the runs whose method contains one of them, in small letters or capitals.

    Raises
    ------
    ValueError
        None is left, or two are the same.
    """
    every = experiment.runs(seeds)
    if len({run.key for run in every}) < len(every):
        raise ValueError(f"{experiment.name} has the same run twice")
    runs = [run for run in every if not only or any(part.lower() in run.method.lower() for part in only)]
    if not runs:
        methods = ", ".join(dict.fromkeys(run.method for run in every))
        raise ValueError(f"no method of {experiment.name} contains {' or '.join(map(repr, only))}; it has {methods}")
    return runs


def carry_out(
    execute: Execute,
    run: Run,
    data: Path,
    folder: Folder,
    *,
    commit: str | None,
    workers: int = 1,
    on_epoch: OnEpoch = lambda _done, _total: None,
) -> float:
    """Do a run in this process, from its checkpoint if there is one, and write its result.

    Parameters
    ----------
    execute : callable
        The experiment's.
    run : Run
    data : Path
        The data folder.
    folder : Folder
        Exists.
    commit : str or None
        Of the code that this process has loaded.
    workers : int
        How many runs go on at once: without this number, the seconds say little.
    on_epoch : callable, optional
        Called as ``on_epoch(done, total)`` after each epoch.

    Returns
    -------
    float
        The seconds that it took, those before its checkpoint included.

    Raises
    ------
    Exception
        Whatever `execute` raises; ValueError or TypeError if its result isn't JSON. The traceback is kept in a file.
    """
    before = folder.spent(run)
    commits = list(dict.fromkeys([*(before.commits or []), commit]))
    start = time.perf_counter()

    def note(done: int, total: int) -> None:
        spent = Spent(before.seconds + time.perf_counter() - start, commits, done, total)
        with atomic_write(folder.progress(run), durable=False) as file:
            file.write(json.dumps(asdict(spent)).encode())

    def after(done: int, total: int) -> None:
        note(done, total)
        on_epoch(done, total)

    try:
        folder.error(run).unlink(missing_ok=True)
        note(before.done, before.total)  # before the first checkpoint of this code
        result = execute(run, data, folder.checkpoint(run), after)
        seconds = before.seconds + time.perf_counter() - start
        about = {
            "run": asdict(run),
            "result": result,
            "seconds": seconds,
            "workers": workers,
            "commit": "+".join(map(str, commits)) if any(commits) else None,
            "versions": origin.versions(),
            "machine": origin.machine(),
            "date": datetime.now(timezone.utc).date().isoformat(),
        }
        write(folder.result(run), about)
    except Exception:
        folder.error(run).write_text(traceback.format_exc(), encoding="utf-8")
        raise
    folder.forget(run)
    return seconds


def write(path: Path, content: Any) -> None:
    """Write JSON, so that the file is the former or the new one, whole, whatever happens.

    Raises
    ------
    ValueError, TypeError
        The content isn't JSON, which has no NaN; the file is left as it was.
    """
    text = json.dumps(content, indent=1, allow_nan=False)
    # A curve takes a line, not one for each of its numbers.
    text = NUMBERS.sub(lambda found: "[" + " ".join(found[1].split()) + "]", text)
    with atomic_write(path) as file:
        file.write(f"{text}\n".encode())
