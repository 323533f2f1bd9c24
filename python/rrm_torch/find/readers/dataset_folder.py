"""Data sets that Hugging Face's datasets saved to disk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from .labelled_data import LabelledData, ReadOptions
from .optional_packages import import_optional
from .table import Table
from .table_reader import read_table

FILES = ("dataset_dict.json", "state.json")


def is_dataset_folder(folder: Path) -> bool:
    """Return whether ``save_to_disk`` wrote a folder."""
    return any((folder / name).is_file() for name in FILES)


def read_dataset_folder(folder: Path, options: ReadOptions) -> LabelledData:
    """Read a data set that ``datasets.Dataset.save_to_disk`` or ``DatasetDict.save_to_disk`` wrote.

    Parameters
    ----------
    folder : Path
    options : ReadOptions
        `split` is needed if there are several splits, none of which is train.

    Returns
    -------
    LabelledData
        Class names are those of a ClassLabel column, and images are the encoded images of an Image column; the file
        that an image may name instead isn't opened.

    Raises
    ------
    ValueError, TypeError
        The folder can't be read, a split is missing; or see `read_table`.
    ImportError
        datasets or pandas isn't installed.
    """
    datasets = import_optional("datasets", "data sets of Hugging Face")
    pandas = import_optional("pandas", "tables")
    notes: list[str] = []
    try:
        dataset = datasets.load_from_disk(str(folder))
    # Its files are JSON and Arrow: damaged, they raise many kinds of errors.
    except Exception as error:
        raise ValueError(f"{folder} can't be read as a data set: {' '.join(str(error).split())}") from error
    if isinstance(dataset, datasets.DatasetDict):
        dataset = _choose_split(folder, dataset, options.split, notes)
    elif options.split is not None and options.split != str(dataset.split):
        raise ValueError(f"{folder} must have the split {options.split!r}, got only {str(dataset.split)!r}")
    names = list(dataset.column_names)
    for name in names:
        if isinstance(dataset.features[name], datasets.Image):
            dataset = dataset.cast_column(name, datasets.Image(decode=False))
    dataset = dataset.with_format(None)
    columns = {name: pandas.Series(list(dataset[name]), dtype=object) for name in names}
    table = Table(
        source=folder,
        columns=columns,
        n_rows=len(dataset),
        is_typed=True,
        notes=notes,
        class_names={
            name: list(dataset.features[name].names)
            for name in names
            if isinstance(dataset.features[name], datasets.ClassLabel)
        },
    )
    return read_table(table, replace(options, split=None))


def _choose_split(folder: Path, splits: Any, split: str | None, notes: list[str]) -> Any:
    names = list(splits)
    if split is not None:
        if split not in splits:
            raise ValueError(f"{folder} must have the split {split!r}, got {', '.join(names)}")
        return splits[split]
    if len(names) == 1:
        return splits[names[0]]
    if "train" not in splits:
        raise ValueError(f"{folder} has several splits: {', '.join(names)}; pass the name of one, --split NAME")
    notes.append(f"Of the splits {', '.join(names)}, train is read; --split NAME reads another.")
    return splits["train"]
