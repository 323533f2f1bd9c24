"""The command line of the experiments: ``python -m experiments NAME``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from rrm_core._atomic_write import resolve_output
from rrm_core._cli import (
    BAD_INPUT,
    DONE,
    FAILED,
    INTERRUPTED,
    CommandError,
    Parser,
    exit_code,
    positive_int,
    print_error,
    report_interrupt,
    run,
)

from .display import ProgressDisplay
from .registry import EXPERIMENTS, RECIPES, load, names
from .runner import environment
from .runner.jobs import Experiment, Job, check_data, check_packages, plan_jobs
from .runner.pool import Event, run_experiment
from .runner.results import collect, split, uncommitted_methods
from .runner.run_directory import RunDirectory, write_json

MAX_COUNT = 1024  # of seeds, and of workers
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
        Exit code: 0 done, 1 runs failed, 2 bad input, 130 interrupted, 141 output cut off.
    """
    return run(PROGRAM, _run_command, arguments)


def _run_command(arguments: Sequence[str] | None) -> int:
    options = make_parser().parse_args(arguments)
    console = Console(markup=False, highlight=False, soft_wrap=True)
    with exit_code(BAD_INPUT, ValueError, OSError):
        experiment = load(options.name)
        if options.quick:
            experiment = experiment.quick_version()
        directory = RunDirectory(options.work or Path("report-experiments") / experiment.name)
        jobs = plan_jobs(experiment, options.seeds, options.only)
        if options.begin_with:
            _split_record(options.begin_with, experiment, directory)
        statuses = [directory.status(job) for job in jobs]
        if options.list:
            _print_statuses(console, jobs, statuses)
            return DONE
        if statuses.count("done") < len(jobs):
            check_packages(experiment)
        check_data(experiment, options.data)
        if options.record:
            _check_recordable(options, experiment, jobs, directory)
    code = _execute(options, experiment, jobs, statuses.count("done"), directory, console)
    if options.record and code != INTERRUPTED:
        # Without a record, failed runs stay the reason of the exit code.
        with report_interrupt(options.record):
            with exit_code(code or BAD_INPUT, ValueError, OSError):
                _record(experiment, options.seeds, directory.path, options.record, options.draft)
            console.print(f"recorded in {options.record}")
    return code


def _print_statuses(console: Console, jobs: Sequence[Job], statuses: Sequence[str]) -> None:
    for job, status in zip(jobs, statuses, strict=True):
        console.print(f"{status:20} {job.key}")
    console.print(f"{statuses.count('done')} of {len(jobs)} runs are done")


def _execute(
    options: argparse.Namespace,
    experiment: Experiment,
    jobs: Sequence[Job],
    n_done: int,
    directory: RunDirectory,
    console: Console,
) -> int:
    """Execute the jobs and print the outcome; return the exit code."""
    n_jobs = len(jobs)
    display = ProgressDisplay(console, experiment.name, n_jobs, n_done)

    def on_event(event: Event) -> None:
        display.show(event)
        if event.kind == "failed":
            print_error(PROGRAM, f"{event.job.key}: {event.error}")

    try:
        # OSError: there is no memory for another process, for example.
        with exit_code(BAD_INPUT, ValueError), exit_code(FAILED, OSError), display:
            errors = run_experiment(
                experiment,
                options.seeds,
                options.data or Path(),
                directory.path,
                options.workers,
                on_event,
                options.only,
            )
    except KeyboardInterrupt:
        # A worker may have finished a job that the display does not know of yet.
        n_done = sum(directory.result_path(job).exists() for job in jobs)
        console.print(f"Interrupted; {n_done} of {n_jobs} runs are done.")
        console.print("The same command resumes from here.")
        return INTERRUPTED
    if errors:
        console.print(f"{len(errors)} of {n_jobs} runs failed; see the .error files in {directory.path}")
        return FAILED
    console.print(f"{n_jobs} of {n_jobs} runs are done; results in {directory.path}")
    return DONE


def _check_recordable(
    options: argparse.Namespace, experiment: Experiment, jobs: Sequence[Job], directory: RunDirectory
) -> None:
    """Raise before the work what `_record` would raise after it."""
    resolve_output(options.record, "record")
    if not options.draft and (environment.commit() or "").endswith(environment.DIRTY):
        sources = ", ".join(environment.SOURCES)
        raise ValueError(f"commit first: a record names its commit, and there are changes in {sources}; or add --draft")
    others = [job for job in plan_jobs(experiment, options.seeds) if job not in jobs]
    n_missing = sum(directory.read_result(job) is None for job in others)
    if n_missing and not options.draft:
        raise ValueError(f"--only leaves out {n_missing} runs that a record needs; leave it out, or add --draft")


def _split_record(path: Path, experiment: Experiment, directory: RunDirectory) -> None:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        split(record if isinstance(record, dict) else {}, experiment, directory)
    except (ValueError, KeyError, TypeError) as error:
        raise CommandError(f"can't begin with {str(path)!r}: {error}", BAD_INPUT) from error


def _record(experiment: Experiment, seeds: int, results: Path, path: Path, draft: bool) -> None:
    record = collect(experiment, seeds, results, partial=draft)
    methods = uncommitted_methods(record)
    if methods and not draft:
        raise ValueError(
            f"not recorded: uncommitted code made runs of {', '.join(methods)}; remove their results and repeat them, "
            "or add --draft"
        )
    write_json(path, record)


def _experiment_name(text: str) -> str:
    if text not in names():
        raise argparse.ArgumentTypeError(f"there is no experiment {text!r}; there are {', '.join(names())}")
    return text


def make_parser() -> Parser:
    """Return the argument parser."""
    width = max(map(len, names()))
    listed, recipes = (
        "\n".join(f"  {name:{width}}  {description}" for name, (_, description) in entries.items())
        for entries in (EXPERIMENTS, RECIPES)
    )
    parser = Parser(
        prog=PROGRAM,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="""\
Execute an experiment: many training runs, several at a time. Results are
kept: if the command is interrupted or killed, the same command resumes and
repeats at most one epoch of each run. A run is identified by everything that
determines its result: after a change of settings only new runs are executed.""",
        epilog=f"""\
experiments:
{listed}

recipes for a GPU machine, see docs/recipes.md:
{recipes}

examples:
  show what is done
    {PROGRAM} mnist-table6 --list
  try one method with one seed
    {PROGRAM} mnist-table6 --data ~/data --seeds 1 --only rrm
  try all methods in minutes, without data
    {PROGRAM} systems --quick
  try a recipe without a GPU or data
    {PROGRAM} clothing1m --quick --work try
  execute all of it, two runs at a time, and record the results for a table
    {PROGRAM} mnist-table6 --data ~/data --workers 2 --record mnist_table6.json""",
    )
    count = positive_int(MAX_COUNT)
    parser.add_argument("name", type=_experiment_name, metavar="NAME", help="the experiment, see below")
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder with the data that the experiment needs")
    parser.add_argument("--seeds", type=count, default=3, metavar="K", help="repeat with seeds 0 to K-1 (default: 3)")
    parser.add_argument(
        "--workers",
        type=count,
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
        "--begin-with", type=Path, metavar="FILE", help="an earlier record, perhaps a draft, whose results are reused"
    )
    parser.add_argument(
        "--only", nargs="+", default=(), metavar="METHOD", help="only runs whose method contains one of these words"
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="a small version without data, to see that all runs (systems and recipes only)",
    )
    parser.add_argument("--list", action="store_true", help="show what is done and what is missing, and train nothing")
    parser.add_argument(
        "--record",
        type=Path,
        metavar="FILE",
        help="when all runs are done, write their results to this JSON file; only committed code is recorded",
    )
    parser.add_argument(
        "--draft",
        action="store_true",
        help="record the existing results, even of uncommitted code or with runs missing",
    )
    return parser
