"""Reading the answers of a person who judged samples: the contamination of each group."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Iterable
from itertools import islice
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from rrm_core._arguments import MAX_CONTAMINATION, as_integer

from .spreadsheet_csv import Row, read_rows

GROUP = "group"
GROUP_NAME = "group_name"
ANSWER = "is_wrong"

WRONG = frozenset({"1", "1.0", "yes", "y", "true", "wrong", "x"})
RIGHT = frozenset({"0", "0.0", "no", "n", "false", "right", "correct"})

MAX_NAMED = 5  # groups in a message


class SampleRow(NamedTuple):
    """A row of the file, in the text that was read.

    Attributes
    ----------
    number : int
        As a spreadsheet counts: the header is row 1.
    group, name, answer : str
        `name` is empty if the groups have no names, `answer` if there is none.
    """

    number: int
    group: str
    name: str
    answer: str


def quotas(path: str | os.PathLike[str], *, n_groups: int | None = None) -> npt.NDArray[np.float64]:
    """Return the contamination of each group: the share of wrong labels among the samples that a person judged.

    ``RRM(n, groups=groups, contamination=quotas(path))`` prunes this share of each group.

    Parameters
    ----------
    path : str or path
        A file that `draw_samples` wrote, with the column ``is_wrong`` filled in: ``1``, ``yes``, ``y``, ``true``,
        ``wrong`` or ``x`` for a wrong label, ``0``, ``no``, ``n``, ``false``, ``right`` or ``correct`` for a right one,
        in upper or lower case. Other columns may be changed, removed or added, except ``group``.
    n_groups : int, optional
        The number of groups, to check that none is missing from the file. By default the largest number of a group in
        the file, plus 1.

    Returns
    -------
    array of float64, shape (n_groups,)
        In [0, 1). Where all answers are "wrong" it is the largest float below 1, which keeps one sample of the group
        and which NumPy prints as 1.
        If the groups are strings, their order is that of ``np.unique(groups)``.

    Raises
    ------
    ValueError
        A group has no answer, an answer is none of the above, all answers are "wrong" though samples are left out, a
        group is no number below `n_groups`, or the file isn't a CSV file with these columns.
    OSError
        The file can't be read.

    Warns
    -----
    UserWarning
        Samples without an answer are left out; the warning counts them.

    Notes
    -----
    A share p among m answers has the standard error sqrt(p (1 - p) / m): up to 0.16 with ten. It is rough at the ends,
    too: if none of ten labels is wrong, up to 26 % of the group may be (the one-sided 95 % limit of the binomial
    distribution, 1 - 0.05^(1/m)). Ten answers tell a source that is wrong throughout from a good one; to tell 10 % from
    20 %, judge a hundred or more.

    Commas, semicolons or tabs separate the cells, as spreadsheets save them, in UTF-8 or UTF-16.
    """
    _, rows = read_samples(path)
    if n_groups is not None:
        n_groups = as_integer("n_groups", n_groups, 1, "a whole number, at least 1, or None")
    n_wrong: Counter[int] = Counter()
    n_answers: Counter[int] = Counter()
    n_unanswered: Counter[int] = Counter()
    names: dict[int, str] = {}
    for row in rows:
        group = _parse_group(path, row, n_groups)
        names[group] = row.name
        if not row.answer:
            n_unanswered[group] += 1
            continue
        n_answers[group] += 1
        n_wrong[group] += _parse_answer(path, row)
    if n_groups is None:
        n_groups = max(names, default=0) + 1
    without = (_describe(group, names) for group in range(n_groups) if not n_answers[group])
    if missing := _join(without):
        raise ValueError(
            f"{path} has no answer for {missing}; judge some samples of each group: write 1 (wrong) or 0 (right) into "
            f"the column {ANSWER}"
        )
    if n_unanswered and n_wrong.total() == n_answers.total():
        raise ValueError(
            f"{path}: all answers say that the label is wrong, and {n_unanswered.total()} of {len(rows)} samples have "
            "none; write 0 for the right ones, and delete the rows of samples that can't be judged"
        )
    if n_unanswered:
        counts = _join(f"{n_unanswered[group]} of {_describe(group, names)}" for group in sorted(n_unanswered))
        warnings.warn(
            f"{sum(n_unanswered.values())} of {len(rows)} samples in {path} have no answer and are left out: {counts}",
            stacklevel=2,
        )
    shares = [n_wrong[group] / n_answers[group] for group in range(n_groups)]
    return np.array([min(share, MAX_CONTAMINATION) for share in shares])


def read_samples(path: str | os.PathLike[str]) -> tuple[list[str], list[SampleRow]]:
    """Return the names of the columns and the rows of a file that `draw_samples` wrote and a spreadsheet saved.

    Raises
    ------
    ValueError
        It isn't a CSV file with the columns of groups and answers, or a row has more cells than the header.
    OSError
        The file can't be read.
    """
    header, rows = read_rows(path, (GROUP, ANSWER), "draw_samples")
    return header, [_as_sample(row) for row in rows]


def _as_sample(row: Row) -> SampleRow:
    # An empty cell is written as two quotation marks, beside which an answer may have been typed.
    answer = row.cells.get(ANSWER, "").strip().strip('"').strip()
    return SampleRow(row.number, row.cells.get(GROUP, "").strip(), row.cells.get(GROUP_NAME, ""), answer)


def _parse_group(path: str | os.PathLike[str], row: SampleRow, n_groups: int | None) -> int:
    if not (row.group.isascii() and row.group.isdecimal()):
        raise ValueError(
            f"{path}, row {row.number}: {GROUP} must be the number that draw_samples wrote, got {row.group!r}; restore "
            "it, or delete the row if it holds no sample"
        )
    group = int(row.group)
    if n_groups is not None and group >= n_groups:
        raise ValueError(
            f"{path}, row {row.number}: {GROUP} must be below n_groups={n_groups}, got {group}; leave n_groups out, or "
            "draw the samples again from the groups to train with"
        )
    return group


def _parse_answer(path: str | os.PathLike[str], row: SampleRow) -> bool:
    answer = row.answer.casefold()
    if answer in WRONG:
        return True
    if answer in RIGHT:
        return False
    raise ValueError(
        f"{path}, row {row.number}: {ANSWER} must be 1 (or yes, y, true, wrong, x) for a wrong label or 0 (or no, n, "
        f"false, right, correct) for a right one, got {row.answer!r}; leave it empty if it can't be told"
    )


def _describe(group: int, names: dict[int, str]) -> str:
    name = names.get(group)
    return f"group {group} ({name})" if name else f"group {group}"


def _join(texts: Iterable[str]) -> str:
    """Return the first texts as a list in words, with an ellipsis for others."""
    first = list(islice(texts, MAX_NAMED + 1))
    return ", ".join([*first[:MAX_NAMED], "..."] if len(first) > MAX_NAMED else first)
