"""Samples and labels of a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .assembly import LARGEST_INT64, assemble
from .columns import (
    check_column,
    find_id_column,
    find_identifiers,
    find_image_column,
    find_label_column,
    find_text_column,
    is_distinct,
    is_encoded,
    is_split_column,
    locate,
    match_columns,
)
from .labelled_data import Kind, LabelledData, ReadOptions, View, join_names
from .number_columns import as_numbers, as_vectors, make_feature_table, read_matrix, read_npy
from .optional_packages import import_optional
from .probabilities import finish_probabilities
from .table import Table, is_missing

NOT_FINITE = "a number that is missing or infinite"
MIN_ROWS_OF_COPIES = 20
"""Rows from which a column that repeats the labels is no coincidence."""


class _Samples(NamedTuple):
    """The samples of a table, all rows, and why some can't be used."""

    kind: Kind
    samples: Any
    unusable: dict[int, str]
    columns: list[str] | None  # those that the samples come from, if they are columns


def read_table(table: Table, options: ReadOptions) -> LabelledData:
    """Find the samples and the labels in a table.

    Parameters
    ----------
    table : Table
    options : ReadOptions

    Returns
    -------
    LabelledData
        The kind is that of `options`; or probabilities or features if `options` names them; otherwise images, if a
        column has them or their file names; features, if one has vectors; texts, if there is a column of them; and a
        table of all other columns if there is none.

    Raises
    ------
    ValueError, TypeError
        A column is missing or isn't what it should be; or see `encode_labels`.
    ImportError
        pandas isn't installed.
    """
    notes = list(table.notes)
    label = find_label_column(table, options.label)
    dropped = match_columns(table, options.drop_columns, "drop_columns", excluded=[label])
    split_column = _find_split_column(table, options.split, label)
    names = [name for name in table.columns if name not in (label, split_column, *dropped)]
    id_column = _choose_id_column(table, options, names, notes)
    found = _read_samples(table, options, names, label, id_column, notes)
    unusable = dict(found.unusable)
    if options.split is not None:
        unusable |= _other_splits(table, split_column, options.split)
    data = assemble(
        name=table.source.name,
        where=f"column {label!r} of {table.source}",
        kind=found.kind,
        samples=found.samples,
        labels=_plain_labels(table, label),
        ids=_read_ids(table, id_column, found),
        notes=notes,
        unusable=unusable,
        class_names=table.class_names.get(label),
        view=_find_view(table, [name for name in names if name not in (found.columns or ())], found.kind),
    )
    if found.kind == "probabilities":
        return finish_probabilities(data, f"logits of {table.source}", found.columns)
    return _drop_copies(data) if found.kind == "table" else data


def _find_view(table: Table, names: Sequence[str], kind: Kind) -> View | None:
    """Return what a person looks at where a model sees features: images, texts or the other columns."""
    if kind not in ("features", "probabilities") or not names:
        return None
    if find_image_column(table, names) is not None:
        return View("images", _read_images(table, names).samples)
    text = find_text_column(table, names)
    if text is not None:
        return View("texts", ["" if cell is None else str(cell) for cell in table.columns[text].tolist()])
    vectors = _find_vectors(table, names)
    others = {name: table.columns[name] for name in names if name not in vectors}
    if not others:
        return None
    pandas = import_optional("pandas", "tables")
    return View("table", pandas.DataFrame(others))


def _find_split_column(table: Table, split: str | None, label: str) -> str | None:
    """Return the column that tells to which split a sample belongs."""
    for name in table.columns:
        if name != label and (is_split_column(table, name) or (split is not None and name.lower() == "split")):
            return name
    if split is not None:
        raise ValueError(f"{table.source} has no column split, got split {split!r}")
    return None


def _other_splits(table: Table, split_column: str | None, split: str) -> dict[int, str]:
    """Return the samples that aren't in a split."""
    cells = [str(cell).strip() for cell in table.columns[split_column or ""].tolist()]
    if split not in cells:
        raise ValueError(f"split must be in the column {split_column!r}, got {split!r}; it has {_list(cells)}")
    return {row: f"not in the split {split}" for row, cell in enumerate(cells) if cell != split}


def _list(cells: list[str]) -> str:
    return join_names(sorted(set(cells)))


def _choose_id_column(table: Table, options: ReadOptions, names: Sequence[str], notes: list[str]) -> str | None:
    if options.id_column is None:
        return find_id_column(table, [name for name in names if name != options.text], notes)
    name = check_column(table, options.id_column, "id_column")
    if not is_distinct(table.columns[name]):
        notes.append(f"The id column {name!r} has repeated or empty values.")
    return name


def _read_samples(
    table: Table, options: ReadOptions, names: list[str], label: str, id_column: str | None, notes: list[str]
) -> _Samples:
    argument = "features" if options.logits is None else "logits"
    selection = options.features if options.logits is None else options.logits
    if isinstance(selection, Path):
        matrix = read_npy(selection, argument, table.n_rows, options.max_bytes)
        return _make_matrix(matrix, options, None)
    if selection is not None:
        names = match_columns(table, selection, argument, excluded=[label])
        if options.kind != "table":
            return _make_matrix(read_matrix(table, names, argument), options, names)
    kind = options.kind or _decide_kind(table, options, names)
    if kind == "images":
        return _read_images(table, names)
    others = [name for name in names if name != id_column]
    if kind == "texts":
        return _read_texts(table, options.text, others, notes)
    if kind == "features":
        return _make_matrix(_read_features(table, others, notes), options, None)
    if kind == "probabilities":
        raise ValueError("kind 'probabilities' needs the columns of the model's scores; pass their names, --logits")
    others = _drop_ids(table, others, notes)
    return _Samples("table", make_feature_table(table, others, notes), {}, others)


def _decide_kind(table: Table, options: ReadOptions, names: list[str]) -> Kind:
    if options.text is not None:
        return "texts"
    if find_image_column(table, names) is not None:
        return "images"
    if _find_vectors(table, names):
        return "features"
    if find_text_column(table, names) is not None:
        return "texts"
    return "table"


def _find_vectors(table: Table, names: Sequence[str]) -> list[str]:
    if not table.is_typed:
        return []
    return [name for name in names if as_vectors(table, name) is not None]


def _read_texts(table: Table, text: str | None, names: Sequence[str], notes: list[str]) -> _Samples:
    name = find_text_column(table, names) if text is None else check_column(table, text, "text")
    if name is None:
        raise ValueError(
            f"{table.source} has no column of texts; pass its name, --text NAME. Its columns are "
            f"{table.describe_columns()}"
        )
    texts = ["" if is_missing(cell) else str(cell) for cell in table.columns[name].tolist()]
    if all(not text.strip() for text in texts):
        raise ValueError(f"column {name!r} of {table.source} must have texts, got empty cells only")
    others = [repr(other) for other in names if other != name]
    if others:
        notes.append(f"The samples are the texts of the column {name!r}; not used: {join_names(others)}.")
    unusable = {row: "no text" for row, text in enumerate(texts) if not text.strip()}
    return _Samples("texts", texts, unusable, [name])


def _read_images(table: Table, names: Sequence[str]) -> _Samples:
    name = find_image_column(table, names)
    if name is None:
        raise ValueError(
            f"{table.source} has no column of images or of names of existing image files; its columns are "
            f"{table.describe_columns()}"
        )
    unusable = {}
    samples: list[Path] | list[bytes]
    if is_encoded(table.columns[name]):
        samples = [(cell or {}).get("bytes") or b"" for cell in table.columns[name].tolist()]
        unusable = {row: "no image" for row, sample in enumerate(samples) if not sample}
        return _Samples("images", samples, unusable, [name])
    samples = [locate(table.source, "" if is_missing(cell) else str(cell)) for cell in table.columns[name].tolist()]
    unusable = {row: "image file doesn't exist" for row, path in enumerate(samples) if not path.is_file()}
    return _Samples("images", samples, unusable, [name])


def _read_features(table: Table, names: Sequence[str], notes: list[str]) -> npt.NDArray[Any]:
    """Return the column of vectors, or all columns of numbers."""
    vectors = _find_vectors(table, names)
    if len(vectors) > 1:
        raise ValueError(
            f"{table.source} has several columns of vectors: {join_names(vectors)}; pass the name of one, --features "
            "NAME"
        )
    if not vectors:
        names = _drop_ids(table, names, notes)
    used = vectors or [name for name in names if as_numbers(table.columns[name], table.decimal_comma) is not None]
    if not used:
        raise ValueError(f"{table.source} has no columns of numbers; its columns are {table.describe_columns()}")
    others = [repr(name) for name in names if name not in used]
    if others:
        notes.append(
            f"The features are the columns {join_names(list(map(repr, used)))}; not used: {join_names(others)}."
        )
    return read_matrix(table, used, "features")


def _make_matrix(matrix: npt.NDArray[Any], options: ReadOptions, columns: list[str] | None) -> _Samples:
    kind: Kind = "features" if options.logits is None else "probabilities"
    with np.errstate(over="ignore"):  # overflow gives an infinity, which is left out
        matrix = matrix.astype(np.float32 if kind == "features" else np.float64)
    is_finite = np.isfinite(matrix).all(axis=1)
    unusable = dict.fromkeys(np.flatnonzero(~is_finite).tolist(), NOT_FINITE)
    return _Samples(kind, matrix, unusable, columns)


def _drop_ids(table: Table, names: Sequence[str], notes: list[str]) -> list[str]:
    """Return the columns that aren't identifiers."""
    dropped = find_identifiers(table, names)
    if dropped:
        notes.append(f"Identifiers are no features: {join_names(list(map(repr, dropped)))}.")
    return [name for name in names if name not in dropped]


def _drop_copies(data: LabelledData) -> LabelledData:
    """Return a table without the columns that repeat the labels, such as their names beside their numbers."""
    frame = data.samples
    if len(frame) < MIN_ROWS_OF_COPIES:
        return data
    copies = [name for name in frame.columns if _is_copy(frame[name], data.labels)]
    if not copies:
        return data
    if len(copies) == frame.shape[1]:
        raise ValueError(f"{data.name} has no feature columns but copies of the labels: {join_names(copies)}")
    note = f"Columns with one value for each class are copies of the labels, and no features: {join_names(copies)}."
    return replace(data, samples=frame.drop(columns=copies), notes=[*data.notes, note])


def _is_copy(cells: Any, labels: npt.NDArray[np.int64]) -> bool:
    codes = cells.factorize()[0]
    n_classes = len(np.unique(labels))
    if len(np.unique(codes)) != n_classes:
        return False
    return len(np.unique(np.column_stack((codes, labels)), axis=0)) == n_classes


def _plain_labels(table: Table, label: str) -> list[Any]:
    """Return the labels as Python's values, None where there is none."""
    cells = table.columns[label]
    return list(cells.astype(object).where(cells.notna(), None).tolist())


def _read_ids(table: Table, id_column: str | None, found: _Samples) -> npt.NDArray[Any]:
    """Return the cells of the id column; the names of image files; or row numbers."""
    if id_column is None and found.kind == "images" and found.columns is not None:
        cells = table.columns[found.columns[0]]
        if not is_encoded(cells) and is_distinct(cells):
            return _plain_ids(cells)
    if id_column is None:
        return np.arange(table.n_rows)
    return _plain_ids(table.columns[id_column])


def _plain_ids(cells: Any) -> npt.NDArray[Any]:
    if cells.dtype.kind in "iu":
        return np.asarray(cells.to_numpy())
    items = cells.tolist()
    if all(type(item) is int and abs(item) <= LARGEST_INT64 for item in items):
        return np.array(items, np.int64)
    array = np.empty(len(items), object)
    array[:] = ["" if is_missing(item) else str(item) for item in items]
    return array
