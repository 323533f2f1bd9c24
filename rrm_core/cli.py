"""The command line: ``python -m rrm_core``."""

from __future__ import annotations

import argparse
import json
import platform
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NoReturn, Protocol

import rrm_core

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130  # the last by convention of the shell: 128 + SIGINT
UNITS = {"": 0, "K": 10, "M": 20, "G": 30}
OPTIONAL = ("pyarrow", "dask", "rich", "numba", "torch")
SPARSE = 10.0  # seconds from one line about a pass to the next


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        By default those of the process.

    Returns
    -------
    int
        Exit code: 0 done, 1 failed while working, 2 bad input, 130 interrupted.
    """
    parser = _parser()
    options = parser.parse_args(arguments)

    def fail(error: BaseException, code: int) -> int:
        what = " ".join(str(error).split()) or type(error).__name__
        print(f"{parser.prog} {options.command}: error: {what}", file=sys.stderr)
        return code

    if options.command == "info":
        _print(_installation(), options.json)
        return 0
    started = time.perf_counter()
    try:
        with _ended_by_signals(), _progress() as progress:
            plan = _work(options, progress)
    except KeyboardInterrupt:
        return fail(KeyboardInterrupt(f"interrupted; {_kept(options)}"), INTERRUPTED)
    except (TypeError, ValueError, ImportError, FileNotFoundError, IsADirectoryError, PermissionError) as error:
        return fail(error, BAD_INPUT)
    except (OSError, RuntimeError, MemoryError) as error:  # a full disk; losses that change meanwhile
        return fail(error, FAILED)
    _print(_summary(options, plan, time.perf_counter() - started), options.json)
    return 0


def _work(options: argparse.Namespace, progress: _Progress) -> rrm_core.Plan:
    names = ("contamination", "gamma", "redistribute", "ties", "nan", "column", "memory", "threads")
    given = {name: getattr(options, name) for name in names}
    if options.command == "plan":
        return rrm_core.stream.plan(options.losses, progress=progress.say, **given)
    if options.mu < 1 and options.weights is None:
        raise ValueError("--mu needs the weights to start from: give --weights")
    if options.weights is not None and options.mu == 1:
        raise ValueError("--weights are read only with a --mu below 1: give that too, or leave them out")
    return rrm_core.stream.reweight(
        options.losses, options.out, weights=options.weights, mu=options.mu, progress=progress.say, **given
    )


def _kept(options: argparse.Namespace) -> str:
    return f"{options.out} is as it was" if options.command == "reweight" else "nothing was to be written"


# What is printed.


def _summary(options: argparse.Namespace, plan: rrm_core.Plan, seconds: float) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "losses": options.losses,
        "samples": plan.n,
        "type": plan.dtype,
        "rule": asdict(plan.rule),
        "threshold": plan.threshold,
        "smallest loss": plan.loss_min,
        "gamma": plan.gamma,
        "pruned": plan.n_pruned,
        "pruned share": plan.pruned_fraction,
        "NaN": plan.n_nan,
        "tied": plan.n_tied,
        "recipients": plan.n_recipients,
        "largest weight": plan.largest_weight,
        "effective size": plan.effective_sample_size,
        "total variation": plan.total_variation,
        "seconds": round(seconds, 3),
    }
    return shown | ({"weights": options.out} if options.command == "reweight" else {})


def _installation() -> dict[str, Any]:
    shown: dict[str, Any] = {
        "rrm-core": rrm_core.__version__,
        "Python": platform.python_version(),
        "NumPy": version("numpy"),
        "backends": list(rrm_core.available_backends()),
    }
    try:
        cpu = rrm_core.cpu_info()
        shown |= {
            "instruction set": cpu.instruction_set,
            "best instruction set": cpu.best_instruction_set,
            "threads": cpu.threads,
        }
    except ImportError:
        shown["instruction set"] = None
    return shown | {name: _version(name) for name in OPTIONAL}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _print(shown: dict[str, Any], as_json: bool) -> None:
    if as_json:
        # JSON knows no infinity: a threshold of +inf is null.
        print(json.dumps({key.replace(" ", "_"): _finite(value) for key, value in shown.items()}, indent=1))
        return
    width = max(map(len, shown))
    for key, value in shown.items():
        print(f"{key:{width}}  {_readable(key, value)}")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return None if isinstance(value, float) and value in (float("inf"), float("-inf")) else value


def _readable(key: str, value: Any) -> str:
    if value is None:
        return "not installed"
    if isinstance(value, dict):
        return ", ".join(f"{name} {item}" for name, item in value.items() if item is not None)
    if isinstance(value, list):
        return ", ".join(value)
    if key.endswith("share"):
        return f"{100 * value:.4g} %"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1e4 and key != "threshold" else f"{value:.6g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


# How far it is.


class _Progress(Protocol):
    def say(self, done: int, total: int | None, what: str) -> None: ...


@contextmanager
def _progress() -> Iterator[_Progress]:
    """Show a bar on a terminal, if rich is there, and otherwise a line now and then."""
    if sys.stderr.isatty() and _version("rich"):
        with _bar() as bar:
            yield bar
    else:
        yield _Lines()


class _Lines:
    def __init__(self) -> None:
        self._next = time.monotonic() + SPARSE

    def say(self, done: int, total: int | None, what: str) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + SPARSE
            print(f"{what}: {done:,}" + (f" of {total:,}" if total else "") + " samples", file=sys.stderr, flush=True)


@contextmanager
def _bar() -> Iterator[_Progress]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description:8}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:

        class Bar:
            task = progress.add_task("opening", total=None)
            what = ""

            def say(self, done: int, total: int | None, what: str) -> None:
                if what != self.what:
                    self.what = what
                    progress.reset(self.task, total=total, description=what)
                progress.update(self.task, completed=done)

        yield Bar()


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let what ends the process from outside unwind it, so that no unfinished file stays behind."""

    def end(number: int, _: Any) -> NoReturn:
        raise SystemExit(128 + number)

    former: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for name in ("SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is signal.SIG_DFL:  # nohup, for one, ignores SIGHUP
                former[number] = signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


# What may be asked for.


def _redistribute(text: str) -> str | float:
    try:
        return float(text)
    except ValueError:
        return text


def _bytes(text: str) -> int:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMG]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if not found:
        raise argparse.ArgumentTypeError(f"must be a size such as 64M or 1G, got {text!r}")
    return int(float(found[1]) * (1 << UNITS[found[2].upper()]))


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number, at least 1, got {text!r}")
    return int(text)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Say what is wrong in one line."""
        self.exit(BAD_INPUT, f"{self.prog}: error: {message}; see --help\n")


EXAMPLES = """\
files
  .npy               a vector of float16, float32 or float64
  .parquet           a column of these; a null is NaN
  .arrow, .feather   likewise

examples
  prune the fifth of the samples with the highest losses
    python -m rrm_core reweight losses.npy --contamination 0.2 -o weights.npy
  go half of the way from the weights of last time, and replace them
    python -m rrm_core reweight losses.npy --contamination 0.2 --weights weights.npy --mu 0.5 -o weights.npy
  from a table to a table
    python -m rrm_core reweight run.parquet --column loss --gamma 1.5 -o weights.parquet
  look before writing anything
    python -m rrm_core plan losses.npy --contamination 0.2

exit codes
  0 done; 1 failed while working, such as a full disk; 2 bad input; 130 interrupted"""


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m rrm_core",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Exact Rockafellian reweighting of per-sample losses in files of any size: samples whose loss lies "
        "above\na threshold get weight 0, and trusted ones get their mass.",
        epilog=EXAMPLES,
    )
    parser.add_argument("--version", action="version", version=f"rrm-core {rrm_core.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    shared = _shared()
    reweight = commands.add_parser(
        "reweight",
        parents=[shared],
        help="read losses, write sample weights",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Write the sample weights of losses in a file: 0 is pruned, 1 is unchanged, and their mean is 1.\n"
        "The file of weights appears as a whole or not at all, whatever happens meanwhile.",
        epilog=EXAMPLES,
    )
    reweight.add_argument(
        "-o",
        "--out",
        required=True,
        metavar="FILE",
        help="file for the weights: .npy, .parquet, .arrow or .feather; a former one is replaced once this is complete",
    )
    reweight.add_argument("--weights", metavar="FILE", help="the weights of last time, to start from with --mu")
    reweight.add_argument(
        "--mu", type=float, default=1.0, metavar="MU", help="step from old weights to new, in (0, 1] (default: 1)"
    )
    commands.add_parser(
        "plan",
        parents=[shared],
        help="read losses, and say what a reweight would do",
        description="Say which threshold losses in a file would be pruned at, and what would follow.",
    )
    info = commands.add_parser("info", help="what is installed, and how it runs here")
    _add_json(info)
    return parser


def _shared() -> _Parser:
    """Return what planning and reweighting have in common."""
    shared = _Parser(add_help=False)
    shared.add_argument("losses", metavar="LOSSES", help="file of losses: .npy, .parquet, .arrow or .feather")
    rule = shared.add_mutually_exclusive_group(required=True)
    rule.add_argument(
        "--contamination",
        type=float,
        metavar="C",
        help="share of samples to prune, in [0, 1): the estimated share of wrong labels",
    )
    rule.add_argument("--gamma", type=float, metavar="G", help="prune losses more than this above the smallest")
    shared.add_argument(
        "--redistribute",
        type=_redistribute,
        default="argmin",
        metavar="WHO",
        help="who gets the pruned mass: argmin, the smallest loss (default); kept, all others; drop, nobody; or a "
        "fraction of the samples",
    )
    shared.add_argument(
        "--ties",
        choices=["keep", "share"],
        default="keep",
        help="losses on the threshold: keep them (default), or share the pruning evenly",
    )
    shared.add_argument(
        "--nan", choices=["raise", "prune"], default="raise", help="NaN: refuse them (default), or prune them"
    )
    shared.add_argument(
        "--column",
        metavar="NAME",
        help="column of the losses in a Parquet or Arrow file (default: the only one of floating-point numbers)",
    )
    shared.add_argument(
        "--memory", type=_bytes, default=64 << 20, metavar="SIZE", help="memory to use, such as 1G (default: 64M)"
    )
    shared.add_argument("--threads", type=_count, metavar="N", help="threads (default: as many as processors)")
    _add_json(shared)
    return shared


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print what is found as JSON")


if __name__ == "__main__":
    sys.exit(main())
