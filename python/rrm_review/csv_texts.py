"""Columns of strings as the text of a CSV file: quoted, encoded, and searched for formulas."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .csv_numbers import Cells

FORMULA_STARTS = frozenset("=+-@＝＋－＠\t\r\n")
QUOTED = ',"\n\r'
NEEDS_QUOTES = re.compile(f"[{QUOTED}]")


class Texts(NamedTuple):
    """Strings as they are written in a file.

    Attributes
    ----------
    content : array of uint8
        All strings in UTF-8, one after the other, each with a NUL behind it.
    starts, lengths : array of int64, shape (rows,)
    """

    content: npt.NDArray[np.uint8]
    starts: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]

    def cells(self, start: int, end: int) -> Cells:
        """Return the strings of some rows as a matrix of bytes, padded with NUL."""
        # With the NUL behind each string, so that they are copied as one piece.
        sizes = self.lengths[start:end] + 1
        cells = np.zeros((end - start, int(sizes.max())), np.uint8)
        content = self.content[self.starts[start] : self.starts[end - 1] + sizes[-1]]
        cells[np.arange(cells.shape[1]) < sizes[:, None]] = content
        return cells


def format_texts(source: str, texts: list[str], escape_formulas: bool, formulas: list[str]) -> Texts:
    """Return strings as they are written in a file.

    Parameters
    ----------
    source : str
        Where the strings are, for messages.
    texts : list of str
    escape_formulas : bool
        See `rrm_review.to_csv`.
    formulas : list of str
        Those of the strings that a spreadsheet may execute are appended.

    Raises
    ------
    TypeError
        There are other objects among them.
    ValueError
        A string can't be written.
    """
    encoded = _encode(source, texts)
    content = encoded.content.tobytes()
    # Most columns have no string that needs quotes or may be a formula.
    if any(byte in content for byte in QUOTED.encode()) or _MAY_NEED_CHANGE.take(encoded.content[encoded.starts]).any():
        # Names of classes repeat.
        distinct = dict.fromkeys(texts)
        distinct_formulas = {text for text in distinct if text[:1] in FORMULA_STARTS and not is_number(text)}
        if distinct_formulas:
            formulas += [text for text in texts if text in distinct_formulas]
        changed = {text: text for text in distinct if not text or NEEDS_QUOTES.search(text)}
        if escape_formulas:
            changed |= {text: f"'{text}" for text in distinct_formulas}
        changed = {text: _quote(new) for text, new in changed.items()}
        encoded = _encode(source, [changed.get(text, text) for text in texts])
    return encoded


def _encode(source: str, texts: list[Any]) -> Texts:
    try:
        joined = "\0".join([*texts, ""])
    except TypeError:
        kinds = sorted({type(text).__name__ for text in texts if not isinstance(text, str)})
        message = f"{source} must be strings, or numbers of one type, got {', '.join(kinds)}"
        raise TypeError(message) from None
    try:
        content = np.frombuffer(joined.encode("utf-8", "surrogateescape"), np.uint8)
    except UnicodeEncodeError as error:
        character = joined[error.start]
        raise ValueError(f"{source} must be strings that UTF-8 can represent, got one with {character!r}") from None
    ends = np.flatnonzero(content == 0)
    if len(ends) != len(texts):
        raise ValueError(f"{source} must be strings without NUL, which CSV files can't hold")
    starts = np.zeros_like(ends)
    starts[1:] = ends[:-1] + 1
    return Texts(content, starts, ends - starts)


def is_number(text: str) -> bool:
    """Return whether a text is a number, which no spreadsheet executes."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def _quote(text: str) -> str:
    if text and not NEEDS_QUOTES.search(text):
        return text
    return '"' + text.replace('"', '""') + '"'


# By the first byte of a string: it may be a formula, or it is empty and the byte is the NUL behind it.
_MAY_NEED_CHANGE = np.zeros(256, bool)
_MAY_NEED_CHANGE[[0, *(start.encode()[0] for start in FORMULA_STARTS)]] = True
