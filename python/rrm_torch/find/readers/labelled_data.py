"""Labelled samples from any source, and the options of a reader."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

Kind: TypeAlias = Literal["images", "texts", "table", "features", "probabilities"]
MAX_NAME = 100
"""Characters of a name in a message."""

ViewKind: TypeAlias = Literal["images", "texts", "table"]


@dataclass(frozen=True)
class LeftOut:
    """A sample that isn't used.

    Attributes
    ----------
    id : str or int
        What identifies the sample, see `LabelledData.ids`.
    reason : str
        In one sentence without a full stop.
    """

    id: str | int
    reason: str


class View(NamedTuple):
    """What a person looks at.

    Attributes
    ----------
    kind : {"images", "texts", "table"}
    samples : list, np.ndarray or pandas.DataFrame, of length n
    """

    kind: ViewKind
    samples: Any


@dataclass(frozen=True, eq=False)
class LabelledData:
    """Samples and their labels.

    Attributes
    ----------
    name : str
        Name of the file or folder.
    kind : {"images", "texts", "table", "features", "probabilities"}
    samples : list, np.ndarray or pandas.DataFrame, of length n
        Images: a list of paths, a list of bytes (encoded images), or an array of uint8 or floating-point, shape
        (n, H, W) or (n, H, W, C). Texts: a list of str. Table: a DataFrame of the feature columns, each float64 or a
        pandas category. Features: float32, shape (n, d). Probabilities: float64, shape (n, n_classes); each row sums
        to 1.
    labels : np.ndarray of int64, shape (n,)
        In [0, n_classes).
    classes : tuple of str
        The name of each class: sorted, integers by value; or in the order of the data, if it names the classes, with
        those that no sample has.
    ids : np.ndarray of int64, or of object (str), shape (n,)
        File names relative to the folder with "/", the cells of the id column, or row numbers from 0.
    notes : list of str
        What a user should know about the data, one sentence each.
    left_out : list of LeftOut
        The samples of the source that aren't among these.
    view : View, optional
        What a person looks at, if that isn't what a model is trained on: the texts beside their features, for example.
    """

    name: str
    kind: Kind
    samples: Any
    labels: npt.NDArray[np.int64]
    classes: tuple[str, ...]
    ids: npt.NDArray[Any]
    notes: list[str]
    left_out: list[LeftOut]
    view: View | None = None

    def shown(self) -> View:
        """Return what a person looks at."""
        if self.view is not None:
            return self.view
        if self.kind == "features" or self.kind == "probabilities":
            return View("table", {"sample": self.ids})
        return View(self.kind, self.samples)

    def fingerprint(self) -> str:
        """Return the SHA-256 digest of the ids and the labels."""
        names = [self.classes[label] for label in self.labels.tolist()]
        content = json.dumps([self.ids.tolist(), names])
        return hashlib.sha256(content.encode()).hexdigest()

    def take(self, rows: npt.NDArray[np.int64]) -> LabelledData:
        """Return some of the samples, in the order of `rows`, with the same classes."""
        view = None if self.view is None else View(self.view.kind, select(self.view.samples, rows))
        return replace(
            self, samples=select(self.samples, rows), labels=self.labels[rows], ids=self.ids[rows], view=view
        )

    def without(self, reasons: Mapping[int, str]) -> LabelledData:
        """Return the data without some samples, such as images that can't be decoded.

        Parameters
        ----------
        reasons : mapping of int to str
            The samples' indices, and why each isn't used.

        Returns
        -------
        LabelledData
            With the same classes.
        """
        if not reasons:
            return self
        is_kept = np.ones(len(self.labels), bool)
        is_kept[list(reasons)] = False
        rows = np.flatnonzero(is_kept)
        left_out = [LeftOut(self.ids[index], reason) for index, reason in sorted(reasons.items())]
        return replace(self.take(rows), left_out=[*self.left_out, *left_out])


@dataclass(frozen=True)
class ReadOptions:
    """What a user says about the data.

    Parameters
    ----------
    label, text, id_column : str, optional
        The names of these columns. By default they are found by their usual names.
    features : tuple of str, or Path, optional
        Columns of numbers, by name or by a pattern such as ``emb_*``; or a .npy file with one row per sample.
    logits : tuple of str, or Path, optional
        Logits or probabilities of a model, one column per class, in the same two ways.
    drop_columns : tuple of str
        Columns that aren't features, by name or pattern.
    split : str, optional
        The only split to read, of data that have several.
    kind : {"images", "texts", "table", "features", "probabilities"}, optional
        By default it is decided by the data.
    encoding : str, optional
        The encoding of a text file. By default UTF-8, or UTF-16 with a byte order mark.
    max_bytes : int, optional
        Bytes that the decoded data of a file may take; by default a quarter of this machine's memory.

    Raises
    ------
    ValueError
        `kind` is unknown, or both `features` and `logits` are passed.
    """

    label: str | None = None
    text: str | None = None
    id_column: str | None = None
    features: tuple[str, ...] | Path | None = None
    logits: tuple[str, ...] | Path | None = None
    drop_columns: tuple[str, ...] = ()
    split: str | None = None
    kind: str | None = None
    encoding: str | None = None
    max_bytes: int | None = None

    def __post_init__(self) -> None:
        if self.kind is not None and self.kind not in get_args(Kind):
            raise ValueError(f"kind must be one of {', '.join(get_args(Kind))}, got {self.kind!r}")
        if self.features is not None and self.logits is not None:
            raise ValueError("pass either features or logits, not both")


def select(samples: Any, rows: npt.NDArray[np.int64]) -> Any:
    """Return some of the samples of any kind, in the order of `rows`."""
    if isinstance(samples, list):
        return [samples[row] for row in rows.tolist()]
    if len(rows) == len(samples) and (rows == np.arange(len(samples))).all():
        return samples
    if isinstance(samples, np.ndarray):
        return samples[rows]
    return samples.iloc[rows].reset_index(drop=True)


def shorten(name: str) -> str:
    """Return a name for a message, cut off if it is long: a whole file may be one name in a wrong encoding."""
    return name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 1]}…"


def join_names(names: list[str], limit: int = 5) -> str:
    """Return names as an enumeration for a message, the first few if there are many."""
    text = ", ".join(shorten(name) for name in names[:limit])
    if len(names) > limit:
        text += f" and {len(names) - limit:,} more"
    return text
