"""Data sets with the votes of labelling rules, in the format of WRENCH (Zhang et al. 2021)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .rule_votes import ABSTAIN, Votes

SPLITS = ("train", "valid", "test")
MAX_CLASSES = np.iinfo(np.int8).max + 1


@dataclass(frozen=True, eq=False)
class VotedSamples:
    """Samples of a split with their true labels and the votes of the rules.

    Attributes
    ----------
    texts : list of str or None
    features : float32 array of shape (n, d) or None
        In place of texts.
    labels : int64 array of shape (n,)
        True labels in [0, n_classes).
    votes : int8 array of shape (n, n_rules)
        The class for which each rule votes; −1 where it abstains.
    """

    texts: list[str] | None
    features: npt.NDArray[np.float32] | None
    labels: npt.NDArray[np.int64]
    votes: Votes


@dataclass(frozen=True, eq=False)
class VotedData:
    """A data set with the votes of rules.

    Attributes
    ----------
    classes : tuple of str
        Names of the classes.
    train, valid, test : VotedSamples
    """

    classes: tuple[str, ...]
    train: VotedSamples
    valid: VotedSamples
    test: VotedSamples


def read_wrench(path: Path) -> VotedData:
    """Read a data set of WRENCH for classification.

    Parameters
    ----------
    path : Path
        Folder with label.json, the names of the classes by number (``{"0": "HAM", "1": "SPAM"}``), and train.json,
        valid.json and test.json, each an object of samples such as
        ``{"0": {"label": 1, "weak_labels": [-1, 0, 1], "data": {"text": "..."}}}``, or with
        ``"data": {"feature": [0.5, ...]}``.

    Returns
    -------
    VotedData
        Samples in the order of the files.

    Raises
    ------
    FileNotFoundError
        A file is missing.
    ValueError
        A file is not of this form; a label or a vote is out of range; or samples have different numbers of rules or
        features.
    """
    classes = _read_classes(path / "label.json")
    parts = {split: _read_samples(path / f"{split}.json", len(classes)) for split in SPLITS}
    for name in ("votes", "features"):
        shapes = {split: _width(getattr(part, name)) for split, part in parts.items()}
        if len(set(shapes.values())) > 1:
            found = ", ".join(f"{shape} in {split}.json" for split, shape in shapes.items())
            raise ValueError(f"all files in {path} must have as many {name}, got {found}; use those of one data set")
    return VotedData(classes, **parts)


def _width(array: npt.NDArray[Any] | None) -> int | None:
    return None if array is None else array.shape[1]


def _read_object(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(
            f"folder {str(path.parent)!r} must hold {path.name}; it is that of a data set of WRENCH"
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} can't be read as JSON: {error}; download it again") from error
    if not isinstance(content, dict) or not content:
        raise ValueError(f"{path} must hold a JSON object with entries, got {type(content).__name__}")
    return content


def _read_classes(path: Path) -> tuple[str, ...]:
    names = _read_object(path)
    numbers = [str(k) for k in range(len(names))]
    if sorted(names) != sorted(numbers):
        raise ValueError(f"{path} must number the classes from 0, got {', '.join(names)}")
    if len(names) > MAX_CLASSES:
        raise ValueError(f"{path} must name at most {MAX_CLASSES} classes, got {len(names)}")
    return tuple(str(names[number]) for number in numbers)


def _read_samples(path: Path, n_classes: int) -> VotedSamples:
    rows = _read_object(path)
    for key, row in rows.items():
        _check_row(f"sample {key!r} of {path}", row)
    votes = _stack(path, "weak_labels", [row["weak_labels"] for row in rows.values()], "iu")
    labels = np.array([row["label"] for row in rows.values()])
    _check_range(path, "label", labels, 0, n_classes)
    _check_range(path, "weak_labels", votes, ABSTAIN, n_classes)
    texts = None
    features = None
    kinds = {"text" in row["data"] for row in rows.values()}
    if kinds == {True}:
        texts = [str(row["data"]["text"]) for row in rows.values()]
    elif kinds == {False}:
        features = _stack(path, "feature", [row["data"]["feature"] for row in rows.values()], "iuf").astype(np.float32)
    else:
        raise ValueError(f"samples of {path} must all have text, or all have features; got both")
    return VotedSamples(texts, features, labels.astype(np.int64), votes.astype(np.int8))


def _check_row(name: str, row: Any) -> None:
    wanted = ("label", "weak_labels", "data")
    missing = [key for key in wanted if not isinstance(row, dict) or key not in row]
    if missing:
        raise ValueError(f"{name} must have label, weak_labels and data, lacks {', '.join(missing)}")
    if not isinstance(row["data"], dict) or not {"text", "feature"} & set(row["data"]):
        raise ValueError(f"data of {name} must have text or feature; other data sets of WRENCH can't be read")


def _stack(path: Path, name: str, values: list[Any], kinds: str) -> npt.NDArray[Any]:
    """Return lists of numbers as an array of shape (n, width)."""
    widths = {len(value) if isinstance(value, list) else 0 for value in values}
    if len(widths) > 1:
        raise ValueError(
            f"{name} of all samples of {path} must be equally long, got {min(widths)} to {max(widths)} numbers"
        )
    array = np.array(values)
    if array.ndim != 2 or array.dtype.kind not in kinds:
        numbers = "numbers" if "f" in kinds else "integers"
        raise ValueError(f"{name} of each sample of {path} must be a list of {numbers}, got {values[0]!r:.80}")
    return array


def _check_range(path: Path, name: str, values: npt.NDArray[Any], smallest: int, n_classes: int) -> None:
    if values.dtype.kind not in "iu":
        raise ValueError(f"{name} in {path} must be integers, got {values.dtype}")
    if values.min() < smallest or values.max() >= n_classes:
        extreme = values.min() if values.min() < smallest else values.max()
        raise ValueError(f"{name} in {path} must lie in {smallest} to {n_classes - 1}, got {extreme}")
