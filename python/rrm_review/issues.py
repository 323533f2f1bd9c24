"""The table of label issues: a dict of columns under cleanlab's names."""

from __future__ import annotations

from contextlib import suppress
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pandas as pd

Column: TypeAlias = npt.NDArray[Any]
Order: TypeAlias = Literal["suspicion", "index"]


def make_issues(
    *,
    is_label_issue: npt.ArrayLike,
    share_pruned: npt.ArrayLike,
    mean_excess: npt.ArrayLike,
    sample_weight: npt.ArrayLike,
    loss: npt.ArrayLike,
    labels: npt.ArrayLike | None = None,
    predictions: npt.ArrayLike | None = None,
    ids: npt.ArrayLike | None = None,
    groups: npt.ArrayLike | None = None,
    order: Order = "suspicion",
) -> dict[str, Column]:
    """Return the table of label issues, one row per sample.

    Parameters
    ----------
    is_label_issue : array of bool, shape (n,)
        The samples that the last reweight pruned.
    share_pruned : array of float, shape (n,)
        The share of the reweights that pruned a sample: in [0, 1], or NaN for a sample that took part in none.
    mean_excess : array of float, shape (n,)
        The mean of a sample's loss less its threshold over the reweights, or NaN; the higher, the more suspicious.
    sample_weight, loss : array of float, shape (n,)
        The current weights, and the losses behind the last reweight; NaN for a sample without one.
    labels : array of integers or strings, shape (n,), optional
        The given labels.
    predictions : array, shape (n,) or (n, n_classes), optional
        The predicted labels, integers or strings as `labels`; or one number per class, such as a probability or logit,
        of which the highest decides. Labels are then integers in [0, n_classes).
    ids : array of integers or strings, shape (n,), optional
        What identifies the samples, such as file names; paths become strings.
    groups : array of integers or strings, shape (n,), optional
        The group of each sample, such as its source or annotator.
    order : {"suspicion", "index"}, default "suspicion"
        The order of the rows: the most suspicious sample first, by mean excess, then index; or that of the samples,
        which ``cleanlab.classification.CleanLearning.fit(label_issues=...)`` expects.

    Returns
    -------
    dict of str to array, shape (n,)
        ``index``: the number of the sample, int64.
        ``id``, ``group``: only with `ids` and `groups`.
        ``is_label_issue``: bool, as given.
        ``label_quality``: float32 in (0, 1], low if suspicious: the share of all samples that are at least as
        suspicious, by mean excess. The least suspicious samples have 1; those whose mean excess is NaN are among them.
        ``given_label``, ``predicted_label``: only with `labels` and `predictions`.
        ``sample_weight``, ``loss``, ``share_pruned``: as given.

        Columns of strings are arrays of Python's str.

    Raises
    ------
    TypeError
        `labels`, `predictions`, `ids` or `groups` are neither integers nor strings, or one of `labels` and
        `predictions` has integers and the other strings.
    ValueError
        An argument has the wrong shape, a label is no class of `predictions`, `predictions` contain NaN, or `order` is
        unknown.

    Examples
    --------
    >>> from rrm_review import make_issues
    >>> issues = make_issues(
    ...     is_label_issue=[False, True, False, False],
    ...     share_pruned=[0.0, 1.0, 0.5, 0.0],
    ...     mean_excess=[-0.4, 3.1, 0.2, -0.5],
    ...     sample_weight=[1.33, 0.0, 1.33, 1.33],
    ...     loss=[0.1, 4.0, 0.7, 0.1],
    ...     labels=["cat", "dog", "dog", "cat"],
    ...     predictions=["cat", "cat", "dog", "cat"],
    ... )
    >>> issues["index"].tolist()
    [1, 2, 0, 3]
    >>> issues["label_quality"].tolist()
    [0.25, 0.5, 0.75, 1.0]
    >>> issues["given_label"][issues["is_label_issue"]].tolist()
    ['dog']
    """
    if order not in get_args(Order):
        raise ValueError(f"order must be 'suspicion' or 'index', got {order!r}")
    pruned = np.asarray(is_label_issue, dtype=bool)
    if pruned.ndim != 1:
        raise ValueError(f"is_label_issue must have shape (n,), got {pruned.shape}")
    n = len(pruned)
    numbers = {"share_pruned": share_pruned, "mean_excess": mean_excess, "sample_weight": sample_weight, "loss": loss}
    columns = {name: _check_length(name, np.asarray(values), n) for name, values in numbers.items()}
    ranking, label_quality = _rank(columns["mean_excess"])
    given = None if labels is None else read_items("labels", labels, n)
    table: dict[str, Column] = {"index": np.arange(n)}
    if ids is not None:
        table["id"] = read_items("ids", ids, n)
    if groups is not None:
        table["group"] = read_items("groups", groups, n)
    table |= {"is_label_issue": pruned, "label_quality": label_quality}
    if given is not None:
        table["given_label"] = given
    if predictions is not None:
        table["predicted_label"] = _read_predictions(predictions, given, n)
    table |= {name: columns[name] for name in ("sample_weight", "loss", "share_pruned")}
    rows = ranking if order == "suspicion" else np.arange(n)
    # Indexing copies: what was given may be the state of a training loop.
    return {name: column[rows] for name, column in table.items()}


def to_frame(issues: dict[str, Column]) -> pd.DataFrame:
    """Return a table as a pandas DataFrame.

    Parameters
    ----------
    issues : dict of str to array, shape (n,)
        A table from `make_issues`.

    Returns
    -------
    pandas.DataFrame
        The columns of the table, in its order; the index counts the rows.

    Raises
    ------
    ModuleNotFoundError
        pandas isn't installed.
    """
    try:
        import pandas as pd
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("to_frame needs pandas, which is not installed: pip install pandas") from error
    return pd.DataFrame(issues)


def _rank(mean_excess: Column) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Return the samples, the most suspicious first, and the label quality of each sample."""
    excess = np.where(np.isnan(mean_excess), -np.inf, mean_excess)
    ranking = np.argsort(-excess, kind="stable")
    n = len(ranking)
    # Equal samples have the quality of the last of them.
    is_last = np.ones(n, bool)
    is_last[:-1] = excess[ranking[1:]] != excess[ranking[:-1]]
    ends = np.flatnonzero(is_last) + 1
    quality = np.empty(n, np.float32)
    quality[ranking] = np.repeat(ends / max(n, 1), np.diff(ends, prepend=0))
    return ranking, quality


def _check_length(name: str, values: Column, n: int) -> Column:
    if values.shape != (n,):
        raise ValueError(f"{name} must have shape ({n},), one per sample, got {values.shape}")
    return values


def read_items(name: str, items: npt.ArrayLike, n: int) -> Column:
    """Return labels or identifiers as an array of integers or of Python strings, which hold them unchanged."""
    # Of a list, NumPy would turn numbers beside strings into strings, and drop the NULs at their ends.
    array = np.asarray(items, dtype=None if hasattr(items, "dtype") else object)
    _check_length(name, array, n)
    if array.dtype.kind in "iuU":
        return array
    if array.dtype.kind != "O":
        raise TypeError(
            f"{name} must be integers or strings, got {array.dtype}; convert class numbers with astype(int)"
        )
    kinds = set(map(type, array.tolist()))
    if kinds and all(issubclass(kind, (int, np.integer)) and kind is not bool for kind in kinds):
        return _as_integers(name, array.tolist())
    others = sorted(kind.__name__ for kind in kinds if not issubclass(kind, (str, PurePath)))
    if others:
        raise TypeError(f"{name} must be all integers or all strings, got {', '.join(others)} among them")
    if any(issubclass(kind, PurePath) for kind in kinds):
        array = array.copy()
        array[:] = [str(item) for item in array.tolist()]
    return array


def _as_integers(name: str, items: list[int]) -> Column:
    for dtype in (np.int64, np.uint64):
        with suppress(OverflowError):
            return np.array(items, dtype)
    raise ValueError(f"{name} must be integers of at most 64 bits")


def _read_predictions(predictions: npt.ArrayLike, given: Column | None, n: int) -> Column:
    """Return the predicted labels."""
    try:
        array = np.asarray(predictions)
    except ValueError:
        raise ValueError("predictions must have rows of one length, one number for each class") from None
    if array.ndim == 2 and array.dtype.kind in "biuf":
        return _read_scores(array, given, n)
    predicted = read_items("predictions", predictions, n)
    if given is not None and _kind(given) != _kind(predicted):
        raise TypeError(f"labels and predictions must be of one kind, got {_kind(given)} and {_kind(predicted)}")
    return predicted


def _kind(column: Column) -> str:
    return "integers" if column.dtype.kind in "iu" else "strings"


def _read_scores(scores: Column, given: Column | None, n: int) -> Column:
    """Return the class with the highest of the numbers in each row."""
    n_classes = scores.shape[1]
    if len(scores) != n or n_classes == 0:
        raise ValueError(f"predictions must have shape ({n},) or ({n}, n_classes), got {scores.shape}")
    n_nan = int(np.count_nonzero(np.isnan(scores).any(axis=1)))
    if n_nan:
        raise ValueError(f"predictions contain NaN: in the rows of {n_nan:,} samples")
    if given is not None:
        remedy = f"as predictions have {n_classes} columns; or pass predicted labels, shape ({n},)"
        if _kind(given) == "strings":
            raise TypeError(f"labels must be integers, {remedy}; got strings")
        outside = np.flatnonzero((given < 0) | (given >= n_classes))
        if len(outside):
            raise ValueError(
                f"labels must lie in [0, {n_classes}), {remedy}; got {given[outside[0]]} at index {outside[0]}"
            )
    predicted: Column = scores.argmax(axis=1)
    return predicted
