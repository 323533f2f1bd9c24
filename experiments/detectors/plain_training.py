"""Losses and margins of plain training: the wrong labels are learned later than the correct ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from rrm_torch.training.pipeline import Recipe, Task, TrainingRun

from ..detection_metrics import Listing
from .successive_runs import SEEDS_PER_RUN, Batch, Detector


class PlainTraining(Detector):
    """Sort by the loss in an early epoch, by the mean loss of all epochs, and by the mean margin of all epochs.

    The losses are those recorded in training. The labels listed are those that a mixture of two normal distributions
    of the losses assigns to the component with the higher mean, as in DivideMix (Li et al. 2020). The mean margin is
    the area under the margin (Pleiss et al. 2020) without the samples from which its threshold is learned, so that
    all epochs are spent on the original classes; it lists nothing.

    Parameters
    ----------
    task : Task
    recipe : dict
        Of `Recipe`.
    seed : int
    early : int
        The early epoch, counted from 1.

    Raises
    ------
    ValueError
        scikit-learn isn't installed, or `early` is not one of the epochs.
    """

    n_runs = 1

    def __init__(self, task: Task, recipe: dict[str, Any], seed: int, early: int) -> None:
        try:
            from sklearn.mixture import GaussianMixture
        except ModuleNotFoundError as error:
            raise ValueError(
                f"small loss can't be computed here: there is no module {error.name}; pip install scikit-learn"
            ) from error
        self._mixture = GaussianMixture(2, reg_covar=5e-4, tol=1e-3, max_iter=1000, random_state=seed)
        self.recipe = Recipe(**recipe)
        if not 1 <= early <= self.recipe.epochs:
            raise ValueError(f"early must be one of the epochs 1 to {self.recipe.epochs}, got {early}")
        self._task = task
        self._seed = seed
        self._early = early
        n = len(task.labels)
        self.recorded = {name: torch.zeros(n) for name in ("early_losses", "losses", "margins")}

    def make_run(self, number: int) -> TrainingRun:
        """Return the only run."""
        return TrainingRun(self._task, self.recipe, self._seed + SEEDS_PER_RUN * number)

    def record_batch(self, batch: Batch) -> None:
        """Add up losses and margins, and keep the losses of the early epoch."""
        self.recorded["losses"][batch.index] += batch.losses
        self.recorded["margins"][batch.index] += batch.margins()
        if batch.epoch == self._early:
            self.recorded["early_losses"][batch.index] = batch.losses

    def listings(self) -> dict[str, Listing]:
        """Return the three orders, the first two of them with the labels that the mixture lists."""
        epochs = self.recipe.epochs
        early = self.recorded["early_losses"].numpy().astype(np.float64)
        mean = self.recorded["losses"].numpy().astype(np.float64) / epochs
        return {
            "small loss, early epoch": Listing(early, self._is_high(early)),
            "small loss, mean of epochs": Listing(mean, self._is_high(mean)),
            "margin, mean of epochs": Listing(-self.recorded["margins"].numpy().astype(np.float64) / epochs),
        }

    def _is_high(self, losses: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """Return which losses belong to the component with the higher mean, with a probability above a half."""
        low = losses.min()
        # In [0, 1], for which the regularisation of the variances is meant.
        scaled = ((losses - low) / max(losses.max() - low, np.finfo(np.float64).tiny))[:, np.newaxis]
        self._mixture.fit(scaled)
        probabilities = self._mixture.predict_proba(scaled)
        high: npt.NDArray[np.bool_] = probabilities[:, self._mixture.means_[:, 0].argmax()] > 0.5
        return high
