"""Corrections of training labels, as a person made them on a page of label issues."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from rrm_review import apply_corrections

from .images import ImageData


def correct_images(data: ImageData, files: Sequence[Path]) -> ImageData:
    """Return a data set with corrected training labels, without the training images that were dropped.

    Parameters
    ----------
    data : ImageData
    files : sequence of Path
        Files of corrections, see `rrm_review.apply_corrections`. Their ids are the positions of the training images,
        their labels the names of the classes.

    Returns
    -------
    ImageData
        With `ids`, the positions in `data`, and `uncorrected`, the labels in `data`. The test set is unchanged.

    Raises
    ------
    ValueError
        As `rrm_review.apply_corrections`; or no training image remains.
    OSError
        A file can't be read.
    """
    names = np.array(data.classes, dtype=object)
    given = data.y_train.numpy()
    corrected = apply_corrections(names[given], list(files), classes=data.classes)
    rows = corrected.retained
    if not len(rows):
        raise ValueError(f"corrections must leave at least one training image, got {len(corrected.dropped):,} dropped")
    numbers = {name: number for number, name in enumerate(data.classes)}
    labels = [numbers[name] for name in corrected.labels[rows].tolist()]
    return replace(
        data,
        x_train=data.x_train[torch.from_numpy(rows)],
        y_train=torch.tensor(labels),
        ids=rows,
        uncorrected=given[rows],
    )
