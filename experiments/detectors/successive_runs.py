"""Training runs one after another, with one checkpoint, for methods that record something in training."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rrm_torch.losses.per_sample import cross_entropy
from rrm_torch.training.pipeline import Recipe, TrainingRun

from ..classify import Reporting
from ..detection_metrics import Listing

STATEFUL = ("model", "optimizer", "scheduler")
SEEDS_PER_RUN = 1000
"""Distance between the seeds of a method's runs, more than the seeds of an experiment."""


@dataclass(frozen=True, eq=False)
class Batch:
    """A batch in training, without gradients.

    Attributes
    ----------
    run, epoch : int
        Number of the run, from 0, and of its epoch, from 1.
    index, labels : Tensor of int64, shape (batch,)
    logits : Tensor of float32, shape (batch, n_classes)
    losses : Tensor of float32, shape (batch,)
        Cross-entropies.
    """

    run: int
    epoch: int
    index: Tensor
    labels: Tensor
    logits: Tensor
    losses: Tensor

    def margins(self) -> Tensor:
        """Return the logit of each given label less the largest other logit, shape (batch,)."""
        given = self.labels[:, None]
        others = self.logits.scatter(1, given, -torch.inf).amax(1)
        return self.logits.gather(1, given)[:, 0] - others


class Detector(ABC):
    """A method that lists wrong labels by what it recorded in one or several training runs.

    Attributes
    ----------
    n_runs : int
        Number of training runs, numbered from 0.
    recipe : Recipe
        Of each run.
    recorded : dict of str to Tensor
        What the method records, changed in place; a checkpoint holds it.
    """

    n_runs: int
    recipe: Recipe
    recorded: dict[str, Tensor]

    @abstractmethod
    def make_run(self, number: int) -> TrainingRun:
        """Return a new training run."""

    @abstractmethod
    def listings(self) -> dict[str, Listing]:
        """Return the results by the name of the row, after all runs."""

    def record_batch(self, batch: Batch) -> None:  # noqa: B027 (not every method needs it)
        """Record what the method needs of a batch in training."""

    def end_run(self, number: int, run: TrainingRun) -> None:  # noqa: B027 (not every method needs it)
        """Record what the method needs of a trained model."""


class SuccessiveRuns:
    """The present run of a method and what it has recorded, as one object with a state.

    Parameters
    ----------
    detector : Detector
    """

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self.begin(0)

    def begin(self, number: int) -> None:
        """Replace the present run by a new one."""
        self.number = number
        self.run = self._detector.make_run(number)

    def train_epoch(self, epoch: int) -> None:
        """Train for an epoch, counted from 1, as `rrm_torch.fit` does without RRM."""
        run = self.run
        run.model.train()
        for index, x, y in run.task.train_loader(run.recipe.batch_size, run.order):
            with run.recipe.autocast_context(run.model):
                logits = run.model(x)
            logits = logits.float()
            losses = cross_entropy(logits, y)
            self._detector.record_batch(Batch(self.number, epoch, index, y, logits.detach(), losses.detach()))
            run.optimizer.zero_grad()
            losses.mean().backward()  # type: ignore[no-untyped-call]
            run.optimizer.step()
        run.scheduler.step()

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the present run, its number, and what was recorded."""
        return {
            "number": self.number,
            "order": self.run.order.get_state(),
            "recorded": self._detector.recorded,
            **{name: getattr(self.run, name).state_dict() for name in STATEFUL},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state."""
        self.begin(state["number"])
        self.run.order.set_state(state["order"])
        for name in STATEFUL:
            getattr(self.run, name).load_state_dict(state[name])
        for name, values in self._detector.recorded.items():
            values.copy_(state["recorded"][name])


def detect(detector: Detector, checkpoint: Path, on_epoch: Callable[[int, int], None]) -> dict[str, Listing]:
    """Execute the runs of a method, from its checkpoint if there is one.

    Parameters
    ----------
    detector : Detector
    checkpoint : Path
    on_epoch : callable
        Called as ``on_epoch(done, total)`` after each epoch; the epochs of all runs are counted.

    Returns
    -------
    dict of str to Listing
        See `Detector.listings`.
    """
    epochs = detector.recipe.epochs
    total = detector.n_runs * epochs
    runs = SuccessiveRuns(detector)
    reporting = Reporting(checkpoint, lambda done: on_epoch(done, total), runs=runs)
    for done in range(reporting.load(), total):
        number, epoch = divmod(done, epochs)
        if number != runs.number:
            runs.begin(number)
        runs.train_epoch(epoch + 1)
        if epoch + 1 == epochs:
            detector.end_run(number, runs.run)
        reporting.save(done + 1)
    return detector.listings()


def divide_epochs(recipe: dict[str, Any], divisor: int) -> Recipe:
    """Return a recipe with a part of the epochs.

    Raises
    ------
    ValueError
        The number of epochs is no multiple of the divisor.
    """
    epochs, rest = divmod(recipe["epochs"], divisor)
    if rest:
        raise ValueError(
            f"epochs must be a multiple of {divisor}, so that every method has the same budget, got {recipe['epochs']}"
        )
    return Recipe(**recipe | {"epochs": epochs})
