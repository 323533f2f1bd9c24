"""Samples that are in the data more than once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .readers.optional_packages import import_optional


@dataclass(frozen=True, eq=False)
class Duplicates:
    """Samples with equal content.

    Attributes
    ----------
    members : np.ndarray of int64, shape (k,)
        Their indices, ascending; k is at least 2.
    labels : np.ndarray of int64, shape (k,)
        Their labels.
    """

    members: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]

    @property
    def labels_differ(self) -> bool:
        """Whether they have different labels, of which all but one class are wrong."""
        return bool((self.labels != self.labels[0]).any())


def find_duplicates(samples: Any, labels: npt.NDArray[np.int64]) -> list[Duplicates]:
    """Return the groups of samples with exactly equal content.

    Parameters
    ----------
    samples : list of str, np.ndarray or pandas.DataFrame, of length n
        Texts, which are compared without surrounding blanks; the hashes of `read_pixels`; features; or a table, whose
        rows are equal if all cells are, missing cells included. Empty strings are no duplicates.
    labels : np.ndarray of int64, shape (n,)

    Returns
    -------
    list of Duplicates
        In the order of their first members.
    """
    positions: dict[Hashable, list[int]] = defaultdict(list)
    for index, key in enumerate(_keys(samples)):
        if key != "":
            positions[key].append(index)
    groups = [np.array(members, np.int64) for members in positions.values() if len(members) > 1]
    return [Duplicates(members, labels[members]) for members in groups]


def _keys(samples: Any) -> Iterable[Hashable]:
    """Return a value for each sample that is equal for equal samples only."""
    if isinstance(samples, list):
        return (sample.strip() for sample in samples)
    if not isinstance(samples, np.ndarray):
        samples = _codes(samples)
    elif samples.dtype.kind == "f":
        samples = samples + samples.dtype.type(0)  # -0.0 becomes 0.0, which has other bytes
    return (np.ascontiguousarray(row).tobytes() for row in samples)


def _codes(frame: Any) -> npt.NDArray[np.int32]:
    """Return the cells of a table as numbers that are equal in a column where the cells are."""
    pandas = import_optional("pandas", "tables")
    codes = np.empty(frame.shape, np.int32)
    for position in range(frame.shape[1]):
        codes[:, position] = pandas.factorize(frame.iloc[:, position])[0]
    return codes
