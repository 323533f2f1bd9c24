"""Hugging Face datasets: the table as a Dataset."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..issues import Column
from .columns import check_unicode, class_names, is_text, read_table, select_samples

if TYPE_CHECKING:
    import datasets

LABELS = ("given_label", "predicted_label")


def to_dataset(issues: Mapping[str, npt.ArrayLike], samples: Any = None) -> datasets.Dataset:
    """Return a table as a Dataset of Hugging Face's datasets.

    Parameters
    ----------
    issues : mapping of str to array, shape (rows,)
        A table from `make_issues`, or some of its rows.
    samples : datasets.Dataset or mapping of str to array, shape (n,), optional
        Columns of the samples, in their order, such as the texts or a pandas DataFrame; paths become strings. They
        stand before those of the table. A Dataset keeps its features, such as images.

    Returns
    -------
    datasets.Dataset
        One row for each row of the table, in its order. If the labels are strings, ``given_label`` and
        ``predicted_label`` are ClassLabel with the same names, those of both columns in ascending order.

    Raises
    ------
    TypeError
        A column holds other types than `to_csv` writes, or `samples` is neither a Dataset nor a mapping.
    ValueError
        The table has no ``index``, a sample of the table is missing from `samples`, a name in `samples` is that of a
        column, or a string holds a lone surrogate, which Arrow can't represent.
    ModuleNotFoundError
        datasets isn't installed.
    """
    try:
        import datasets
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("to_dataset needs datasets, which is not installed: pip install datasets") from error
    table = read_table("to_dataset", issues)
    repeated = [name for name in _column_names(samples) if name in table]
    if repeated:
        raise ValueError(f"samples must have names other than those of the table, got {repeated[0]!r}; rename it")
    rows = _make_rows(datasets, table)
    if samples is None:
        return rows
    selected = _select_rows(datasets, samples, table["index"])
    if len(rows) == 0:
        # Concatenating would drop the columns of empty parts.
        features = datasets.Features({**selected.features, **rows.features})
        return datasets.Dataset.from_dict({name: [] for name in features}, features=features)
    return datasets.concatenate_datasets([selected, rows], axis=1)


def _column_names(samples: Any) -> list[str]:
    if samples is None:
        return []
    return list(getattr(samples, "column_names", samples))


def _select_rows(datasets: Any, samples: Any, index: Column) -> datasets.Dataset:
    """Return the columns of the samples, one row for each row of the table."""
    if isinstance(samples, datasets.Dataset):
        # Checks that the table's samples are there.
        select_samples("samples", np.arange(len(samples)), index)
        return samples.select(index.tolist())
    if not hasattr(samples, "items"):
        raise TypeError(
            f"samples must be a Dataset or a mapping of names to columns, got {type(samples).__name__}; name the "
            "column, {'text': texts}"
        )
    columns = {name: select_samples(f"samples[{name!r}]", values, index) for name, values in samples.items()}
    return datasets.Dataset.from_dict({name: _plain(name, column) for name, column in columns.items()})


def _make_rows(datasets: Any, table: Mapping[str, Column]) -> datasets.Dataset:
    """Return the columns of the table as a Dataset."""
    columns: dict[str, Any] = {}
    features = {}
    labels = [table[name] for name in LABELS if name in table and is_text(table[name])]
    names = class_names(labels)
    numbers = {name: number for number, name in enumerate(names)}
    check_unicode("given_label and predicted_label of issues", names)
    for name, column in table.items():
        if name in LABELS and is_text(column):
            columns[name] = [numbers[label] for label in column.tolist()]
            features[name] = datasets.ClassLabel(names=names)
        elif is_text(column):
            columns[name] = check_unicode(f"column {name!r} of issues", column.tolist())
            features[name] = datasets.Value("string")
        else:
            columns[name] = column
            features[name] = datasets.Value(str(column.dtype))
    return datasets.Dataset.from_dict(columns, features=datasets.Features(features))


def _plain(name: str, column: Column) -> Any:
    """Return a column of samples as an array of numbers or a list of objects."""
    if not is_text(column):
        return column
    items = [str(item) if isinstance(item, PurePath) else item for item in column.tolist()]
    check_unicode(f"samples[{name!r}]", [item for item in items if isinstance(item, str)])
    return items
