"""Search for wrong labels in data of any kind."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from .duplicates import Duplicates, find_duplicates
from .image_search import IMAGE_SIZE, search_images
from .own_model import load_classifier, load_network
from .progress import Progress
from .readers.image_pixels import read_pixels
from .readers.labelled_data import LabelledData
from .result import Result, flag_by_estimate
from .settings import SearchSettings

INPUTS = {
    "texts": "texts as strings",
    "table": "a DataFrame of numbers, in which cells may be missing, and of categories",
    "features": "an array of numbers",
}
"""What a classifier of one's own is fitted to."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """Data whose images are decoded.

    Attributes
    ----------
    data : LabelledData
        Without images that can't be decoded.
    pixels : array of uint8, shape (n, H, W, C), or None
        None unless the samples are images.
    duplicates : list of Duplicates
    """

    data: LabelledData
    pixels: npt.NDArray[np.uint8] | None
    duplicates: list[Duplicates]

    def take(self, data: LabelledData, rows: npt.NDArray[np.int64]) -> Prepared:
        """Return the rows of which `data` consists."""
        pixels = None if self.pixels is None else self.pixels[rows]
        return replace(self, data=data, pixels=pixels)


def prepare(data: LabelledData, progress: Progress) -> Prepared:
    """Decode images, and find duplicates.

    Parameters
    ----------
    data : LabelledData
    progress : callable
        Called as ``progress(done, total, what)`` after each image.

    Raises
    ------
    ValueError
        No image can be decoded.
    ImportError
        Pillow isn't installed.
    """
    if data.kind != "images":
        return Prepared(data, None, _find_duplicates(data))
    n = len(data.labels)
    n_decoded = 0

    def on_sample() -> None:
        nonlocal n_decoded
        n_decoded += 1
        progress(n_decoded, n, "reading")

    pixels, hashes, broken = read_pixels(data.samples, IMAGE_SIZE, on_sample)
    rows = np.array([row for row in range(n) if row not in broken], np.int64)
    data = data.without(broken)
    return Prepared(data, pixels[rows], find_duplicates([hashes[row] for row in rows.tolist()], data.labels))


def _find_duplicates(data: LabelledData) -> list[Duplicates]:
    kind, samples = data.shown()
    if kind == "texts":
        return find_duplicates(samples, data.labels)
    # Equal predictions don't mean equal samples.
    return [] if data.kind == "probabilities" else find_duplicates(data.samples, data.labels)


def load_model(data: LabelledData, settings: SearchSettings) -> Any:
    """Return the network or classifier of one's own; None without one.

    Raises
    ------
    ValueError
        It can't be loaded, or it doesn't suit the data.
    """
    if settings.model is None:
        return None
    if data.kind == "images":
        torch.manual_seed(settings.seed)
        return load_network(settings.model, len(np.unique(data.labels)), IMAGE_SIZE)
    return load_classifier(settings.model)


def search(prepared: Prepared, settings: SearchSettings, progress: Progress, model: Any = None) -> Result:
    """Find wrong labels.

    Parameters
    ----------
    prepared : Prepared
        See `check_search` for what it needs.
    settings : SearchSettings
    progress : callable
        Called as ``progress(done, total, what)``, in samples times epochs or fits.
    model : torch.nn.Module or classifier, optional
        That of `load_model`. By default a model for this kind of data.

    Returns
    -------
    Result
        Its notes are the warnings of the search.

    Raises
    ------
    KeyboardInterrupt
        The search was interrupted before there was anything to report.
    TypeError, ValueError
        The settings don't fit the data.
    """
    data = prepared.data
    # A class without samples has no place in a model.
    present, labels = np.unique(data.labels, return_inverse=True)
    classes = tuple(data.classes[code] for code in present.tolist())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", UserWarning)
        if prepared.pixels is not None:
            result = search_images(prepared.pixels, labels, classes, data.ids, settings, progress, model)
        elif data.kind == "probabilities":
            result = _search_predictions(data, present, labels, classes, settings)
        else:
            result = _search_with_estimator(data, labels, classes, settings, progress, model)
    result = flag_by_estimate(result)
    messages = dict.fromkeys(str(warning.message) for warning in caught)
    return replace(result, notes=tuple(f"{message[:1].upper()}{message[1:].rstrip('.')}." for message in messages))


def _search_predictions(
    data: LabelledData,
    present: npt.NDArray[np.int64],
    labels: npt.NDArray[np.int64],
    classes: tuple[str, ...],
    settings: SearchSettings,
) -> Result:
    from .prediction_search import search_predictions

    return search_predictions(data.samples[:, present], labels, classes, data.ids, settings)


def _search_with_estimator(
    data: LabelledData,
    labels: npt.NDArray[np.int64],
    classes: tuple[str, ...],
    settings: SearchSettings,
    progress: Progress,
    model: Any,
) -> Result:
    from .estimator_search import search_with_estimator
    from .estimators import Estimator, make_feature_estimator, make_table_estimator, make_text_estimator

    if model is not None:
        inputs: Any = data.samples
        if data.kind == "texts":
            inputs = np.array(data.samples, dtype=object)
        estimator = Estimator(model, inputs, str(settings.model))
    elif data.kind == "texts":
        estimator = make_text_estimator(data.samples, len(classes), settings.seed)
    elif data.kind == "table":
        estimator = make_table_estimator(data.samples, len(classes), settings.seed)
    else:
        estimator = make_feature_estimator(data.samples, settings.seed)
    try:
        return search_with_estimator(estimator, labels, classes, data.ids, settings, progress)
    except (TypeError, ValueError) as error:
        if model is None:
            raise
        raise ValueError(
            f"model {settings.model!r} can't be fitted: {error}. It gets {INPUTS[data.kind]}; put an encoder or a "
            "vectoriser before the classifier, in a Pipeline"
        ) from error
