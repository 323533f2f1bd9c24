"""The command line ``python -m rrm_core``: reweight losses in files, or only plan; show the installation."""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

import rrm_core

from ._cli import (
    BAD_INPUT,
    DONE,
    FAILED,
    Parser,
    exit_code,
    exit_on_signals,
    installed_version,
    print_table,
    report_interrupt,
    report_progress,
    run,
)
from .backends.registry import unavailable_backends
from .cli_options import add_json, rule_and_source
from .cli_summary import print_plan

PROGRAM = "python -m rrm_core"
OPTIONAL_PACKAGES = ("pyarrow", "dask", "rich", "numba", "torch")
RULE_OPTIONS = ("contamination", "gamma", "redistribute", "ties", "nan", "cap", "mass")
STREAM_OPTIONS = ("groups", "n_groups", "column", "memory", "threads")

INPUT_ERRORS = (TypeError, ValueError, ImportError, FileNotFoundError, IsADirectoryError, PermissionError)
# A full disk, for example, or losses that change between two passes.
RUNTIME_ERRORS = (OSError, RuntimeError, MemoryError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Command-line arguments; those of the process by default.

    Returns
    -------
    int
        Exit code: 0 success, 1 failure while working, 2 invalid input, 130 interrupted, 141 output cut off.
    """
    return run(PROGRAM, _parse_and_run, arguments)


def _parse_and_run(arguments: Sequence[str] | None) -> int:
    options = make_parser().parse_args(arguments)
    return run(f"{PROGRAM} {options.command}", options.function, options)


# Subcommands


def run_plan(options: argparse.Namespace) -> int:
    """Print the plan of the losses in a file."""
    start = time.perf_counter()
    losses = _losses(options)
    with _stream_errors(), exit_on_signals(), report_progress() as progress:
        plan = rrm_core.stream.plan(losses, progress=progress, **_stream_arguments(options))
    print_plan(losses, plan, time.perf_counter() - start, as_json=options.json)
    return DONE


def run_reweight(options: argparse.Namespace) -> int:
    """Write the sample weights of the losses in a file, and print the plan."""
    with report_interrupt(options.out):
        start = time.perf_counter()
        losses = _losses(options)
        with _stream_errors(), exit_on_signals(), report_progress() as progress:
            if options.mu < 1 and options.weights is None:
                raise ValueError("--mu below 1 needs the current weights: give --weights")
            if options.weights is not None and options.mu == 1:
                raise ValueError("--weights are read only with a --mu below 1: give that too, or leave them out")
            plan = rrm_core.stream.reweight(
                losses,
                options.out,
                weights=options.weights,
                mu=options.mu,
                progress=progress,
                **_stream_arguments(options),
            )
        print_plan(losses, plan, time.perf_counter() - start, as_json=options.json, weights=options.out)
    return DONE


def run_info(options: argparse.Namespace) -> int:
    """Print versions, available backends and the processor features in use."""
    print_table(_installation(), as_json=options.json)
    return DONE


@contextmanager
def _stream_errors() -> Iterator[None]:
    """Convert errors to exit codes."""
    with exit_code(FAILED, *RUNTIME_ERRORS), exit_code(BAD_INPUT, *INPUT_ERRORS):
        yield


def _losses(options: argparse.Namespace) -> str | list[str]:
    """Return the losses as the library takes them: one path, or a list."""
    if len(options.losses) == 1:
        return str(options.losses[0])
    return list(options.losses)


def _stream_arguments(options: argparse.Namespace) -> dict[str, Any]:
    return {name: getattr(options, name) for name in (*RULE_OPTIONS, *STREAM_OPTIONS)}


# Output


def _installation() -> dict[str, Any]:
    table: dict[str, Any] = {
        "rrm-core": rrm_core.__version__,
        "Python": platform.python_version(),
        "NumPy": version("numpy"),
        "backends": list(rrm_core.available_backends()),
    }
    for name, reason in unavailable_backends().items():
        table[f"{name} backend"] = reason
    try:
        cpu = rrm_core.cpu_info()
    except ImportError:
        table["instruction set"] = None
    else:
        table["instruction set"] = cpu.instruction_set
        table["best instruction set"] = cpu.best_instruction_set
        table["threads"] = cpu.threads
    for package in OPTIONAL_PACKAGES:
        table[package] = installed_version(package)
    return table


# Argument parser

EXAMPLES = """\
file formats
  .npy               a vector of float16, float32 or float64
  .parquet           a column of one of these types; a null counts as NaN
  .arrow, .feather   likewise, in the file or the streaming format
  a folder           of files of one kind, read as one in natural order: part-2 before part-10

examples
  prune the 20 % of the samples with the highest losses
    python -m rrm_core reweight losses.npy --contamination 0.2 -o weights.npy
  move halfway from the previous weights to the new ones, and replace the file
    python -m rrm_core reweight losses.npy --contamination 0.2 --weights weights.npy --mu 0.5 -o weights.npy
  read a column of a table, write a table
    python -m rrm_core reweight run.parquet --column loss --gamma 1.5 -o weights.parquet
  read the files that several processes wrote, as one
    python -m rrm_core reweight rank-0.npy rank-1.npy --contamination 0.2 -o weights.npy
  prune another share of each of three sources, whose numbers are in the column "source"
    python -m rrm_core reweight run.parquet --column loss --groups source --contamination 0.1,0.3,0 -o weights.parquet
  prune 20 % in total, but no more than half of any of ten classes
    python -m rrm_core reweight losses.npy --groups class.npy --n-groups 10 --contamination 0.2 --cap 0.5 -o w.npy
  see the threshold and the counts without writing anything
    python -m rrm_core plan losses.npy --contamination 0.2

exit codes
  0 success; 1 failure while working, such as a full disk; 2 invalid input; 130 interrupted; 141 the reader of the
  output has ended, such as head"""


def make_parser() -> Parser:
    """Return the argument parser; ``function`` in the parsed options is the subcommand to run."""
    parser = Parser(
        prog=PROGRAM,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Exact Rockafellian reweighting of per-sample losses in files of any size: samples with a loss "
        "above\na threshold get weight 0, and their mass goes to the samples with low losses.",
        epilog=EXAMPLES,
    )
    parser.add_argument("--version", action="version", version=f"rrm-core {rrm_core.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    reweight = commands.add_parser(
        "reweight",
        parents=[rule_and_source()],
        help="read losses, write sample weights",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Write the sample weights of the losses in a file: 0 is pruned, 1 is unchanged, the mean is 1.\n"
        "The output file appears only once it is complete; an error or interrupt before leaves the previous one.",
        epilog=EXAMPLES,
    )
    reweight.add_argument(
        "-o",
        "--out",
        required=True,
        metavar="FILE",
        help="output file: .npy, .parquet, .arrow or .feather; an existing file is replaced at the end",
    )
    reweight.add_argument(
        "--weights", metavar="FILE", help="file or folder of the current weights; required if --mu is below 1"
    )
    reweight.add_argument(
        "--mu",
        type=float,
        default=1.0,
        metavar="MU",
        help="step from the current weights to the new ones, in (0, 1] (default: 1)",
    )
    reweight.set_defaults(function=run_reweight)
    plan = commands.add_parser(
        "plan",
        parents=[rule_and_source()],
        help="read losses, print the threshold and the counts, write nothing",
        description="Print what a reweight of the losses in a file would do: threshold, pruned samples, largest "
        "weight and more. Nothing is written.",
    )
    plan.set_defaults(function=run_plan)
    info = commands.add_parser("info", help="print versions, backends and processor features")
    add_json(info)
    info.set_defaults(function=run_info)
    return parser
