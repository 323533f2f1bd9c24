"""Confident learning (Northcutt, Jiang and Chuang 2021), by cleanlab, with cross-validated probabilities."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from rrm_torch.training.pipeline import Task, TrainingRun
from rrm_torch.training.score import predict

from ..detection_metrics import Listing
from .area_under_margin import last_linear
from .successive_runs import SEEDS_PER_RUN, Detector, divide_epochs

LISTING = "confident learning"
OTHER_ORDER = "confident learning, normalised margin"


class ConfidentLearning(Detector):
    """Sort by cleanlab's label quality, and list what its ``find_label_issues`` does by default.

    The order is that of the default quality, self-confidence. A second one, by the normalised margin, lists nothing.

    The probabilities of each sample are predicted by a model that was trained on the other folds. Each fold's model is
    trained on a share (k - 1) / k of the samples, for 1 / (k - 1) of the epochs: together the k models see as many
    samples as one model does in all epochs.

    Parameters
    ----------
    task : Task
    recipe : dict
        Of `Recipe`; its epochs are divided among the folds.
    seed : int
        Seed of the folds as well, which are stratified by the given labels.
    folds : int
        Number of folds k, at least 2.

    Raises
    ------
    ValueError
        A module is missing, or the number of epochs is no multiple of ``folds - 1``.
    """

    def __init__(self, task: Task, recipe: dict[str, Any], seed: int, folds: int) -> None:
        try:
            from cleanlab import filter as issue_filter  # type: ignore[import-untyped]
            from cleanlab import rank
            from sklearn.model_selection import StratifiedKFold
        except ModuleNotFoundError as error:
            raise ValueError(
                f"confident learning can't be run here: there is no module {error.name}; pip install cleanlab"
            ) from error
        self._find_label_issues = issue_filter.find_label_issues
        self._quality_scores = rank.get_label_quality_scores
        self.n_runs = folds
        self.recipe = divide_epochs(recipe, folds - 1)
        self._task = task
        self._seed = seed
        n = len(task.labels)
        split = StratifiedKFold(folds, shuffle=True, random_state=seed).split(np.zeros(n), task.labels.numpy())
        self._parts = [(torch.from_numpy(training), torch.from_numpy(held_out)) for training, held_out in split]
        n_classes = last_linear(task.model())[1].out_features
        self.recorded = {"probabilities": torch.zeros(n, n_classes)}

    def make_run(self, number: int) -> TrainingRun:
        """Return a run on all folds but one."""
        training, _ = self._parts[number]
        return TrainingRun(part_of(self._task, training.numpy()), self.recipe, self._seed + SEEDS_PER_RUN * number)

    def end_run(self, number: int, run: TrainingRun) -> None:
        """Predict the probabilities of the fold that was held out."""
        _, held_out = self._parts[number]
        with self.recipe.autocast_context(run.model):
            predicted = predict(run.model, part_of(self._task, held_out.numpy()).score_loader())
        self.recorded["probabilities"][held_out] = predicted

    def listings(self) -> dict[str, Listing]:
        """Return the order with the list, and the other order."""
        labels = self._task.labels.numpy()
        probabilities = self.recorded["probabilities"].numpy().astype(np.float64)
        quality = self._quality_scores(labels, probabilities)
        normalised = self._quality_scores(labels, probabilities, method="normalized_margin")
        listed = self._find_label_issues(labels, probabilities, n_jobs=1)
        return {LISTING: Listing(-quality, listed), OTHER_ORDER: Listing(-normalised)}


def part_of(task: Task, chosen: Any) -> Task:
    """Return a task with some of the training samples, by their indices."""
    wrong = task.wrong
    if wrong is not None:
        wrong = wrong[chosen]
    return replace(task, x_train=task.x_train[chosen], labels=task.labels[chosen], wrong=wrong)
