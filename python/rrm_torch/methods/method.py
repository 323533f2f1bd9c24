"""What every method that trains networks shares: the loop over epochs, its history, its state."""

from __future__ import annotations

import math
import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from .._models import autocast_context, device_of
from .._rollback import all_or_nothing
from ..training.checkpoint import Checkpoint
from ..training.stateful import Stateful, load_into, restorer_of
from .training_set import TrainingSet, check_training_set, check_views

Row: TypeAlias = dict[str, Any]
"""An epoch of a history: numbers, and lists with one number per network."""

MakeOptimizer: TypeAlias = Callable[[Any], torch.optim.Optimizer]
"""Called with the parameters of a network, such as ``partial(torch.optim.SGD, lr=0.02)``."""

MakeScheduler: TypeAlias = Callable[[torch.optim.Optimizer], torch.optim.lr_scheduler.LRScheduler]
"""Called with an optimizer; the schedule is stepped after each epoch."""

SCORING_BATCH = 1000
"""Samples of a batch in passes that score."""

STATE_TYPES = {"settings": dict, "epoch": int, "history": list, "parts": dict, "tensors": dict}


class Method(ABC):
    """A method that trains one network or two, epoch by epoch.

    Attributes
    ----------
    data : TrainingSet
    epoch : int
        Epochs that have ended.
    history : list of dict
        A row for each of them.
    """

    def __init__(
        self, data: TrainingSet, parts: dict[str, Stateful], settings: dict[str, Any], seed: int, autocast: Any
    ) -> None:
        check_training_set(data)
        check_views(data)
        if autocast not in (None, torch.bfloat16):
            raise ValueError(f"autocast must be torch.bfloat16 or None, got {autocast!r}")
        self.data = data
        self.seed = _check_integer("seed", seed)
        if self.seed < 0:
            raise ValueError(f"seed must be at least 0, got {seed}")
        self.epoch = 0
        self.history: list[Row] = []
        self._parts = parts
        self._tensors: dict[str, Tensor] = {}
        settings = {**settings, "seed": self.seed, "n": len(data), "n_classes": data.n_classes}
        self._settings = {name: _plain(value) for name, value in settings.items()}
        self._autocast = autocast

    @property
    @abstractmethod
    def predictor(self) -> nn.Module:
        """The trained classifier, which returns logits: for `rrm_torch.predict`, `evaluate` and `score`."""

    def _begin(self, epochs: int) -> None:  # noqa: B027 - most methods have nothing to prepare
        """Prepare to train until as many epochs have ended; a checkpoint has been loaded by then."""

    @abstractmethod
    def _train_epoch(self, epoch: int) -> Row:
        """Train for one epoch, counted from 1, and return its row of the history."""

    def fit(
        self, epochs: int, *, checkpoint: Checkpoint | None = None, on_epoch: Callable[[Row], None] | None = None
    ) -> list[Row]:
        """Train until as many epochs have ended.

        Parameters
        ----------
        epochs : int
            Total number of epochs, including those done before.
        checkpoint : Checkpoint, optional
            ``Checkpoint(path, method=method)``: resumes from its file if there is one, and saves to it after every
            epoch. A resumed run ends with the bits of one that was not interrupted.
        on_epoch : callable, optional
            Called with the epoch's row of the history, to which it may add entries, before the checkpoint is saved.

        Returns
        -------
        list of dict
            `history`.

        Raises
        ------
        ValueError
            The checkpoint doesn't hold this method, or has done more epochs than `epochs`; or the loss is NaN.

        Notes
        -----
        An error or Ctrl-C leaves the networks within an epoch. With a checkpoint, the next call resumes after the last
        epoch that ended.
        """
        epochs = _check_integer("epochs", epochs)
        if on_epoch is not None and not callable(on_epoch):
            raise TypeError(f"on_epoch must be callable or None, got {type(on_epoch).__name__}")
        if checkpoint is not None:
            if not isinstance(checkpoint, Checkpoint):
                raise TypeError(
                    f"checkpoint must be a Checkpoint, got {type(checkpoint).__name__}; Checkpoint(path, method=method)"
                )
            if not any(value is self for value in checkpoint.contents()):
                raise ValueError("checkpoint must hold the method: Checkpoint(path, method=method)")
            checkpoint.load()
        if self.epoch > epochs:
            raise ValueError(
                f"epochs={epochs} is less than the {self.epoch} epochs that are done; pass the total number of epochs"
            )
        if self.epoch < epochs:
            self._begin(epochs)
        for epoch in range(self.epoch + 1, epochs + 1):
            row = {"epoch": epoch, **self._train_epoch(epoch)}
            _check_loss(row)
            for part in self._parts.values():
                if isinstance(part, torch.optim.lr_scheduler.LRScheduler):
                    part.step()
            self.epoch = epoch
            self.history.append(row)
            if on_epoch is not None:
                on_epoch(row)
                row.update({name: _plain(value) for name, value in row.items()})
            if checkpoint is not None:
                checkpoint.save(epoch)
        return self.history

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the networks, optimizers, schedules and RRMs, and the history, for ``torch.save``."""
        return {
            "settings": dict(self._settings),
            "epoch": self.epoch,
            "history": [dict(row) for row in self.history],
            "parts": {name: part.state_dict() for name, part in self._parts.items()},
            "tensors": {name: tensor.clone() for name, tensor in self._tensors.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state that `state_dict` returned.

        Parameters
        ----------
        state : dict
            From the same method, with the same settings and networks.

        Raises
        ------
        ValueError
            It is that of another method, of other settings or of other networks. Nothing has changed.
        """
        self._check_state(state)
        # A copy that fails must do so before anything has changed.
        history = [dict(row) for row in state["history"]]
        tensors = {name: tensor.clone() for name, tensor in state["tensors"].items()}
        restorers = {name: restorer_of(part) for name, part in self._parts.items()}
        all_or_nothing(partial(self._load_parts, state["parts"]), restorers)
        self.epoch = state["epoch"]
        self.history = history
        self._tensors = tensors

    def _load_parts(self, states: dict[str, Any]) -> None:
        for name, part in self._parts.items():
            try:
                load_into(part, states[name])
            except Exception as error:  # noqa: PERF203 - the name goes into the message
                reason = " ".join(str(error).split()) or type(error).__name__
                raise ValueError(f"{name} of the state doesn't match: {reason}") from error

    def _check_state(self, state: Any) -> None:
        """Raise a ValueError unless a state can be that of this method."""
        name = type(self).__name__
        missing = [key for key, kind in STATE_TYPES.items() if not _has(state, key, kind)]
        if missing or not all(isinstance(row, dict) for row in state["history"]):
            entries = ", ".join(missing or ["history"])
            raise ValueError(f"state lacks a valid {entries}; pass what {name}.state_dict() returned")
        saved = state["settings"]
        # A state doesn't name its method, but no two methods have the same settings.
        other_names = sorted(map(str, saved.keys() ^ self._settings.keys()))
        if other_names:
            raise ValueError(
                f"state must be that of {name}, got one of another method or version, which differs in the settings "
                f"{', '.join(other_names)}; load it into a method like the one that was saved"
            )
        differences = [
            f"{key} is {saved.get(key)!r} in the state and {value!r} here"
            for key, value in self._settings.items()
            if saved.get(key) != value
        ]
        if differences:
            raise ValueError(f"state was saved with other settings: {', '.join(differences)}")
        if state["parts"].keys() != self._parts.keys():
            raise ValueError(
                f"state must have the parts {', '.join(self._parts)}, got {', '.join(state['parts'])}; make the method "
                "with the same networks, schedules and RRMs"
            )

    def _autocast_context(self, model: nn.Module) -> AbstractContextManager[Any]:
        return autocast_context(device_of(model), self._autocast)


def _check_integer(name: str, value: Any) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r}") from None


def _plain(value: Any) -> Any:
    """Return a value of the settings or of a row without NumPy's scalars, which a checkpoint can't hold."""
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return value.item() if isinstance(value, np.generic) else value


def _check_loss(row: Row) -> None:
    """Raise a ValueError if a loss is NaN: then so are the parameters, and no epoch changes this."""
    losses = row["loss"] if isinstance(row["loss"], list) else [row["loss"]]
    if any(map(math.isnan, losses)):
        raise ValueError(
            f"the loss of epoch {row['epoch']} is NaN; see whether the inputs hold NaN or infinity, or lower the "
            "learning rate"
        )


def _has(state: Any, key: str, kind: type) -> bool:
    return isinstance(state, dict) and isinstance(state.get(key), kind)


def update(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    """Take one step of an optimizer along the gradient of a loss."""
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()


def make_optimizers(
    names: Sequence[str], parameters: Sequence[Any], optimizer: MakeOptimizer, scheduler: MakeScheduler | None
) -> tuple[list[torch.optim.Optimizer], dict[str, Stateful]]:
    """Return an optimizer for each group of parameters; and these and their schedules, by name, for a state.

    Raises
    ------
    TypeError
        `optimizer` or `scheduler` isn't callable, or the latter doesn't return a schedule.
    """
    if not callable(optimizer):
        raise TypeError(
            f"optimizer must be callable with parameters, got {type(optimizer).__name__}; such as "
            "partial(torch.optim.SGD, lr=0.02)"
        )
    if scheduler is not None and not callable(scheduler):
        raise TypeError(
            f"scheduler must be callable with an optimizer, got {type(scheduler).__name__}; such as "
            "partial(torch.optim.lr_scheduler.MultiStepLR, milestones=[150])"
        )
    optimizers = [optimizer(group) for group in parameters]
    parts: dict[str, Stateful] = dict(zip(names, optimizers, strict=True))
    if scheduler is not None:
        parts |= {f"{name}_schedule": _schedule(scheduler, part) for name, part in zip(names, optimizers, strict=True)}
    return optimizers, parts


def _schedule(scheduler: MakeScheduler, optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
    schedule: Any = scheduler(optimizer)
    needs_metric = isinstance(schedule, torch.optim.lr_scheduler.ReduceLROnPlateau)
    if needs_metric or not isinstance(schedule, torch.optim.lr_scheduler.LRScheduler):
        raise TypeError(
            "scheduler must return an LRScheduler that is stepped after each epoch without a metric, got "
            f"{type(schedule).__name__}; such as partial(torch.optim.lr_scheduler.MultiStepLR, milestones=[150])"
        )
    return schedule


def print_epoch(row: Row) -> None:
    """Print an epoch of a history in one line, for ``fit(epochs, on_epoch=print_epoch)``."""
    cells = [f"{name} {_format(value)}" for name, value in row.items()]
    print(", ".join(cells), flush=True)


def _format(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(_format, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)
