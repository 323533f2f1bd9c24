"""Folds: the parts of the samples that models are trained on, and those whose losses they give."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.model_selection import KFold, StratifiedKFold, check_cv

from rrm_core._arguments import as_integer

from .losses import Integers, Mask


@dataclass(frozen=True, eq=False)
class Fold:
    """A training part and a test part.

    Attributes
    ----------
    number, total : int
        The number of this fold, from 1, and that of all folds.
    train, test : array of integers
        Indices of samples.
    """

    number: int
    total: int
    train: Integers
    test: Integers


def make_folds(cv: Any, X: Any, y: Any, is_trained: Mask, random_state: Any, *, is_classifier: bool) -> list[Fold]:
    """Return the folds of some samples.

    Parameters
    ----------
    cv : int, splitter or iterable
        The number of folds, which are drawn by `random_state`, in a classifier with equal shares of each class; or
        splits of the samples.
    X, y : array of shape (n, n_features) and (n,)
    is_trained : bool array of shape (n,)
        The other samples are left out of the training parts.
    random_state : int, RandomState instance or None
    is_classifier : bool

    Returns
    -------
    list of Fold

    Raises
    ------
    ValueError
        `cv` is no number of at least 2, there are too few samples for it, or it doesn't test each sample once.
    """
    splitter = _make_splitter(cv, y, random_state, is_classifier)
    try:
        pairs = list(splitter.split(X, y))
    except ValueError as error:
        if "'groups' parameter should not be None" not in str(error):
            raise
        raise ValueError(
            f"cv={splitter} needs the groups of the samples: give the splits, cv={splitter}.split(X, y, groups)"
        ) from error
    splits = [(train[is_trained[train]], test) for train, test in pairs]
    n_tests = np.bincount(np.concatenate([test for _, test in splits]), minlength=len(y))
    not_once = np.flatnonzero(n_tests != 1)
    if len(not_once):
        sample = not_once[0]
        raise ValueError(
            f"cv must test each sample once, as KFold does, but it tests sample {sample} {n_tests[sample]} times"
        )
    return [Fold(number, len(splits), train, test) for number, (train, test) in enumerate(splits, 1)]


def find_judged(folds: Sequence[Fold], codes: Integers, is_trained: Mask) -> Mask:
    """Return the samples that a model can judge: trained ones, whose class is in the training part of their fold.

    Parameters
    ----------
    folds : sequence of Fold
    codes : array of integers, shape (n,)
        The class of each sample.
    is_trained : bool array of shape (n,)

    Returns
    -------
    bool array of shape (n,)

    Raises
    ------
    ValueError
        There is no such sample.
    """
    is_judged = is_trained.copy()
    for fold in folds:
        is_judged[fold.test] &= np.isin(codes[fold.test], codes[fold.train])
    if not is_judged.any():
        raise ValueError(
            f"cv must leave samples of each class for training, but no model is trained on the classes of its test "
            f"part; there are {len(codes):,} samples of {len(np.unique(codes)):,} classes"
        )
    return is_judged


def _make_splitter(cv: Any, y: Any, random_state: Any, is_classifier: bool) -> Any:
    if not isinstance(cv, Integral) or isinstance(cv, bool):
        return check_cv(cv, y)
    n_folds = as_integer("cv", cv, 2, "at least 2 folds")
    if len(y) < n_folds:
        raise ValueError(f"cv={n_folds} needs at least {n_folds} samples, got n_samples = {len(y)}")
    if is_classifier and np.bincount(y).max() >= n_folds:
        return _QuietStratifiedKFold(n_folds, shuffle=True, random_state=random_state)
    return KFold(n_folds, shuffle=True, random_state=random_state)


class _QuietStratifiedKFold(StratifiedKFold):  # type: ignore[misc]
    """Without a warning about classes with fewer members than folds: they are spread over some of the folds."""

    def split(self, X: Any, y: Any, groups: Any = None) -> list[tuple[Integers, Integers]]:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The least populated class", UserWarning)
            return list(super().split(X, y, groups))
