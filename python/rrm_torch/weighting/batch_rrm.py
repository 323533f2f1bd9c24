"""BatchRRM: per-batch trimming, each batch with a threshold of its own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor

from .base import BaseRRM
from .epoch_checks import check_losses, raise_if_any_rank_failed
from .fingerprint import Ids
from .layout import SingleProcess, reweight_by_rule
from .loss_buffer import EpochLossBuffer, LossBuffer
from .reweight import Reweight
from .schedule import Schedule
from .settings import BatchSettings, Redistribute, Scale


class BatchRRM(BaseRRM):
    """Rockafellian Relaxation within each batch: per-batch trimming, as used by Co-teaching.

    After the warm-up the samples of a batch are weighted against each other as the batch comes, with the contamination
    or gamma of the epoch; no weights are carried from one epoch to the next. `RRM` weights all samples against each
    other.

    Parameters
    ----------
    n : int
        Number of training samples. A sample is known by its index in [0, n).
    contamination : float in [0, 1), or a function of the epoch
        The share of each batch to prune, those with the highest losses. Give this or `gamma`.
    gamma : float, at least 0, or a function of the epoch
        Samples more than `gamma` above the smallest loss of their batch are pruned.
    warmup : int, default 10
        Epochs of plain training, with weight 1 for all.
    redistribute, ties, nan, scale, weight_limit, ids
        As for `RRM`.

    Raises
    ------
    TypeError, ValueError
        An argument has the wrong type or value.

    Notes
    -----
    Needs no layout: each rank of a torch.distributed job weights its own batches.

    Examples
    --------
    >>> import torch
    >>> from rrm_torch import BatchRRM
    >>> rrm = BatchRRM(4, contamination=0.5, warmup=1)
    >>> rrm.step()  # ends the warm-up
    >>> losses = torch.tensor([0.1, 9.0, 0.2, 0.3])
    >>> round(rrm.weighted_mean(losses, torch.arange(4)).item(), 2)
    0.15
    """

    def __init__(
        self,
        n: int,
        *,
        contamination: float | Schedule | None = None,
        gamma: float | Schedule | None = None,
        warmup: int = 10,
        redistribute: Redistribute = "kept",
        ties: Literal["keep", "share"] = "keep",
        nan: Literal["raise", "prune"] = "raise",
        scale: Scale = "mean",
        weight_limit: float = 100.0,
        ids: Ids | None = None,
    ) -> None:
        for name, value in (("contamination", contamination), ("warmup", warmup)):
            if isinstance(value, str):
                raise TypeError(f"{name} must be a number, got {value!r}: only RRM estimates it")
        settings = BatchSettings(
            n=n,
            contamination=contamination,
            gamma=gamma,
            warmup=warmup,
            redistribute=redistribute,
            ties=ties,
            nan=nan,
            scale=scale,
            weight_limit=weight_limit,
            ids=ids,
        )
        # Raises for a schedule that no state could tell from another.
        settings.describe()
        super().__init__(settings, SingleProcess(settings.n))

    @torch.inference_mode(False)
    def step(self, losses: Tensor | None = None) -> None:
        """End an epoch.

        Parameters
        ----------
        losses : None
            Accepted so that `RRM` and `BatchRRM` have the same interface.

        Raises
        ------
        TypeError
            `losses` isn't a tensor.
        ValueError
            `losses` were passed; or the losses of the epoch contain NaN, and `nan` is ``"raise"``. The state is as
            before the call.
        IndexError
            An index on a GPU was out of range. The losses that came with it were not recorded.

        Warns
        -----
        UserWarning
            Once: a sample's weight exceeds `weight_limit`.
        """
        check_losses(losses)
        if losses is not None:
            raise ValueError("losses can't be passed to BatchRRM.step: each batch is weighted by its own")
        raise_if_any_rank_failed(self._buffer, self._layout)
        state = self._state
        recorded = state.buffer.marks > 0
        epoch_losses = torch.where(recorded, state.buffer.losses, torch.nan)
        ranking = None
        if state.buffer.ranking is not None:
            ranking = torch.where(recorded, state.buffer.ranking, torch.nan)
        numbers = epoch_losses if ranking is None else ranking
        n_nan = int((numbers.isnan() & recorded).count_nonzero())
        # On a GPU no plan was read, and so none has raised this.
        if n_nan and self.settings.nan == "raise":
            raise ValueError(
                f"losses contain NaN: {n_nan} since the last step; nan='prune' prunes them, and reset_losses() begins "
                "the epoch again"
            )
        epoch = state.epoch + 1
        trajectory = state.trajectory
        if epoch > self.settings.first_epoch and bool(recorded.any()):
            pruned = (state.weights == 0) & recorded
            trajectory = trajectory.copy()
            contamination = self.settings.rule(state.epoch).contamination
            # A sample of no batch took no part.
            members = None if bool(recorded.all()) else recorded
            entry = trajectory.record(
                epoch, numbers, state.weights, pruned, members=members, contamination=contamination
            )
            self._warn_of_weight(entry, "it received the mass of what was pruned from its batch", stacklevel=3)
        # All that can fail is done: the state changes by this one assignment.
        self._state = replace(
            state,
            epoch=epoch,
            losses=epoch_losses,
            ranking=ranking,
            trajectory=trajectory,
            buffer=state.buffer.next_epoch(),
        )

    def _batch_weights(self, losses: Tensor, index: Tensor, ranking: Tensor | None, record: bool) -> Tensor:
        if not record:
            return self.weights[self._locate(losses, index)]
        # Before anything is recorded, so that an error changes nothing.
        numbers = (losses if ranking is None else ranking).detach()
        dtype = torch.float64 if torch.float64 in (losses.dtype, numbers.dtype) else self.weights.dtype
        numbers = numbers.to(dtype)
        weights = torch.ones_like(numbers)
        if self.epoch >= self.settings.first_epoch and len(numbers):
            weights, _ = reweight_by_rule(numbers, None, 1.0, self.settings.rule(self.epoch))
        positions = self._record(losses, index, ranking)
        self.weights[positions] = weights
        return self.weights[positions]

    def _record_and_weigh(self, losses: Tensor, index: Tensor) -> None:
        """Return None: the weights of a batch are not known before."""

    def _record_on_device(self, losses: Tensor, index: Tensor) -> None:
        """Return None, as `_record_and_weigh`."""

    @property
    def _needs_outputs(self) -> bool:
        return False

    def _use_outputs(
        self,
        losses: Tensor,  # noqa: ARG002
        index: Tensor,  # noqa: ARG002
        ranking: Tensor | None,
        logits: Tensor | None,  # noqa: ARG002
        labels: Tensor | None,  # noqa: ARG002
    ) -> Tensor | None:
        """Return the ranking numbers as they are: nothing is estimated."""
        return ranking

    def _load_predictions(self, state: dict[str, Any] | None) -> None:
        """Return None: nothing is estimated."""

    def _new_buffer(self) -> LossBuffer:
        return EpochLossBuffer(0, self.settings.n)

    def _check_consistency(self, state: dict[str, Any], rounds: list[Reweight]) -> None:
        """Do nothing: the weights of a batch follow from its own losses, of which only the latest are kept."""

    def _plan_again(self, state: dict[str, Any], rounds: list[Reweight]) -> None:
        """Return None: each batch had a plan of its own, and none is kept."""
