"""FiftyOne: labels of images with attributes."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt

from rrm_core._atomic_write import atomic_write

from .columns import check_unicode, class_names, json_values, label_texts, read_table, select_samples
from .json_file import encode

ATTRIBUTE_NAMES = {"index": "rrm_index", "id": "rrm_id"}
"""Names of attributes, where they differ from those of the columns."""

LABELS = ("given_label", "predicted_label")

RESERVED = ("label", "confidence", "logits", "tags")
"""Attributes that each label has in FiftyOne."""


def to_fiftyone(issues: Mapping[str, npt.ArrayLike], paths: Any, path: str | os.PathLike[str]) -> None:
    """Write a table as labels that FiftyOne imports: the given labels, with the columns as their attributes.

    Parameters
    ----------
    issues : mapping of str to array, shape (rows,)
        A table from `make_issues`, or some of its rows, with ``given_label``.
    paths : sequence of str or path, shape (n,)
        The image files, in the order of the samples. Relative paths start at the current folder; the images stay where
        they are.
    path : str or path
        The JSON file; an existing one is replaced.

    Raises
    ------
    TypeError
        A column, or `paths`, holds other types than these.
    ValueError
        A column is missing or has a name that FiftyOne reserves, an image of the table is missing from `paths`, two
        samples have the same path, or a string holds a lone surrogate, which FiftyOne can't store. The file is as
        before the call.
    OSError
        The file can't be written. It is as before the call.

    Notes
    -----
    The file is the ``labels.json`` of a FiftyOneImageClassificationDataset:
    ``fiftyone.Dataset.from_dir(labels_path=path, dataset_type=fiftyone.types.FiftyOneImageClassificationDataset,
    label_field="given_label", dynamic=True)`` imports it, and the label quality is the field
    ``given_label.label_quality``. The samples have the order of their paths. The columns ``index`` and ``id`` are the
    attributes ``rrm_index`` and ``rrm_id``. NaN and infinities are null.
    """
    table = read_table("to_fiftyone", issues, "given_label")
    classes = class_names([table[name] for name in LABELS if name in table])
    labels = label_texts("column 'given_label' of issues", table.pop("given_label"))
    images = _read_paths(select_samples("paths", paths, table["index"]).tolist())
    attributes = {}
    for name, column in table.items():
        if name in RESERVED:
            raise ValueError(f"issues must have no column {name!r}, which FiftyOne reserves; rename it")
        argument = f"column {name!r} of issues"
        read = label_texts if name == "predicted_label" else json_values
        attributes[ATTRIBUTE_NAMES.get(name, name)] = read(argument, column)
    entries = {}
    for image, label, *values in zip(images, labels, *attributes.values(), strict=True):
        entries[image] = {"label": label, "attributes": dict(zip(attributes, values, strict=True))}
    with atomic_write(path) as file:
        file.write(encode({"classes": classes, "labels": entries}))


def _read_paths(paths: list[Any]) -> list[str]:
    """Return absolute paths."""
    others = sorted({type(image).__name__ for image in paths if not isinstance(image, (str, os.PathLike))})
    if others:
        raise TypeError(f"paths must be strings or paths, got {', '.join(others)} among them")
    images = check_unicode("paths", [str(Path(image).absolute()) for image in paths])
    if len(set(images)) < len(images):
        repeated = Counter(images).most_common(1)[0][0]
        raise ValueError(f"paths must be distinct, got {repeated} for several samples; keep one row of each image")
    return images
