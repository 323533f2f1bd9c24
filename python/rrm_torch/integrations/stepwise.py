"""An RRM whose arguments are in epochs, and which counts steps: of the optimizer, or batches where those vary.

Trainers stop, save and resume at any step. Where steps are counted, a loss counts until the sample's next one, so that
no epoch has to be complete.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from .._checks import check_count
from ..weighting import schedule
from ..weighting.layout import LayoutName
from ..weighting.rrm import RRM
from ..weighting.schedule import ShareSchedule
from .settings import with_warmup

SCHEDULES = ("contamination", "gamma", "mu")


@dataclass(frozen=True, repr=False)
class EpochSchedule:
    """A function of the epoch as one of the step: its value in the epoch that a step belongs to."""

    function: ShareSchedule
    steps_per_epoch: int

    def __call__(self, step: int) -> npt.ArrayLike:
        """Return the value after `step`, counted from 1."""
        return self.function(-(-step // self.steps_per_epoch))

    def __repr__(self) -> str:
        return f"EpochSchedule({schedule.describe(self.function)}, steps_per_epoch={self.steps_per_epoch})"


class StepwiseRRM(RRM):
    """An RRM that counts steps, made from arguments in epochs.

    Parameters
    ----------
    n : int
        Number of training samples.
    settings : mapping
        Arguments of `RRM` in epochs, as `read_settings` returns them.
    steps_per_epoch : int
        Calls of `step` in an epoch.
    epochs : int or None
        Planned epochs, unless the settings have them; None if their number is unknown.
    usage : str
        What to do if `weighted_mean` is not called, for the message.
    layout : {"replicated", "sharded"}, optional
        As in `RRM`.

    Attributes
    ----------
    steps_per_epoch : int
    """

    def __init__(
        self,
        n: int,
        settings: Mapping[str, Any],
        *,
        steps_per_epoch: int,
        epochs: int | None,
        usage: str,
        layout: LayoutName | None = None,
    ) -> None:
        self._usage = usage
        self.steps_per_epoch = check_count("steps_per_epoch", steps_per_epoch)
        self._steps_per_epoch = self.steps_per_epoch
        arguments = {"epochs": epochs, "every": 1, **settings}
        arguments = with_warmup(arguments, arguments["epochs"])
        if not isinstance(arguments["warmup"], str):
            arguments["warmup"] *= self.steps_per_epoch
        arguments["every"] *= self.steps_per_epoch
        for name in SCHEDULES:
            if callable(arguments.get(name)):
                arguments[name] = EpochSchedule(arguments[name], self.steps_per_epoch)
        super().__init__(n, **arguments, unit="step", layout=layout)

    def step(self, *args: Any, **kwargs: Any) -> Any:
        """End a step, as `RRM.step` does; warn at the end of the first epoch if no loss was recorded."""
        if self.epoch + 1 == self.steps_per_epoch:
            warn_if_unused(self, self._usage)
        return super().step(*args, **kwargs)

    def state_dict(self) -> dict[str, Any]:
        """Return the state, as `RRM.state_dict`, with the number of steps in an epoch."""
        return {**super().state_dict(), "steps_per_epoch": self.steps_per_epoch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state returned by `state_dict`; raise a ValueError if its epochs have another number of steps."""
        steps_per_epoch = state.get("steps_per_epoch", self.steps_per_epoch)
        if steps_per_epoch != self.steps_per_epoch:
            raise ValueError(
                f"state has {steps_per_epoch} steps per epoch, and this run has {self.steps_per_epoch}: resume with "
                "the same data set, batch size, gradient accumulation and number of processes"
            )
        super().load_state_dict({name: value for name, value in state.items() if name != "steps_per_epoch"})


def warn_if_unused(rrm: RRM, usage: str) -> None:
    """Warn, at the end of the first epoch, if no loss was recorded."""
    if not rrm._buffer.has_losses:
        warnings.warn(f"the first epoch has ended, and RRM has no loss of any sample: {usage}", stacklevel=3)


def n_recorded(rrm: RRM, end: int | None = None) -> int:
    """Return the number of samples, of those below `end`, of which a loss was recorded."""
    return int(rrm._buffer.marks[:end].count_nonzero())


def planned_epochs(n_steps: int, steps_per_epoch: int) -> int:
    """Return the number of epochs, at least 1, that so many steps begin."""
    return max(1, -(-n_steps // steps_per_epoch))


def with_saved_warmup(settings: Mapping[str, Any], state: Any, steps_per_epoch: int) -> dict[str, Any]:
    """Return settings with the warm-up of the state that a run is resumed from, unless they have one.

    Its length may follow from the number of epochs, which the resumed run may change.
    """
    saved = state.get("settings") if isinstance(state, Mapping) else None
    warmup = saved.get("warmup") if isinstance(saved, Mapping) else None
    if settings.get("warmup") is not None or not isinstance(warmup, int) or warmup % steps_per_epoch:
        return dict(settings)
    return {**settings, "warmup": warmup // steps_per_epoch}
