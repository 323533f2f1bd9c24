"""Fashion-MNIST with labels of several sources, or with rare classes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from rrm_core._arguments import MAX_CONTAMINATION
from rrm_torch.training.pipeline import Task

from .noisy_tasks import CLEAN_TASKS, add_noise

SAMPLES = 3000
N_RULES = 20
N_ANNOTATORS = 20
N_CHECKED = 10
"""Labels of each source that a person checks."""

ANNOTATORS = {
    "annotators": np.linspace(0.05, 0.9, N_ANNOTATORS),
    "better annotators": np.geomspace(0.05, 0.9, N_ANNOTATORS),
}
"""Shares of wrong labels of annotators: evenly spaced, 48 % in the mean; in constant ratio, 30 %."""


@dataclass(frozen=True, eq=False)
class GroupedTask:
    """A task whose samples have groups.

    Attributes
    ----------
    task : Task
    groups : int64 array of shape (n,)
        The source of each label; or its class.
    true_shares, checked_shares : float64 array of shape (n_groups,)
        The share of wrong labels in each group, and among `N_CHECKED` labels of it.
    """

    task: Task
    groups: npt.NDArray[np.int64]
    true_shares: npt.NDArray[np.float64]
    checked_shares: npt.NDArray[np.float64]


def rules(data: Path, samples: int, seed: int) -> GroupedTask:
    """Return labels of two rules for each class; in half of the classes the second gives the next class.

    Each rule fires on one half of the images of its class, by the side of the median on which a random projection lies.
    """
    clean = CLEAN_TASKS["fashion"](data, samples, seed)
    rng = np.random.default_rng(seed)
    true = clean.labels.numpy()
    pixels = clean.x_train.flatten(1).numpy()
    rule = 2 * true
    for k in range(N_RULES // 2):
        projection = pixels[true == k] @ rng.standard_normal(pixels.shape[1])
        rule[true == k] += projection > np.median(projection)
    wrong_rules = 1 + 2 * rng.permutation(N_RULES // 2)[: N_RULES // 4]
    return _grouped(clean, rule, np.isin(rule, wrong_rules), rng)


def annotators(data: Path, shares: npt.NDArray[np.float64], samples: int, seed: int) -> GroupedTask:
    """Return labels of annotators with such shares of wrong labels, each the next class."""
    clean = CLEAN_TASKS["fashion"](data, samples, seed)
    rng = np.random.default_rng(seed)
    annotator = rng.integers(0, len(shares), samples)
    return _grouped(clean, annotator, rng.random(samples) < shares[annotator], rng)


def long_tail(data: Path, imbalance: int, noise: str, samples: int, seed: int) -> GroupedTask:
    """Return classes of exponentially decreasing sizes, the largest `imbalance` times the smallest, with noise."""
    clean = CLEAN_TASKS["fashion"](data, samples, seed)
    labels = clean.labels.numpy()
    n_classes = int(labels.max()) + 1
    largest = int(np.bincount(labels).min())
    kept = []
    for k in range(n_classes):
        n_kept = round(largest * imbalance ** (-k / (n_classes - 1)))
        kept.append(np.flatnonzero(labels == k)[:n_kept])
    chosen = np.sort(np.concatenate(kept))
    rare = replace(clean, x_train=clean.x_train[chosen], labels=clean.labels[chosen])
    noisy = add_noise(rare, noise, seed)
    assert noisy.wrong is not None
    return _with_shares(noisy, noisy.labels.numpy(), np.random.default_rng(seed))


def _grouped(
    clean: Task, groups: npt.NDArray[np.int64], wrong: npt.NDArray[np.bool_], rng: np.random.Generator
) -> GroupedTask:
    """Return a task whose wrong labels are the next class."""
    true = clean.labels.numpy()
    n_classes = int(true.max()) + 1
    labels = torch.from_numpy(np.where(wrong, (true + 1) % n_classes, true))
    return _with_shares(replace(clean, labels=labels, wrong=wrong), groups, rng)


def _with_shares(task: Task, groups: npt.NDArray[np.int64], rng: np.random.Generator) -> GroupedTask:
    assert task.wrong is not None
    members = [np.flatnonzero(groups == g) for g in range(int(groups.max()) + 1)]
    true_shares = np.array([task.wrong[own].mean() for own in members])
    checked_shares = np.array([task.wrong[rng.permutation(own)[:N_CHECKED]].mean() for own in members])
    return GroupedTask(
        task, groups, np.minimum(true_shares, MAX_CONTAMINATION), np.minimum(checked_shares, MAX_CONTAMINATION)
    )
