"""Command-line options for the rule and the files: what ``plan`` and ``reweight`` share."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import numpy as np

from ._arguments import NO_ESTIMATE
from ._cli import Parser, number_or_name, positive_int

SIZE_UNITS = {"": 0, "K": 10, "M": 20, "G": 30}  # binary logarithms


def rule_and_source() -> Parser:
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
        type=_contamination,
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
        type=_shares,
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
    add_json(parser)
    return parser


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add the option ``--json``."""
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def _contamination(text: str) -> float | list[float]:
    """Return the same as `_shares`; raise for ``"auto"`` with the reason."""
    if text == "auto":
        raise argparse.ArgumentTypeError(f"must be a number, got 'auto': {NO_ESTIMATE}")
    return _shares(text)


def _shares(text: str) -> float | list[float]:
    """Return a number, or one per group: numbers separated by commas, or those in a ``.npy`` or a text file.

    Raises
    ------
    argparse.ArgumentTypeError
        The text is none of these.
    """
    try:
        if "," in text:
            return [float(number) for number in text.split(",")]
        return float(text)
    except ValueError:
        pass
    path = Path(text)
    if not path.is_file():
        raise argparse.ArgumentTypeError(
            f"must be a number, numbers separated by commas, or a file of numbers, got {text!r}"
        )
    try:
        if path.suffix == ".npy":
            numbers: list[float] = np.load(path, allow_pickle=False).astype(np.float64, casting="same_kind").tolist()
            return numbers
        return [float(number) for number in path.read_text(encoding="utf-8").split()]
    except (ValueError, TypeError, EOFError, OSError) as error:
        raise argparse.ArgumentTypeError(f"{text} is not a file of numbers, one per group: {error}") from None


def _bytes(text: str) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMG]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if not match:
        raise argparse.ArgumentTypeError(f"must be a size such as 64M or 1G, got {text!r}")
    return int(float(match[1]) * (1 << SIZE_UNITS[match[2].upper()]))
