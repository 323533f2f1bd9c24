"""`RRMCallback`: sample weights for PyTorch Lightning. Needs the extra ``lightning``."""

from __future__ import annotations

import math
import warnings
import weakref
from collections.abc import Mapping
from typing import Any

try:
    from lightning.pytorch import Callback, LightningModule, Trainer
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "rrm_torch.integrations.lightning needs Lightning: install rrm-core with the extra lightning"
    ) from error

from .._checks import check_count
from .settings import read_settings
from .stepwise import StepwiseRRM, n_recorded, planned_epochs, with_saved_warmup

__all__ = ["RRMCallback"]


class RRMCallback(Callback):
    """Sample weights for a LightningModule, whose ``training_step`` returns ``self.rrm.weighted_mean(...)``.

    The callback makes an RRM when training begins, which is the attribute `rrm` of the module until training ends,
    calls its `step` after each batch, and saves and restores the state with Lightning's checkpoints. The loader yields
    the samples' indices, as one of `rrm_torch.Indexed` does.

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

    Warns
    -----
    UserWarning
        The run ends before the first reweight; after the first epoch, if ``training_step`` has not called
        ``weighted_mean``, or has numbered the samples of each batch from 0; and as `rrm_torch.RRM`.

    Notes
    -----
    A callback can be used for several runs: each has an RRM of its own, unless the same trainer goes on. With several
    processes each has the weights of all samples. With ``accumulate_grad_batches`` Lightning divides each loss by that
    number, also those of the fewer last batches of an epoch.

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
        self._n_in_first_batch = 0
        self._trainer: weakref.ref[Trainer] | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Forget a state that was loaded for an earlier run."""
        self._loaded = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make RRM for the run, and restore its state if the run is resumed."""
        made_for = self._trainer
        self._trainer = weakref.ref(trainer)
        goes_on = trainer.global_step > 0 and trainer.ckpt_path is None
        if not goes_on or made_for != self._trainer:
            self.rrm = self._make_rrm(trainer)
        pl_module.rrm = self.rrm

    def _make_rrm(self, trainer: Trainer) -> StepwiseRRM:
        """Return the RRM of a run, with the state that was loaded for it."""
        n = self._n or _n_samples(trainer)
        n_batches = _batches_per_epoch(trainer)
        epochs = None
        if trainer.max_epochs not in (None, -1):
            epochs = trainer.max_epochs
        if trainer.max_steps != -1:
            reached = planned_epochs(trainer.max_steps * trainer.accumulate_grad_batches, n_batches)
            epochs = min(reached, epochs or reached)
        state = self._loaded
        self._loaded = None
        rrm = StepwiseRRM(
            n,
            with_saved_warmup(read_settings(self._settings, n), state, n_batches),
            steps_per_epoch=n_batches,
            epochs=epochs,
            usage="training_step must return self.rrm.weighted_mean(losses, index, logits=logits, labels=y)",
            layout="replicated" if trainer.world_size > 1 else None,
        )
        if state is not None:
            rrm.load_state_dict(state)
        elif trainer.ckpt_path is not None:
            raise ValueError("the checkpoint has no state of RRMCallback: it was saved without it; begin the run again")
        elif epochs is not None:
            rrm.warn_of_end(epochs * n_batches, n_batches)
        return rrm

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count a batch, by which RRM knows how much of an epoch has passed."""
        rrm = self.rrm
        assert rrm is not None
        rrm.step()
        if rrm.epoch == 1:
            self._n_in_first_batch = n_recorded(rrm)
        if rrm.epoch == rrm.steps_per_epoch:
            self._warn_of_indices(rrm)

    def _warn_of_indices(self, rrm: StepwiseRRM) -> None:
        """Warn, after the first epoch, if the samples of each batch were numbered from 0."""
        n = self._n_in_first_batch
        if n and n < rrm.n and rrm.epoch > 1 and n_recorded(rrm, n) == n_recorded(rrm) == n:
            warnings.warn(
                f"in the first epoch, {rrm.epoch:,} batches recorded losses of only the samples 0 to {n - 1:,} of "
                f"{rrm.n:,}: index must number the samples in the data set, not in the batch; see rrm_torch.Indexed",
                stacklevel=2,
            )

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restore RRM from the checkpoint of a run that had ended: no batch is left, before which it would be made."""
        if self._loaded is not None and trainer.train_dataloader is not None:
            self._trainer = weakref.ref(trainer)
            self.rrm = self._make_rrm(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take RRM from the module, which another run must not use."""
        _forget(pl_module)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Take RRM from the module, which another run must not use."""
        _forget(pl_module)

    def state_dict(self) -> dict[str, Any]:
        """Return the state of RRM, of all processes together."""
        return {} if self.rrm is None else {"rrm": self.rrm.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep a state until training begins, when RRM is made."""
        self._loaded = state_dict.get("rrm")


def _forget(module: LightningModule) -> None:
    if hasattr(module, "rrm"):
        del module.rrm


def _n_samples(trainer: Trainer) -> int:
    """Return the length of the data set of the training loader."""
    try:
        return len(trainer.train_dataloader.dataset)
    except (AttributeError, TypeError):
        raise ValueError(
            "n must be given where there is no single training loader over a data set with a length: "
            "RRMCallback(..., n=...)"
        ) from None


def _batches_per_epoch(trainer: Trainer) -> int:
    """Return the number of batches in an epoch."""
    n_batches = trainer.num_training_batches
    if math.isinf(n_batches):
        raise ValueError("the training loader must have a length, by which epochs are counted; set limit_train_batches")
    return max(1, int(n_batches))
