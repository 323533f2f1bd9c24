"""Synthetic noise in the labels of a recipe's training set."""

from __future__ import annotations

from dataclasses import replace

import torch

from rrm_torch.data import noise

from .recipe_data import CheckedLabels, RecipeData


def add_noise(data: RecipeData, kind: str, rate: float, seed: int) -> RecipeData:
    """Return data with synthetic noise in its training labels, which are taken to be right.

    Parameters
    ----------
    data : RecipeData
    kind : str
        A key of `rrm_torch.data.noise.KINDS`.
    rate : float
        Share of wrong labels; 0 leaves the labels as they are, of which nothing is known then.
    seed : int
    """
    if not rate:
        return data
    noisy = noise.KINDS[kind](data.train.labels.numpy(), rate, data.train.n_classes, rng=seed)
    train = replace(data.train, labels=torch.from_numpy(noisy.labels))
    return replace(data, train=train, checked=CheckedLabels.of_all(noisy.wrong))
