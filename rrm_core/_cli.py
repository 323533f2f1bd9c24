"""What the command lines of this distribution share: argument parser, exit codes, guarded output, progress bar.

``python -m rrm_core``, ``python -m rrm_torch`` and ``python -m experiments`` are built on it. rich is imported only
where a bar is drawn.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from ._atomic_write import record_written
from ._standard_streams import OutputError, guarded_streams

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

DONE = 0
FAILED = 1
BAD_INPUT = 2
INTERRUPTED = 128 + 2  # the shells' convention for SIGINT
CUT_OFF = 128 + 13  # and for SIGPIPE: the reader of the output has ended

LINE_INTERVAL = 10.0  # seconds between two progress lines where there is no terminal

ReportProgress: TypeAlias = "Callable[[int, int | None, str], None]"


class Parser(argparse.ArgumentParser):
    """An argument parser that reports an error in one line, without the usage, and exits with code 2."""

    def error(self, message: str) -> NoReturn:
        """Print the message, prefixed with the program's name, and exit."""
        self.exit(BAD_INPUT, f"{self.prog}: error: {message}; see --help\n")


def positive_int(maximum: int | None = None) -> Callable[[str], int]:
    """Return an argument type: an integer from 1 to `maximum`, which may be None for no limit."""
    if maximum is None:
        requirement = "an integer of at least 1"
    else:
        requirement = f"an integer from 1 to {maximum}"

    def parse(text: str) -> int:
        if not text.isdecimal() or int(text) < 1 or (maximum is not None and int(text) > maximum):
            raise argparse.ArgumentTypeError(f"must be {requirement}, got {text!r}")
        return int(text)

    return parse


def number_or_name(text: str) -> float | str:
    """Parse an argument such as ``--redistribute``: a number if it is one, otherwise the text itself."""
    try:
        return float(text)
    except ValueError:
        return text


class CommandError(Exception):
    """An error that ends a command, with its exit code.

    Parameters
    ----------
    message : str
        What went wrong.
    code : int
        Exit code of the process.
    """

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


@contextmanager
def exit_code(code: int, *errors: type[BaseException]) -> Iterator[None]:
    """Convert errors of the given types, raised within the context, into a `CommandError` with this exit code.

    Parameters
    ----------
    code : int
        Exit code of the process.
    *errors : exception types
        Errors to convert; others pass.

    Raises
    ------
    CommandError
        One of `errors` was raised.
    """
    try:
        yield
    except errors as error:
        raise CommandError(_one_line(error), code) from error


def run(program: str, command: Callable[..., int | None], *arguments: Any) -> int:
    """Call ``command(*arguments)`` with guarded stdout and stderr, and return the exit code.

    Parameters
    ----------
    program : str
        The program's name, and the subcommand's if there is one.
    command : callable
        Returns the exit code, None for 0, or raises a `CommandError`, which is printed in one line on stderr. Other
        exceptions, except KeyboardInterrupt, are bugs and pass.

    Returns
    -------
    int
        Exit code: that of the command; 130 if it was interrupted, 141 if the reader of its output has ended, 1 if its
        output could not be written for another reason.
    """
    code = DONE
    try:
        with guarded_streams():
            try:
                code = _exit_code_of(program, command, arguments)
                sys.stdout.flush()
            except OutputError as error:
                if error.is_cut_off:
                    return code or CUT_OFF
                print_error(program, error)
                return code or FAILED
            except KeyboardInterrupt:
                print_error(program, "interrupted")
                return INTERRUPTED
    except KeyboardInterrupt:
        # While the streams were being replaced: nothing can be said any more.
        return INTERRUPTED
    return code


def _exit_code_of(program: str, command: Callable[..., int | None], arguments: Sequence[Any]) -> int:
    try:
        return command(*arguments) or DONE
    except CommandError as error:
        print_error(program, error)
        return error.code
    except SystemExit:
        # After --help, for example.
        sys.stdout.flush()
        raise


@contextmanager
def report_interrupt(path: str | os.PathLike[str]) -> Iterator[None]:
    """Convert an interrupt within the context into a `CommandError` that says whether `path` was written.

    Raises
    ------
    CommandError
        KeyboardInterrupt was raised.
    """
    with record_written() as written:
        try:
            yield
        except KeyboardInterrupt as error:
            when = "after" if Path(path) in written else "before"
            raise CommandError(f"interrupted {when} {path} was written", INTERRUPTED) from error


def print_error(program: str, error: BaseException | str) -> None:
    """Print an error in one line on stderr, prefixed with the program's name."""
    message = error if isinstance(error, str) else _one_line(error)
    print(f"{program}: error: {message}", file=sys.stderr)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


@contextmanager
def exit_on_signals() -> Iterator[None]:
    """Raise SystemExit on SIGTERM and SIGHUP within the context, so that temporary files are removed on the way out."""

    def exit_process(number: int, _: Any) -> NoReturn:
        raise SystemExit(128 + number)

    previous: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for name in ("SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            # A handler that is not the default one stays: nohup, for example, ignores SIGHUP.
            if number is not None and signal.getsignal(number) is signal.SIG_DFL:
                previous[number] = signal.signal(number, exit_process)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def print_table(table: dict[str, Any], *, as_json: bool = False) -> None:
    """Print a result on stdout, one line per entry, or as a JSON object."""
    if as_json:
        print(json.dumps({key.replace(" ", "_"): _null_if_infinite(value) for key, value in table.items()}, indent=1))
        return
    width = max(map(len, table))
    for key, value in table.items():
        print(f"{key:{width}}  {_format(key, value)}")


def _null_if_infinite(value: Any) -> Any:
    """Replace infinities by None, also in a dict: JSON has no infinity, so that a threshold of +inf becomes null."""
    if isinstance(value, dict):
        return {key: _null_if_infinite(item) for key, item in value.items()}
    if isinstance(value, float) and math.isinf(value):
        return None
    return value


def _format(key: str, value: Any) -> str:
    if value is None:
        return "not installed"
    if isinstance(value, dict):
        return ", ".join(f"{name} {item}" for name, item in value.items() if item is not None)
    if isinstance(value, list):
        return ", ".join(value)
    if key.endswith("share"):
        return f"{100 * value:.4g} %"
    if isinstance(value, float):
        if abs(value) >= 1e4 and key != "threshold":
            return f"{value:,.0f}"
        return f"{value:.6g}"
    if isinstance(value, int):
        return f"{value:,}"
    return str(value)


def installed_version(package: str) -> str | None:
    """Return the version of an installed package, or None if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def progress_bar(console: Console | None = None, *, count: Sequence[str] = (), transient: bool = False) -> Progress:
    """Return a `rich.progress.Progress`: description, bar, completed share, elapsed and remaining time.

    Parameters
    ----------
    console : rich.console.Console, optional
        Where to draw; by default on stderr. A bar is animated only on a terminal.
    count : sequence of str, optional
        Templates of text columns that replace the percentage, such as ``["{task.completed}/{task.total} epochs"]``.
    transient : bool, default False
        Remove the bar at the end.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        ProgressColumn,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    completed: list[ProgressColumn] = [TextColumn(template) for template in count] or [TaskProgressColumn()]
    return Progress(
        TextColumn("{task.description:8}"),
        BarColumn(),
        *completed,
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=Console(stderr=True) if console is None else console,
        transient=transient,
    )


@contextmanager
def report_progress() -> Iterator[ReportProgress]:
    """Yield ``report(done, total, what)``: a bar on a terminal if rich is installed, else lines."""
    if sys.stderr.isatty() and installed_version("rich"):
        with progress_bar(transient=True) as bar:
            yield BarReporter(bar)
    else:
        yield LineReporter()


class BarReporter:
    """Draw the progress of one pass after the other with one bar.

    Parameters
    ----------
    bar : rich.progress.Progress
    """

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self.task = bar.add_task("opening", total=None)
        self.what = ""

    def __call__(self, done: int, total: int | None, what: str) -> None:
        """Show that `done` samples of `total`, if that is known, are done in the pass called `what`."""
        if what != self.what:
            self.what = what
            self._bar.reset(self.task, total=total, description=what)
        self._bar.update(self.task, completed=done)


class LineReporter:
    """Print the progress on stderr, one line every `LINE_INTERVAL` seconds."""

    def __init__(self) -> None:
        self._next = time.monotonic() + LINE_INTERVAL

    def __call__(self, done: int, total: int | None, what: str) -> None:
        """Print that `done` samples of `total`, if that is known, are done in the pass called `what`."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + LINE_INTERVAL
        of_total = f" of {total:,}" if total else ""
        print(f"{what}: {done:,}{of_total} samples", file=sys.stderr, flush=True)
