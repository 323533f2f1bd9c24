"""Labels as codes: which labels are classes, which are missing, and what about them deserves a note."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from .label_notes import note_classes, note_gaps, note_measurements
from .labelled_data import join_names

NO_LABEL = "no label"

UNSIGNED_MINUS_ONE = {255: 8, 65535: 16, 2**32 - 1: 32, 2**64 - 1: 64}
"""The number of bits by the value that -1 has without a sign."""

_INTEGER = re.compile(r"-?(0|[1-9][0-9]*)(\.0*)?")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


@dataclass
class LabelCodes:
    """Labels of the samples that have one.

    Attributes
    ----------
    rows, codes : np.ndarray of int64, shape (n,)
        The samples' positions in the source, and their labels in [0, n_classes).
    classes : tuple of str
    missing : dict of int to str
        Why each other sample has no label, by its position.
    notes : list of str
    """

    rows: npt.NDArray[np.int64]
    codes: npt.NDArray[np.int64]
    classes: tuple[str, ...]
    missing: dict[int, str]
    notes: list[str] = field(default_factory=list)


def encode_labels(
    where: str,
    values: Sequence[Any] | npt.NDArray[Any],
    skipped: Collection[int] = (),
    class_names: Sequence[str] | None = None,
) -> LabelCodes:
    """Return labels as codes.

    Parameters
    ----------
    where : str
        The file and the column, for messages.
    values : sequence of str, int, float, bool or None, shape (n,)
        None, NaN and blank strings are missing labels. So is -1 beside labels of at least 0, and its value without a
        sign, such as 255, beside small labels.
    skipped : collection of int
        Positions of samples that aren't used for another reason.
    class_names : sequence of str, optional
        The name of each class, if the data has them: labels are then positions in it, or names.

    Returns
    -------
    LabelCodes

    Raises
    ------
    ValueError
        Nothing can be learnt from these labels: there are no two classes, no class has two samples, there are more
        classes than half the samples, or the labels are measurements. Or a label is no class of `class_names`, or two
        of these are equal.
    TypeError
        A label is neither a string nor a number.
    """
    if class_names is not None:
        _check_distinct(where, class_names)
    items = values.tolist() if isinstance(values, np.ndarray) else list(values)
    missing = {}
    present = {}
    for row, item in enumerate(items):
        if row in skipped:
            continue
        label = _strip(where, item)
        if label is None:
            missing[row] = NO_LABEL
        else:
            present[row] = label
    if not present:
        raise ValueError(f"{where} has no labels: each of its {len(items):,} samples lacks one or can't be used")
    notes = _note_blanks(items, present)
    labels, more_notes = _unify(where, list(present.values()), class_names)
    notes += more_notes
    reasons = _find_missing_codes(labels, class_names is not None, notes)
    rows = [row for row, label in zip(present, labels, strict=True) if label not in reasons]
    missing |= {row: reasons[label] for row, label in zip(present, labels, strict=True) if label in reasons}
    labels = [label for label in labels if label not in reasons]
    if not labels:
        raise ValueError(f"{where} has no labels: all are -1, which stands for no label")
    order = _order_classes(where, labels, class_names)
    counts = Counter(labels)
    _check_counts(where, counts)
    positions = {label: code for code, label in enumerate(order)}
    names = tuple(map(str, order if class_names is None else class_names))
    if class_names is None:
        notes += note_gaps(counts)
        notes += note_measurements(counts)
    notes += note_classes([counts[label] for label in order], names)
    return LabelCodes(
        rows=np.array(rows, np.int64),
        codes=np.array([positions[label] for label in labels], np.int64),
        classes=names,
        missing=dict(sorted(missing.items())),
        notes=notes,
    )


def _check_distinct(where: str, class_names: Sequence[str]) -> None:
    name, count = Counter(class_names).most_common(1)[0] if class_names else ("", 0)
    if count > 1:
        raise ValueError(f"{where} must have classes of distinct names, got {name!r} {count} times; rename them")


def _strip(where: str, item: Any) -> Any:
    """Return a label without surrounding blanks, and None for one that is missing."""
    if isinstance(item, bytes):
        item = item.decode("utf-8", "replace")
    if isinstance(item, str):
        return item.strip() or None
    if item is None or (isinstance(item, float) and item != item):
        return None
    if isinstance(item, (bool, int, float)):
        return item
    if isinstance(item, (list, tuple, dict, np.ndarray)):
        raise TypeError(f"{where} must have one label per sample, got {type(item).__name__}: {str(item)[:60]}")
    raise TypeError(f"{where} must have strings or integers as labels, got {type(item).__name__}")


def _unify(where: str, labels: list[Any], class_names: Sequence[str] | None) -> tuple[list[Any], list[str]]:
    """Return labels that are all integers or all strings."""
    types = set(map(type, labels))
    if types == {bool}:
        return list(map(str, labels)), []
    if str not in types:
        return _as_integers(where, labels), []
    notes = []
    if types != {str}:
        notes.append("Some labels are strings and some are numbers; all are read as strings.")
        labels = list(map(str, labels))
    if class_names is not None and set(labels) <= set(class_names):
        return labels, notes
    return _parse(where, labels), notes


def _parse(where: str, labels: list[str]) -> list[Any]:
    """Return strings as integers if all are; numbers with leading zeros, such as postcodes, stay strings."""
    distinct = set(labels)
    if all(_INTEGER.fullmatch(label) for label in distinct):
        integers = {label: int(label.partition(".")[0]) for label in distinct}
        return [integers[label] for label in labels]
    if all(_NUMBER.fullmatch(label) for label in distinct):
        fractions = [label for label in sorted(distinct) if not float(label).is_integer()]
        if fractions:
            raise _regression(where, fractions[0])
    return labels


def _as_integers(where: str, labels: Iterable[bool | int | float]) -> list[int]:
    integers = []
    for label in labels:
        if isinstance(label, float) and not label.is_integer():
            raise _regression(where, label)
        integers.append(int(label))
    return integers


def _regression(where: str, label: object) -> ValueError:
    return ValueError(
        f"{where} must have classes as labels, got the number {label}: this is regression, for which "
        "rrm_sklearn.RRMRegressor is made"
    )


def _note_blanks(items: list[Any], present: dict[int, Any]) -> list[str]:
    """Name the classes that differ in surrounding blanks only, which are merged."""
    spellings = defaultdict(set)
    for row, label in present.items():
        if isinstance(label, str):
            spellings[label].add(items[row])
    merged = [repr(label) for label, variants in sorted(spellings.items()) if len(variants) > 1]
    if not merged:
        return []
    return [f"Labels that differ in surrounding blanks only are one class: {join_names(merged)}."]


def _find_missing_codes(labels: list[Any], has_names: bool, notes: list[str]) -> dict[int, str]:
    """Return the integers that stand for a missing label, each with the reason."""
    distinct = {label for label in labels if isinstance(label, int)}
    reasons: dict[int, str] = {}
    if has_names and -1 in distinct:
        # Named classes are numbered from 0.
        return {-1: "label -1, which stands for no label"}
    if len(distinct) < 3:
        # Of -1 and 1, or 0 and 255, both are classes.
        return reasons
    counts = Counter(labels)
    if min(distinct) == -1:
        reasons[-1] = "label -1, which stands for no label"
        notes.append(
            f"{_count(counts[-1])} left out, as the label -1 beside labels of at least 0 stands for no label; if it is "
            "a class, write a name in its place."
        )
    largest = max(distinct)
    second = max(distinct - {largest})
    bits = UNSIGNED_MINUS_ONE.get(largest)
    if bits is not None and second < largest // 2 and len(distinct) - len(reasons) > 2:
        reasons[largest] = f"label {largest}, which is -1 stored in {bits} bits without a sign: no label"
        notes.append(
            f"{_count(counts[largest])} left out, as the label {largest} is -1 stored in {bits} bits without a sign, "
            f"and the other labels are at most {second}."
        )
    return reasons


def _order_classes(where: str, labels: list[Any], class_names: Sequence[str] | None) -> list[Any]:
    """Return the label of each class."""
    if class_names is None:
        return sorted(set(labels))
    order: list[Any] = list(range(len(class_names)))
    if labels and isinstance(labels[0], str):
        order = list(class_names)
    unknown = sorted(set(labels) - set(order))
    if unknown:
        raise ValueError(
            f"{where} must have labels of the {len(class_names)} classes that the data names "
            f"({join_names(list(class_names))}), got {unknown[0]!r}"
        )
    return order


def _check_counts(where: str, counts: Counter[Any]) -> None:
    """Raise if nothing can be learnt from these labels."""
    n = counts.total()
    if len(counts) == 1:
        raise ValueError(f"{where} must have at least 2 classes, got only {next(iter(counts))!r}")
    if max(counts.values()) == 1:
        raise ValueError(
            f"{where} has another label for each of its {n:,} samples: no class has 2; is it the column of labels?"
        )
    if len(counts) > n / 2:
        raise ValueError(
            f"{where} has {len(counts):,} classes for {n:,} samples, more than half as many; is it the column of "
            "labels? Numbers to predict are for rrm_sklearn.RRMRegressor"
        )


def _count(n: int) -> str:
    return "1 sample is" if n == 1 else f"{n:,} samples are"
