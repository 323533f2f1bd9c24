"""The command line: ``python -m experiments``."""

from __future__ import annotations

import argparse
import io
import json
import sys
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import NoReturn

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.text import Text

from .registry import EXPERIMENTS, load
from .runner import environment as origin
from .runner import results as record
from .runner.jobs import Experiment, Folder, planned, write
from .runner.pool import Event, check_data, work

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130  # the last by convention of the shell: 128 + SIGINT
MOST = 1024  # seeds, and workers
PROGRAM = "python -m experiments"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        By default those of the process.

    Returns
    -------
    int
        Exit code: 0 done, 1 runs failed, 2 bad input, 130 interrupted.
    """
    options = _parser().parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    folder = options.work or Path("report-experiments") / options.name
    console = Console(markup=False, highlight=False, soft_wrap=True)
    try:
        experiment = load(options.name)
        runs = planned(experiment, options.seeds, options.only)
        kept = Folder(folder)
        if options.begin_with:
            _begin_with(options.begin_with, experiment, kept)
        states = [kept.state(run) for run in runs]
        if options.list:
            for run, state in zip(runs, states, strict=True):
                console.print(f"{state:20} {run.key}")
            console.print(f"{states.count('done')} of {len(runs)} runs are done")
            return 0
        check_data(experiment, options.data)
        if options.record:
            _check_record(options.record, options.draft)
            others = [run for run in planned(experiment, options.seeds) if run not in runs]
            lacking = sum(kept.finished(run) is None for run in others)
            if lacking and not options.draft:
                raise ValueError(f"--only leaves out {lacking} runs that a record needs; leave it out, or add --draft")
    except (ValueError, OSError) as error:
        return _fail(error, BAD_INPUT)

    display = _Display(console, experiment.name, len(runs), states.count("done"))
    code = 0
    try:
        with display:
            failed = work(
                experiment,
                options.seeds,
                options.data or Path(),
                folder,
                options.workers,
                display.show,
                options.only,
            )
    except KeyboardInterrupt:
        console.print(f"Interrupted; {display.outlook.finished} of {len(runs)} runs are done.")
        console.print("The same command goes on from here.")
        return INTERRUPTED
    except ValueError as error:
        return _fail(error, BAD_INPUT)
    except OSError as error:  # no memory for another process
        return _fail(error, FAILED)
    if failed:
        console.print(f"{len(failed)} of {len(runs)} runs failed; how, say the .error files in {folder}")
        code = FAILED
    else:
        console.print(f"{len(runs)} of {len(runs)} runs are done; results in {folder}")
    if options.record:
        try:
            _record(experiment, options.seeds, folder, options.record, options.draft)
        except (ValueError, OSError) as error:
            return _fail(error, code or BAD_INPUT)
        console.print(f"recorded in {options.record}")
    return code


def _fail(error: Exception | str, code: int) -> int:
    what = " ".join(str(error).split()) or type(error).__name__
    print(f"{PROGRAM}: error: {what}", file=sys.stderr)
    return code


def _check_record(path: Path, draft: bool) -> None:
    """Refuse before the work what would be refused after it."""
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise ValueError(f"record {str(path)!r} can't be written: it must be a file in a folder that exists")
    if not draft and (origin.commit() or "").endswith(origin.DIRTY):
        sources = ", ".join(origin.SOURCES)
        raise ValueError(f"commit first: a record names its commit, and there are changes in {sources}; or add --draft")


def _begin_with(path: Path, experiment: Experiment, folder: Folder) -> None:
    try:
        earlier = json.loads(path.read_text(encoding="utf-8"))
        record.take_apart(earlier if isinstance(earlier, dict) else {}, experiment, folder)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"can't begin with {str(path)!r}: {error}") from error


def _record(experiment: Experiment, seeds: int, folder: Path, path: Path, draft: bool) -> None:
    collected = record.collect(experiment, seeds, folder, partial=draft)
    methods = record.dirty(collected)
    if methods and not draft:
        raise ValueError(
            f"not recorded: uncommitted code made runs of {', '.join(methods)}; remove their results and repeat them, "
            "or add --draft"
        )
    write(path, collected)


class Outlook:
    """How far the work is, and when it will be done.

    A run counts as much as any other, and its epochs too: an estimate, the better the more alike they are.

    Parameters
    ----------
    total : int
        Runs.
    finished : int
        Those that were done before.
    now : float
        Seconds, on any clock.

    Attributes
    ----------
    total, finished : int
        Runs.
    """

    def __init__(self, total: int, finished: int, now: float) -> None:
        self.total, self.finished = total, finished
        self._start = self._latest = now
        self._ended = finished  # those that failed included
        self._gained = 0.0  # runs' worth of epochs since the start, not counting what checkpoints saved
        self._share: dict[str, float] = {}  # of each run in progress: how much of it is done
        self._alone = 0.0  # seconds that the slowest run in progress needs by its own pace
        self._began: dict[str, tuple[float, float]] = {}  # when, and at which share

    def note(self, event: Event, now: float) -> None:
        """Take account of an event at the time `now`."""
        key = event.run.key
        if event.kind == "started":
            self._began[key] = (now, -1.0)
            self._share[key] = 0.0
            return
        if event.kind == "epoch":
            share = event.done / event.total
            since, begun = self._began.get(key, (now, 0.0))
            if begun < 0:  # the first epoch here is the one after the checkpoint
                begun = self._share[key] = (event.done - 1) / event.total
                self._began[key] = (since, begun)
            self._gained += share - self._share[key]
            self._share[key] = share
        else:
            begun = self._began.pop(key, (now, 0.0))[1]
            self._gained += 1 - self._share.pop(key, 0.0)
            self._ended += 1
            self.finished += event.kind == "done"
        self._latest = now
        paces = [(self._share[k], *self._began[k]) for k in self._share]
        self._alone = max(
            ((1 - share) * (now - since) / (share - begun) for share, since, begun in paces if share > begun >= 0),
            default=0.0,
        )

    def left(self, now: float) -> float | None:
        """Return the seconds that are left at the time `now`, or None as long as nothing is known."""
        if self._ended == self.total:
            return 0.0
        if not self._gained:
            return None
        to_do = self.total - self._ended - sum(self._share.values())
        together = to_do * (self._latest - self._start) / self._gained
        return max(0.0, max(together, self._alone) - (now - self._latest))

    def line(self, now: float) -> str:
        """Return it in words."""
        left = self.left(now)
        shown = "" if left is None else f", about {_clock(left)} left"
        return f"{self.finished} of {self.total} runs, {_clock(now - self._start)}{shown}"


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


class _Display:
    """Bars on a terminal, one overall and one a worker; elsewhere a line for each run that has ended."""

    def __init__(self, console: Console, name: str, total: int, finished: int) -> None:
        self.console, self.outlook = console, Outlook(total, finished, time.monotonic())
        columns = (TextColumn("{task.description}"), BarColumn(20), _Detail(self.outlook))
        self.progress = Progress(*columns, console=console, disable=not console.is_terminal, refresh_per_second=2)
        self.overall = self.progress.add_task(name, total=total, completed=finished)
        self.workers: dict[int, TaskID] = {}

    def __enter__(self) -> None:
        self.progress.start()

    def __exit__(self, *_: object) -> None:
        for task in self.workers.values():
            self.progress.remove_task(task)
        self.progress.stop()

    def show(self, event: Event) -> None:
        self.outlook.note(event, time.monotonic())
        key, outlook = event.run.key, self.outlook
        if event.kind == "done" and not self.console.is_terminal:
            self.console.print(f"{outlook.finished} of {outlook.total}: {key}, {event.seconds:.1f} s")
        if event.kind == "failed":
            _fail(f"{key}: {event.error}", FAILED)
        self.progress.update(self.overall, completed=outlook.finished)
        if event.kind == "started":
            self._forget(event.worker)
            self.workers[event.worker] = self.progress.add_task(f"  {key}", total=None, detail="starting")
        elif event.kind == "epoch":
            detail = f"epoch {event.done} of {event.total}"
            self.progress.update(self.workers[event.worker], completed=event.done, total=event.total, detail=detail)
        else:
            self._forget(event.worker)

    def _forget(self, worker: int) -> None:
        task = self.workers.pop(worker, None)
        if task is not None:
            self.progress.remove_task(task)


class _Detail(ProgressColumn):
    """What stands to the right of a bar; the overall one's goes on between two epochs."""

    max_refresh = None

    def __init__(self, outlook: Outlook) -> None:
        super().__init__()
        self.outlook = outlook

    def render(self, task: Task) -> Text:
        return Text(task.fields.get("detail") or self.outlook.line(time.monotonic()))


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MOST:
        raise argparse.ArgumentTypeError(f"must be an integer from 1 to {MOST}, got {text!r}")
    return int(text)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Say what is wrong in one line."""
        self.exit(BAD_INPUT, f"{self.prog}: error: {message}; see --help\n")


def _name(text: str) -> str:
    if text not in EXPERIMENTS:
        raise argparse.ArgumentTypeError(f"there is no experiment {text!r}; there are {', '.join(EXPERIMENTS)}")
    return text


def _parser() -> argparse.ArgumentParser:
    width = max(map(len, EXPERIMENTS))
    listed = "\n".join(f"  {name:{width}}  {description}" for name, (_, description) in EXPERIMENTS.items())
    parser = _Parser(
        prog=PROGRAM,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="""\
Carry out an experiment: many training runs, several at a time. What is done
stays done: stopped in whatever way, the same command goes on where it was and
repeats at most one epoch of each run. Runs are told apart by all that decides
their result, so after a change of settings only what is new is carried out.""",
        epilog=f"""\
experiments:
{listed}

examples:
  how far is it?
    {PROGRAM} mnist-table6 --list
  try one method with one seed
    {PROGRAM} mnist-table6 --data ~/data --seeds 1 --only rrm
  do all of it, two runs at a time, and keep the results for a table
    {PROGRAM} mnist-table6 --data ~/data --workers 2 --record mnist_table6.json""",
    )
    parser.add_argument("name", type=_name, metavar="NAME", help="which experiment, see below")
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder with the data that the experiment needs")
    parser.add_argument("--seeds", type=_count, default=3, metavar="K", help="repeat with seeds 0 to K-1 (default: 3)")
    parser.add_argument(
        "--workers",
        type=_count,
        default=2,
        metavar="W",
        help="runs at a time; one uses all cores, several use one each (default: 2)",
    )
    parser.add_argument(
        "--work",
        type=Path,
        metavar="DIR",
        help="folder for results and checkpoints (default: report-experiments/NAME)",
    )
    parser.add_argument(
        "--begin-with",
        type=Path,
        metavar="FILE",
        help="an earlier record, perhaps a draft, whose results need not be found again",
    )
    parser.add_argument(
        "--only", nargs="+", default=(), metavar="METHOD", help="only runs whose method contains one of these words"
    )
    parser.add_argument("--list", action="store_true", help="show what is done and what is missing, and train nothing")
    parser.add_argument(
        "--record",
        type=Path,
        metavar="FILE",
        help="when all runs are done, write their results to this JSON file; only committed code is recorded",
    )
    parser.add_argument(
        "--draft", action="store_true", help="record what there is, uncommitted code and missing runs included"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
