"""Area under the margin (AUM, Pleiss et al. 2020): a wrong label's logit stays below that of another class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from rrm_torch.training.pipeline import Task, TrainingRun

from ..detection_metrics import Listing
from .successive_runs import SEEDS_PER_RUN, Batch, Detector, divide_epochs

PERCENTILE = 99


class AreaUnderMargin(Detector):
    """Sort by the mean margin over all epochs, and list the labels below a threshold that is learned as well.

    To learn the threshold, n / (K + 1) of the n samples get the label of an additional class, in which no sample
    belongs. The threshold is the 99th percentile of their mean margins. As these samples lose their own labels, there
    are two runs with different ones, each with half of the epochs. A sample's score is the mean, over the runs in
    which it has its own label, of the threshold less its mean margin; it is listed if that isn't negative.

    Parameters
    ----------
    task : Task
        The model's last linear layer returns the logits.
    recipe : dict
        Of `Recipe`; its epochs are those of both runs together.
    seed : int

    Raises
    ------
    ValueError
        The number of epochs is odd.

    References
    ----------
    G. Pleiss, T. Zhang, E. Elenberg, K. Weinberger, "Identifying mislabeled data using the area under the margin
    ranking", NeurIPS 2020.
    """

    n_runs = 2

    def __init__(self, task: Task, recipe: dict[str, Any], seed: int) -> None:
        self.recipe = divide_epochs(recipe, self.n_runs)
        self._task = task
        self._seed = seed
        n = len(task.labels)
        self._n_classes = last_linear(task.model())[1].out_features
        order = np.random.default_rng(seed).permutation(n)
        count = n // (self._n_classes + 1)
        self._threshold_samples = [torch.from_numpy(order[i * count : (i + 1) * count]) for i in range(self.n_runs)]
        self.recorded = {"margins": torch.zeros(self.n_runs, n)}

    def make_run(self, number: int) -> TrainingRun:
        """Return a run with the additional class."""
        labels = self._task.labels.clone()
        labels[self._threshold_samples[number]] = self._n_classes
        task = replace(self._task, labels=labels, model=partial(with_additional_class, self._task.model))
        return TrainingRun(task, self.recipe, self._seed + SEEDS_PER_RUN * number)

    def record_batch(self, batch: Batch) -> None:
        """Add up the margins."""
        self.recorded["margins"][batch.run, batch.index] += batch.margins()

    def listings(self) -> dict[str, Listing]:
        """Return the order and the labels below the threshold."""
        areas = self.recorded["margins"].numpy().astype(np.float64) / self.recipe.epochs
        below = np.empty_like(areas)
        for number, samples in enumerate(self._threshold_samples):
            below[number] = np.percentile(areas[number, samples], PERCENTILE) - areas[number]
            below[number, samples] = np.nan
        scores = np.nanmean(below, axis=0)
        return {"AUM": Listing(scores, scores >= 0)}


def last_linear(model: nn.Module) -> tuple[str, nn.Linear]:
    """Return the name and the module of a model's last linear layer."""
    *_, last = ((name, module) for name, module in model.named_modules() if isinstance(module, nn.Linear))
    return last


def with_additional_class(make_model: Callable[[], nn.Module]) -> nn.Module:
    """Return a new model whose last linear layer has one more output."""
    model = make_model()
    name, layer = last_linear(model)
    parent, _, attribute = name.rpartition(".")
    setattr(model.get_submodule(parent), attribute, nn.Linear(layer.in_features, layer.out_features + 1))
    return model
