"""Texts as features: TF-IDF reduced by a truncated SVD, for small models that train in seconds."""

from __future__ import annotations

import csv
import json
import lzma
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .imdb_folder import read_imdb_folder

COMPONENTS = 256
"""Number of features."""

SPLITS = ("train", "test")


@dataclass(frozen=True, eq=False)
class TextData:
    """Labelled texts of a training set and a test set.

    Attributes
    ----------
    train, test : list of str
        Texts.
    y_train, y_test : np.ndarray of int64, shape (n,)
        Labels in [0, n_classes).
    """

    train: list[str]
    y_train: npt.NDArray[np.int64]
    test: list[str]
    y_test: npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class TextFeatures:
    """Features of a training set and a test set.

    Attributes
    ----------
    x_train, x_test : torch.Tensor of float32, shape (n, d)
        Features with mean 0 in the training set; all of them together have variance 1 before they are centred.
    y_train, y_test : torch.Tensor of int64, shape (n,)
        Labels in [0, n_classes).
    """

    x_train: Tensor
    y_train: Tensor
    x_test: Tensor
    y_test: Tensor


def read_banking77(path: Path) -> TextData:
    """Read BANKING77, customer questions with 77 intents (Casanueva et al. 2020).

    Parameters
    ----------
    path : Path
        Tab-separated text compressed by xz, with the columns split, label and text.

    Returns
    -------
    TextData
        The intents are numbered in alphabetical order.
    """
    with lzma.open(path, "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    labels = np.unique([row["label"] for row in rows], return_inverse=True)[1].astype(np.int64)
    training = np.array([row["split"] == "train" for row in rows])
    texts = {part: [row["text"] for row in rows if (row["split"] == "train") == (part == "train")] for part in SPLITS}
    return TextData(texts["train"], labels[training], texts["test"], labels[~training])


def read_imdb_rows(path: Path) -> list[dict[str, Any]]:
    """Return the reviews of IMDb with their ids and ratings, see `read_imdb`; both layouts have the same order."""
    if path.is_dir():
        return read_imdb_folder(path)
    with lzma.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def read_imdb(path: Path, samples: int | None = None) -> TextData:
    """Read IMDb, film reviews labelled positive or negative (Maas et al. 2011).

    Parameters
    ----------
    path : Path
        The folder aclImdb, see `read_imdb_folder`; or a file with one JSON object per line, compressed by xz, with the
        keys split, label (0 or 1) and text.
    samples : int, optional
        Number of reviews to draw from each split, always the same ones. By default all.

    Returns
    -------
    TextData

    Raises
    ------
    ValueError
        A split holds fewer reviews than `samples`.
    """
    rows = read_imdb_rows(path)
    generator = np.random.default_rng(0)
    texts = {}
    labels = {}
    for part in SPLITS:
        members = [row for row in rows if row["split"] == part]
        if samples is not None:
            if samples > len(members):
                raise ValueError(f"samples must be at most {len(members):,}, the reviews in {part}, got {samples:,}")
            members = [members[i] for i in generator.permutation(len(members))[:samples]]
        texts[part] = [row["text"] for row in members]
        labels[part] = np.array([row["label"] for row in members], np.int64)
    return TextData(texts["train"], labels["train"], texts["test"], labels["test"])


def tfidf_features(data: TextData, longest_phrase: int = 1) -> TextFeatures:
    """Return the features of texts, learned from the training texts.

    Parameters
    ----------
    data : TextData
    longest_phrase : int, default 1
        Number of words of the longest phrases that are counted.

    Raises
    ------
    ValueError
        scikit-learn isn't installed.
    """
    try:
        from sklearn.decomposition import TruncatedSVD
        from sklearn.feature_extraction.text import TfidfVectorizer
    except ModuleNotFoundError as error:
        raise ValueError(
            f"features of texts can't be computed here: there is no module {error.name}; pip install scikit-learn"
        ) from error
    vectorizer = TfidfVectorizer(sublinear_tf=True, min_df=2, ngram_range=(1, longest_phrase))
    counts = vectorizer.fit_transform(data.train)
    reduction = TruncatedSVD(min(COMPONENTS, *counts.shape), random_state=0)
    x_train = reduction.fit_transform(counts).astype(np.float32)
    x_test = reduction.transform(vectorizer.transform(data.test)).astype(np.float32)
    mean = x_train.mean(axis=0)
    std = x_train.std()
    return TextFeatures(
        x_train=torch.from_numpy((x_train - mean) / std),
        y_train=torch.from_numpy(data.y_train),
        x_test=torch.from_numpy((x_test - mean) / std),
        y_test=torch.from_numpy(data.y_test),
    )


@lru_cache(maxsize=1)
def load_banking77(path: Path) -> TextFeatures:
    """Return the features of BANKING77, computed once per process; phrases of two words count."""
    return tfidf_features(read_banking77(path), longest_phrase=2)


@lru_cache(maxsize=1)
def load_imdb(path: Path, samples: int) -> TextFeatures:
    """Return the features of `samples` reviews of either split of IMDb, computed once per process."""
    return tfidf_features(read_imdb(path, samples))
