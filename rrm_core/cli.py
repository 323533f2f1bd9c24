"""The command line ``python -m rrm_core``: reweight losses in files, or only plan; show the installation."""

from __future__ import annotations

import argparse
import platform
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
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
    number_or_name,
    positive_int,
    print_table,
    report_interrupt,
    report_progress,
    run,
)
from .backends.registry import unavailable_backends
from .cli_groups import group_rows, group_summary, shares, short_rule
from .definition.group_plan import GroupedPlan
from .definition.plan import Plan

PROGRAM = "python -m rrm_core"
SIZE_UNITS = {"": 0, "K": 10, "M": 20, "G": 30}  # binary logarithms
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
    with _stream_errors(), exit_on_signals(), report_progress() as progress:
        plan = rrm_core.stream.plan(_losses(options), progress=progress, **_stream_arguments(options))
    _print(_summary(options, plan, time.perf_counter() - start), plan, as_json=options.json)
    return DONE


def run_reweight(options: argparse.Namespace) -> int:
    """Write the sample weights of the losses in a file, and print the plan."""
    with report_interrupt(options.out):
        summary, plan = _reweight(options)
        _print(summary, plan, as_json=options.json)
    return DONE


def _reweight(options: argparse.Namespace) -> tuple[dict[str, Any], Plan | GroupedPlan]:
    start = time.perf_counter()
    with _stream_errors(), exit_on_signals(), report_progress() as progress:
        if options.mu < 1 and options.weights is None:
            raise ValueError("--mu below 1 needs the current weights: give --weights")
        if options.weights is not None and options.mu == 1:
            raise ValueError("--weights are read only with a --mu below 1: give that too, or leave them out")
        plan = rrm_core.stream.reweight(
            _losses(options),
            options.out,
            weights=options.weights,
            mu=options.mu,
            progress=progress,
            **_stream_arguments(options),
        )
    summary = _summary(options, plan, time.perf_counter() - start)
    summary["weights"] = options.out
    return summary, plan


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


def _summary(options: argparse.Namespace, plan: Plan | GroupedPlan, seconds: float) -> dict[str, Any]:
    rule = asdict(plan.rule)
    if isinstance(plan, GroupedPlan):
        rule = short_rule(rule)
        counts = group_summary(plan)
    else:
        del rule["cap"], rule["mass"]
        counts = {
            "threshold": plan.threshold,
            "smallest loss": plan.loss_min,
            "gamma": plan.gamma,
            "pruned": plan.n_pruned,
            "pruned share": plan.pruned_fraction,
            "NaN": plan.n_nan,
            "tied": plan.n_tied,
            "recipients": plan.n_recipients,
        }
    return {
        "losses": _losses(options),
        "samples": plan.n,
        "type": plan.dtype,
        "rule": rule,
        **counts,
        "largest weight": plan.largest_weight,
        "effective size": plan.effective_sample_size,
        "total variation": plan.total_variation,
        "seconds": round(seconds, 3),
    }


def _print(summary: dict[str, Any], plan: Plan | GroupedPlan, *, as_json: bool) -> None:
    """Print a summary; and the groups: as JSON all of them, otherwise those of which the largest share is pruned."""
    if not isinstance(plan, GroupedPlan):
        print_table(summary, as_json=as_json)
    elif as_json:
        print_table(summary | {"by group": group_rows(plan)}, as_json=True)
    else:
        print_table(summary)
        print(str(plan).partition("\n")[2])


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
    rule_and_source = _rule_and_source()
    reweight = commands.add_parser(
        "reweight",
        parents=[rule_and_source],
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
        parents=[rule_and_source],
        help="read losses, print the threshold and the counts, write nothing",
        description="Print what a reweight of the losses in a file would do: threshold, pruned samples, largest "
        "weight and more. Nothing is written.",
    )
    plan.set_defaults(function=run_plan)
    info = commands.add_parser("info", help="print versions, backends and processor features")
    _add_json(info)
    info.set_defaults(function=run_info)
    return parser


def _rule_and_source() -> Parser:
    """Return a parent parser with the options that ``plan`` and ``reweight`` share."""
    parser = Parser(add_help=False)
    parser.add_argument(
        "losses",
        metavar="LOSSES",
        nargs="+",
        help="file of losses: .npy, .parquet, .arrow or .feather; several files, in this order, or a folder of "
        "files, in the natural order of their names, are read as one",
    )
    threshold = parser.add_mutually_exclusive_group(required=True)
    threshold.add_argument(
        "--contamination",
        type=shares,
        metavar="C",
        help="share of samples to prune, in [0, 1): the estimated share of wrong labels. With --groups also a share of "
        "each group: 0.1,0.2,0.3, or a .npy or text file of numbers",
    )
    threshold.add_argument(
        "--gamma", type=float, metavar="G", help="prune samples whose loss exceeds the smallest loss by more than G"
    )
    parser.add_argument(
        "--redistribute",
        type=number_or_name,
        default="argmin",
        metavar="WHO",
        help="who receives the pruned mass: argmin, the samples with the smallest loss (default); kept, all samples "
        "that are not pruned, in proportion; drop, no sample; or a number F in (0, 1], the fraction F with the lowest "
        "losses",
    )
    parser.add_argument(
        "--ties",
        choices=["keep", "share"],
        default="keep",
        help="samples whose loss equals the threshold: keep them (default), or prune the same part of each, so that "
        "the share C is met exactly",
    )
    parser.add_argument(
        "--nan", choices=["raise", "prune"], default="raise", help="NaN losses: report an error (default), or prune"
    )
    parser.add_argument(
        "--groups",
        metavar="COLUMN|FILE",
        help="group of each sample, such as its class or source, a number from 0: a column of the Parquet or Arrow "
        "files of the losses, or a file (.npy, .parquet, .arrow or .feather) of integers",
    )
    parser.add_argument(
        "--n-groups",
        type=positive_int(),
        metavar="G",
        help="number of groups; required with --groups, unless there is one C or one CAP for each",
    )
    parser.add_argument(
        "--cap",
        type=shares,
        metavar="CAP",
        help="largest share of a group that one C may prune, in [0, 1): a number, or one for each group, like C",
    )
    parser.add_argument(
        "--mass",
        choices=["all", "group"],
        default="all",
        help="who receives the pruned mass of a group: samples of all groups (default), or its own",
    )
    parser.add_argument(
        "--column",
        metavar="NAME",
        help="column of the losses in a Parquet or Arrow file (default: the only floating-point column)",
    )
    parser.add_argument(
        "--memory", type=_bytes, default=64 << 20, metavar="SIZE", help="memory to use, such as 1G (default: 64M)"
    )
    parser.add_argument(
        "--threads",
        type=positive_int(),
        metavar="N",
        help="number of threads (default: OMP_NUM_THREADS, or the number of processors that the process may use)",
    )
    _add_json(parser)
    return parser


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def _bytes(text: str) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMG]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if not match:
        raise argparse.ArgumentTypeError(f"must be a size such as 64M or 1G, got {text!r}")
    return int(float(match[1]) * (1 << SIZE_UNITS[match[2].upper()]))
