"""Guarded stdout and stderr of a command: missing characters, cut-off pipes, full disks, closed streams."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, TextIO, cast


class OutputError(Exception):
    """Stdout could not be written. Not an OSError, so that it is not taken for an error of the command's own files.

    Parameters
    ----------
    error : OSError
        Why.

    Attributes
    ----------
    is_cut_off : bool
        True if the reader of a pipe has ended, such as ``head``.
    """

    def __init__(self, error: OSError) -> None:
        super().__init__(f"stdout could not be written: {error.strerror or error}")
        self.is_cut_off = isinstance(error, BrokenPipeError)


@contextmanager
def guarded_streams() -> Iterator[None]:
    """Replace `sys.stdout` and `sys.stderr` within the context by streams that are safe to print to.

    A character that the encoding lacks is printed as a question mark. If stdout cannot be written, an `OutputError` is
    raised, once; if stderr cannot be written, the text is lost. A closed stream discards what is printed.
    """
    _reserve_descriptors()
    previous = sys.stdout, sys.stderr
    with ExitStack() as stack:
        stdout = _GuardedStream(_open_if_closed(sys.stdout, stack), raises=True)
        stderr = _GuardedStream(_open_if_closed(sys.stderr, stack), raises=False)
        try:
            sys.stdout = cast(TextIO, stdout)
            sys.stderr = cast(TextIO, stderr)
            yield
        finally:
            sys.stdout, sys.stderr = previous


class _GuardedStream:
    """A text stream that handles the errors of another one; see `guarded_streams`.

    Parameters
    ----------
    stream : text file
    raises : bool
        Raise an `OutputError` if it cannot be written.
    """

    def __init__(self, stream: TextIO, *, raises: bool) -> None:
        self._stream = stream
        self._raises = raises

    def write(self, text: str) -> int:
        """Write text; return its length."""
        encoding = self._stream.encoding or "utf-8"
        with self._handle_errors():
            self._stream.write(text.encode(encoding, "replace").decode(encoding))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write lines."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Flush the buffer."""
        with self._handle_errors():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @contextmanager
    def _handle_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._discard_from_now_on()
            if self._raises:
                raise OutputError(error) from error

    def _discard_from_now_on(self) -> None:
        """Send the buffer and all that follows to the null device: at its end, Python tries once more to flush."""
        with suppress(OSError):
            null = os.open(os.devnull, os.O_WRONLY)
            try:
                os.dup2(null, self._stream.fileno())
            finally:
                os.close(null)


def _open_if_closed(stream: TextIO | None, stack: ExitStack) -> TextIO:
    """Return the stream, or one to the null device if the process was started without."""
    if stream is not None:
        return stream
    return stack.enter_context(open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123


def _reserve_descriptors() -> None:
    """Open the null device in place of a closed stdin, stdout or stderr.

    Otherwise the next file that is opened would get its descriptor, and with it what libraries print.
    """
    if sys.platform == "win32":
        return
    # The system uses the lowest number that is free.
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
