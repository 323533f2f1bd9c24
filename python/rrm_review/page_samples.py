"""The samples of a page: images, texts, or rows of a table, as JSON types."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from .page_data import as_json_values
from .thumbnails import UnreadableImage, check_pillow, encode_thumbnails, read_image

if TYPE_CHECKING:
    from PIL.Image import Image

Kind: TypeAlias = Literal["images", "texts", "table"]

MAX_NAMED = 3  # images in a warning


def infer_kind(samples: Any) -> Kind:
    """Return what the samples are.

    Raises
    ------
    TypeError
        It can't be told.
    """
    if isinstance(samples, Mapping) or hasattr(samples, "columns"):
        return "table"
    shape = getattr(samples, "shape", None)
    if shape is not None and len(shape) > 1:
        return "images"
    first = None
    if isinstance(samples, Iterable) and not isinstance(samples, (str, bytes)):
        first = next(iter(samples), "")
    if isinstance(first, str):
        return "texts"
    if isinstance(first, (PurePath, bytes, np.ndarray)) or hasattr(first, "thumbnail"):
        return "images"
    raise TypeError(
        "samples must be an array of images, a sequence of paths, encoded files or PIL images, a sequence of strings, "
        f"or a table, got {type(samples).__name__}; kind= says what they are"
    )


def embed_samples(kind: str, samples: Any, index: npt.NDArray[np.int64], rows: npt.NDArray[np.int64]) -> dict[str, Any]:
    """Return the samples of some rows of a table, of which `index` has the indices of all rows."""
    if kind == "images":
        return _embed_images(samples, index, rows)
    if kind == "texts":
        return {"texts": _read_texts(samples, index, rows)}
    return {"fields": _read_fields(samples, index, rows)}


def _check_length(n: int, index: npt.NDArray[np.int64]) -> None:
    if len(index) > 0 and index.max() >= n:
        raise ValueError(f"samples must hold all samples, by index: got {n:,}, but issues have index {index.max()}")


def _embed_images(samples: Any, index: npt.NDArray[np.int64], rows: npt.NDArray[np.int64]) -> dict[str, Any]:
    """Return thumbnails as data URIs, None for those that can't be read, and what is wrong with these."""
    # A Series has other keys than positions.
    if hasattr(samples, "iloc") or not (hasattr(samples, "shape") or isinstance(samples, Sequence)):
        samples = list(samples)
    _check_length(len(samples), index)
    check_pillow()
    numbers = index[rows].tolist()
    errors: dict[int, str] = {}

    def read_all() -> Iterator[Image | None]:
        for row, number in enumerate(numbers):
            image = read_image(samples[number], number)
            if isinstance(image, UnreadableImage):
                errors[row] = image.reason
                yield None
            else:
                yield image

    thumbnails = encode_thumbnails(read_all())
    if errors:
        names = [_name_image(samples[numbers[row]], numbers[row]) for row in list(errors)[:MAX_NAMED]]
        named = ", ".join(names) + (", ..." if len(errors) > MAX_NAMED else "")
        warnings.warn(
            f"{len(errors):,} of {len(rows):,} images can't be read, and the page says so in their place: {named} "
            f"({next(iter(errors.values()))})",
            stacklevel=4,
        )
    return {"images": thumbnails, "errors": {str(row): reason for row, reason in errors.items()}}


def _name_image(item: Any, number: int) -> str:
    return ascii(str(item)) if isinstance(item, (str, os.PathLike)) else f"samples[{number}]"


def _read_texts(samples: Any, index: npt.NDArray[np.int64], rows: npt.NDArray[np.int64]) -> list[str]:
    if isinstance(samples, (str, bytes)):
        raise TypeError(f"samples must be a sequence of strings, got {type(samples).__name__}")
    texts = list(samples)
    _check_length(len(texts), index)
    numbers = index[rows].tolist()
    for number in numbers:
        if not isinstance(texts[number], str):
            kind = type(texts[number]).__name__
            raise TypeError(f"samples must be strings, got {kind} at index {number}; kind= says what they are")
    # Also those of NumPy's type become str.
    return [str(texts[number]) for number in numbers]


def _read_fields(samples: Any, index: npt.NDArray[np.int64], rows: npt.NDArray[np.int64]) -> dict[str, list[Any]]:
    names = list(samples.columns) if hasattr(samples, "columns") else list(samples)
    if not names:
        raise ValueError("samples must have at least one column, got none")
    fields: dict[str, list[Any]] = {}
    for name in names:
        column = np.asarray(samples[name])
        if column.ndim != 1:
            raise ValueError(f"columns of samples must have shape (n,), got {column.shape} for {name!r}")
        _check_length(len(column), index)
        fields[str(name)] = _as_values(column[index[rows]])
    if len(fields) < len(names):
        raise ValueError(f"columns of samples must have distinct names, got {', '.join(map(repr, names))}")
    return fields


def _as_values(column: npt.NDArray[Any]) -> list[Any]:
    """Return a column of any type as JSON types: what is neither a number nor a string as its text."""
    if column.dtype.kind in "biufU":
        return as_json_values(column)
    if column.dtype.kind in "mM":
        return [None if text == "NaT" else text for text in column.astype(str).tolist()]
    return [_as_value(value) for value in column.tolist()]


def _as_value(value: Any) -> Any:
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return as_json_values(np.array([value], object if abs(value) > 2**53 else np.int64))[0]
    if isinstance(value, float):
        return as_json_values(np.array([value]))[0]
    text = str(value)
    # Missing values of pandas.
    return None if text in ("NaT", "<NA>") else text
