"""`RRMCallback`: sample weights for PyTorch Lightning. Needs the extra ``lightning``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from .._checks import check_count
from .settings import read_settings
from .stepwise import StepwiseRRM, planned_epochs

__all__ = ["RRMCallback"]


class RRMCallback(Callback):
    """Sample weights for a LightningModule, whose ``training_step`` returns ``self.rrm.weighted_mean(...)``.

    The callback makes an RRM when training begins, which is the attribute `rrm` of the module from then on, counts the
    optimizer's steps, and saves and restores the state with Lightning's checkpoints. The loader yields the samples'
    indices, as one of `rrm_torch.Indexed` does.

    Parameters
    ----------
    rrm : dict, optional
        Arguments of `rrm_torch.RRM` in epochs; by default ``dict(contamination="auto")``. Without a warm-up it is
        ``"auto"`` with ``contamination="auto"``, and otherwise a third of the run, at most 10 epochs. ``unseen`` is
        ``"latest"`` by default.
    n : int, optional
        Number of training samples; by default the length of the data set of the training loader.

    Attributes
    ----------
    rrm : RRM or None
        That of the run under way or the last one; None before.

    Raises
    ------
    TypeError, ValueError
        An argument is invalid; or, when training begins, the number of samples or of batches is unknown.

    Notes
    -----
    A callback can be used for several runs: each has an RRM of its own. With several processes each has the weights of
    all samples. With ``accumulate_grad_batches`` Lightning divides the loss by that number, also for the fewer last
    batches of an epoch.

    Examples
    --------
    >>> import lightning.pytorch as pl
    >>> import torch.nn.functional as F
    >>> from rrm_torch.integrations.lightning import RRMCallback
    >>> class Classifier(pl.LightningModule):
    ...     def training_step(self, batch):
    ...         index, x, y = batch
    ...         logits = self(x)
    ...         losses = F.cross_entropy(logits, y, reduction="none")
    ...         return self.rrm.weighted_mean(losses, index, logits=logits, labels=y)
    >>> trainer = pl.Trainer(callbacks=[RRMCallback(dict(contamination="auto"))])
    """

    def __init__(self, rrm: Mapping[str, Any] | None = None, *, n: int | None = None) -> None:
        self.rrm: StepwiseRRM | None = None
        self._n = None if n is None else check_count("n", n)
        # Without the number of samples, what can be checked without it.
        read_settings(rrm, 1 << 31 if self._n is None else self._n)
        self._settings = rrm
        self._loaded: dict[str, Any] | None = None
        self._n_steps = 0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Forget a state that was loaded for an earlier run."""
        self._loaded = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make RRM for the run, and restore its state if the run is resumed."""
        n = self._n or _n_samples(trainer)
        steps_per_epoch = _steps_per_epoch(trainer)
        epochs = None
        if trainer.max_epochs not in (None, -1):
            epochs = trainer.max_epochs
        if trainer.max_steps != -1:
            epochs = min(planned_epochs(trainer.max_steps, steps_per_epoch), epochs or math.inf)
        self.rrm = StepwiseRRM(
            n,
            read_settings(self._settings, n),
            steps_per_epoch=steps_per_epoch,
            epochs=epochs,
            layout="replicated" if trainer.world_size > 1 else None,
        )
        pl_module.rrm = self.rrm
        self._n_steps = trainer.global_step
        if self._loaded is not None:
            self.rrm.load_state_dict(self._loaded)
            self._loaded = None
        elif self._n_steps:
            raise ValueError("the checkpoint has no state of RRMCallback: it was saved without it; begin the run again")
        elif epochs is not None:
            self.rrm.warn_of_end(epochs * steps_per_epoch, steps_per_epoch)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count a step, unless gradients are being accumulated."""
        if trainer.global_step != self._n_steps:
            self._n_steps = trainer.global_step
            assert self.rrm is not None
            self.rrm.step()

    def state_dict(self) -> dict[str, Any]:
        """Return the state of RRM, of all processes together."""
        return {} if self.rrm is None else {"rrm": self.rrm.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep a state until training begins, when RRM is made."""
        self._loaded = state_dict.get("rrm")


def _n_samples(trainer: Trainer) -> int:
    """Return the length of the data set of the training loader."""
    try:
        return len(trainer.train_dataloader.dataset)
    except (AttributeError, TypeError):
        raise ValueError(
            "n must be given where the training loader has no data set with a length: RRMCallback(..., n=...)"
        ) from None


def _steps_per_epoch(trainer: Trainer) -> int:
    """Return the number of the optimizer's steps in an epoch."""
    n_batches = trainer.num_training_batches
    if math.isinf(n_batches):
        raise ValueError(
            "the training loader must have a length, by which an epoch is counted in steps; set limit_train_batches"
        )
    return max(1, math.ceil(n_batches / trainer.accumulate_grad_batches))
