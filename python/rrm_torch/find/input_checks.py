"""Checks of the data and the settings of a search, before it begins."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from .export_formats import OUTPUTS
from .output_folder import FILES
from .readers.labelled_data import LabelledData
from .settings import AUTO, SearchSettings

MIN_IMAGES = 100
"""Images from which the share of wrong labels is estimated."""


def check_ids(data: LabelledData) -> None:
    """Raise a ValueError if two samples have the same id, as decisions would be of both, or one has none."""
    if "" in data.ids.tolist():
        index = data.ids.tolist().index("")
        raise ValueError(
            f"the ids of {data.name} must not be empty, got none for sample {index:,} of those used; pass another "
            "column, --id, or none for row numbers"
        )
    id_, count = Counter(map(str, data.ids.tolist())).most_common(1)[0]
    if count > 1:
        remedy = "rename the files" if data.kind == "images" else "pass another column, --id, or none for row numbers"
        raise ValueError(
            f"the ids of {data.name} must differ from sample to sample, got {id_!r} {count:,} times; {remedy}"
        )


def check_search(data: LabelledData, settings: SearchSettings) -> None:
    """Check whether a search for wrong labels is possible.

    Parameters
    ----------
    data : LabelledData
        The samples to train with, after corrections.
    settings : SearchSettings

    Raises
    ------
    ValueError
        The samples are of fewer than two classes; there are too few images for an estimate; or a model is passed with
        predictions, which need none.
    """
    n_classes = len(np.unique(data.labels))
    if n_classes < 2:
        raise ValueError(
            f"{data.name} must have samples of at least 2 classes, got {n_classes} once samples that can't be used and "
            "those dropped by corrections are left out"
        )
    n = len(data.labels)
    if data.kind == "images" and n < MIN_IMAGES and settings.contamination == AUTO:
        raise ValueError(
            f"{data.name} has {n:,} images, and the share of wrong labels is estimated from {MIN_IMAGES} or more; pass "
            "the share to flag, such as --contamination 0.1"
        )
    if data.kind == "probabilities" and settings.model is not None:
        raise ValueError(
            f"pass either logits or a model, not both: nothing is trained on logits, got {settings.model!r}"
        )


def check_not_replaced(folder: Path, inputs: Iterable[Path], formats: Iterable[str] = ()) -> None:
    """Raise a ValueError if a search would write into the folder of the data, or replace a file that is read."""
    inputs = list(inputs)
    if any(path.is_dir() and path.resolve() == folder.resolve() for path in inputs):
        raise ValueError(f"{folder} holds the data; choose another folder for the page and the lists, --out")
    names = [*FILES, *(name for format_ in formats for name in OUTPUTS[format_])]
    outputs = {(folder / name).resolve() for name in names}
    for path in inputs:
        if path.resolve() in outputs:
            raise ValueError(f"{path} would be replaced by a file of the search; choose another folder, --out")
