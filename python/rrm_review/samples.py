"""Drawing samples for a person to judge: a few of each group, in a CSV file with an empty column for the answers."""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from rrm_core._arguments import as_integer
from rrm_core._atomic_write import resolve_output

from .answers import ANSWER, GROUP, GROUP_NAME, read_samples
from .csv_file import to_csv
from .issues import Column, read_items

MAX_CHARACTERS = 32_767  # in a cell: spreadsheets cut off the rest, and Python's csv module reads 131,072


def draw_samples(
    groups: npt.ArrayLike,
    per_group: int = 10,
    *,
    path: str | os.PathLike[str] = "samples.csv",
    labels: npt.ArrayLike | None = None,
    ids: npt.ArrayLike | None = None,
    columns: Mapping[str, npt.ArrayLike] | None = None,
    seed: int = 0,
) -> dict[str, Column]:
    """Draw some samples of each group at random, and write them to a CSV file for a person to judge.

    The person fills in the column ``is_wrong``: 1 for a wrong label, 0 for a right one. `quotas` reads the answers.

    Parameters
    ----------
    groups : array of integers or strings, shape (n,)
        The group of each sample: its source, annotator, labelling rule or class. Integers are the numbers that `RRM`
        and `rrm_core.reweight` take, from 0 without gaps. Strings are numbered in their order, as by
        ``names, groups = np.unique(groups, return_inverse=True)``, which makes the numbers to train with.
    per_group : int, default 10
        How many samples of each group are drawn, without replacement; all of a group that has fewer.
    path : str or path, default "samples.csv"
        The file. An existing one is replaced if nothing was filled in.
    labels : array of integers or strings, shape (n,), optional
        The given labels, which are to be judged.
    ids : array of integers or strings, shape (n,), optional
        What identifies the samples, such as file names; paths become strings.
    columns : mapping of str to array, shape (n,), optional
        What else the person has to see, such as the texts: booleans, integers, floating-point numbers or strings.
    seed : int, default 0
        The same seed draws the same samples of a group, whatever the other groups are.

    Returns
    -------
    dict of str to array, shape (n_drawn,)
        The table in the file, by group, then index.

        ``group``: the number of the group, int64.
        ``group_name``: only if `groups` are strings.
        ``index``: the number of the sample, int64.
        ``id``, ``given_label``: only with `ids` and `labels`; then `columns`.
        ``is_wrong``: empty strings.

    Raises
    ------
    TypeError
        An array holds other types than these.
    ValueError
        `groups` are integers with gaps or not one-dimensional, an array has another length, a name in `columns` is
        that of another column, a drawn sample has a string of more than 32,767 characters, which no cell of a
        spreadsheet holds, `per_group` is below 1 or `seed` below 0.
    FileExistsError
        The file holds answers or other columns, or isn't one that this function wrote. It is as before the call.
    OSError
        The file can't be written. It is as before the call.

    Notes
    -----
    The file is written as by `to_csv`, whole or not at all. Strings that a spreadsheet may execute have an apostrophe
    before them.

    Examples
    --------
    >>> import rrm_review
    >>> samples = rrm_review.draw_samples(["web", "web", "web", "lab"], 2, labels=["cat", "dog", "cat", "dog"])
    >>> samples["group"].tolist(), samples["group_name"].tolist()
    ([0, 1, 1], ['lab', 'web', 'web'])
    >>> samples["is_wrong"] = [0, 1, 0]  # a person writes this into the file
    >>> rrm_review.to_csv(samples, "samples.csv")
    >>> rrm_review.quotas("samples.csv")
    array([0. , 0.5])
    """
    per_group = as_integer("per_group", per_group, 1, "a whole number, at least 1")
    seed = as_integer("seed", seed, 0, "a whole number, at least 0")
    names, numbers = _number_groups(groups)
    drawn = _draw(names, numbers, per_group, seed)
    n = len(numbers)
    table: dict[str, Column] = {GROUP: numbers[drawn].astype(np.int64)}
    if names.dtype.kind not in "iu":
        table[GROUP_NAME] = names[table[GROUP]]
    table["index"] = drawn
    if ids is not None:
        table["id"] = read_items("ids", ids, n)[drawn]
    if labels is not None:
        table["given_label"] = read_items("labels", labels, n)[drawn]
    for name, values in (columns or {}).items():
        if name in {*table, ANSWER}:
            raise ValueError(f"columns must have names other than those of the file's own columns, got {name!r}")
        table[name] = _read_column(f"columns[{name!r}]", values, n)[drawn]
    _check_lengths(table)
    # Objects, so that an answer that is assigned isn't cut off.
    table[ANSWER] = np.full(len(drawn), "", dtype=object)
    _check_nothing_is_lost(path, table)
    to_csv(table, path, escape_formulas=True)
    return table


def _number_groups(groups: npt.ArrayLike) -> tuple[Column, Column]:
    """Return the distinct groups in ascending order, and the position of each sample's group among them."""
    array = np.asarray(groups, dtype=None if hasattr(groups, "dtype") else object)
    if array.ndim != 1 or len(array) == 0:
        raise ValueError(f"groups must have shape (n,), one for each sample, got {array.shape}")
    names, numbers = np.unique(read_items("groups", array, len(array)), return_inverse=True)
    if names.dtype.kind in "iu":
        wrong = np.flatnonzero(names != np.arange(len(names)))
        if len(wrong):
            raise ValueError(
                f"groups that are integers must be 0, 1, 2, ... without gaps, got {names[wrong[0]]} in place of "
                f"{wrong[0]}; names, groups = np.unique(groups, return_inverse=True) numbers them"
            )
    return names, numbers


def _draw(names: Column, numbers: Column, per_group: int, seed: int) -> npt.NDArray[np.int64]:
    """Return the indices of the samples that are drawn, by group, then index."""
    by_group = np.argsort(numbers, kind="stable")
    ends = np.cumsum(np.bincount(numbers))
    drawn = []
    for name, members in zip(names.tolist(), np.split(by_group, ends[:-1]), strict=True):
        # Each group has a generator of its own, so that other groups don't change its samples.
        rng = np.random.default_rng([seed, *str(name).encode("utf-8", "surrogatepass")])
        drawn.append(np.sort(rng.choice(members, min(per_group, len(members)), replace=False)))
    return np.concatenate(drawn).astype(np.int64)


def _read_column(name: str, values: npt.ArrayLike, n: int) -> Column:
    """Return a column of any type that `to_csv` writes."""
    array = np.asarray(values)
    if array.dtype.kind in "bf" and array.shape == (n,):
        return array
    return read_items(name, values, n)


def _check_lengths(table: Mapping[str, Column]) -> None:
    for name, column in table.items():
        if column.dtype.kind in "OU":
            longest = max(map(len, column.tolist()))
            if longest > MAX_CHARACTERS:
                raise ValueError(
                    f"column {name!r} must have strings of at most {MAX_CHARACTERS:,} characters, as a cell of a "
                    f"spreadsheet, got one of {longest:,}; shorten it, text[:{MAX_CHARACTERS}]"
                )


def _check_nothing_is_lost(path: str | os.PathLike[str], table: Mapping[str, Column]) -> None:
    """Raise a FileExistsError unless the file is missing or empty, or the table replaces all that it holds."""
    target = resolve_output(path, "path")
    if not target.exists() or target.stat().st_size == 0:
        return
    try:
        header, rows = read_samples(target)
    except ValueError as error:
        raise FileExistsError(f"path: {path} exists and isn't a file of samples to judge; name another file") from error
    n_answers = sum(bool(row.answer) for row in rows)
    # `to_csv` may have put an apostrophe before a name.
    others = sorted(name or "one without a name" for name in set(header) - {*table} - {f"'{name}" for name in table})
    if n_answers or others:
        raise FileExistsError(
            f"path: replacing {path} would lose what was filled in (answers: {n_answers}, other columns: "
            f"{', '.join(others) or 'none'}); name another file, or move or delete this one first"
        )
