"""PredictionBuffer: the latest predictions of each sample in a warm-up."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from rrm_core._agreement import UNKNOWN
from rrm_core._warmup_end import Agreement

from .._models import to_device
from .outputs import encode_predictions, n_classes_of

PASSES = 3
"""Latest passes over the training set whose predictions are kept."""

ROUNDS_PER_PASS = 4
"""Rounds in a pass, where a pass is more than one round."""


class PredictionBuffer:
    """What a warm-up records of the model's predictions.

    `record` changes it in place; the other methods return a new buffer, which may share tensors with this one.

    Parameters
    ----------
    held_out : Tensor of bool, shape (n_local,)
    start : int
        The first of the local samples.
    n_expected : float
        Samples that this process records in a pass.

    Attributes
    ----------
    held_out, start
        The parameters.
    agreement : Agreement
        Of the rounds that have ended, on all ranks together.
    n_classes : int
        Of the logits; 0 before the first batch.
    n_calls, n_recorded : int
        Batches recorded by this process since the last round ended, and samples in this pass.
    steps_per_round : int
        Where steps are counted; 0 before the first.
    """

    def __init__(self, held_out: Tensor, start: int, n_expected: float) -> None:
        self.held_out = held_out
        self.start = start
        self.n_local = len(held_out)
        self.n_expected = n_expected
        self.agreement = Agreement()
        self.n_classes = 0
        self.n_calls = 0
        self.n_recorded = 0
        self.steps_per_round = 0
        # The last element of these receives what is not recorded.
        self._labels = self._unknown(torch.int16)
        self._passes: tuple[Tensor, ...] = (self._unknown(torch.int32),)
        self._chosen: tuple[Tensor, ...] | None = None

    @property
    def labels(self) -> Tensor:
        """Given class of each local sample: int16, shape (n_local,), `UNKNOWN` before its first batch."""
        return self._labels[:-1]

    @property
    def newest(self) -> Tensor:
        """Codes of the predictions in this pass: int32, shape (n_local,), see `encode_predictions`."""
        return self._passes[0][:-1]

    @property
    def passes(self) -> Tensor:
        """Those of the latest passes, newest first: shape (at most 3, n_local)."""
        return torch.stack(self._passes)[:, :-1]

    @property
    def chosen(self) -> Tensor | None:
        """`passes` at the round that `Agreement.chosen` names; None before the first round has ended."""
        return None if self._chosen is None else torch.stack(self._chosen)[:, :-1]

    @torch.no_grad()
    def record(self, logits: Tensor, labels: Tensor, index: Tensor, n_rounds: int) -> None:
        """Record the predictions of a batch.

        Parameters
        ----------
        logits, labels : Tensor
            See `check_outputs`.
        index : Tensor of integers, shape (batch,)
            Indices out of range are left out.
        n_rounds : int
            Number of rounds in a pass that no call of `RRM.step` ends.
        """
        device = logits.device
        round_in_pass = self.agreement.n_rounds % ROUNDS_PER_PASS
        if n_rounds > 1:
            round_in_pass = min(int(n_rounds * self.n_recorded / self.n_expected), n_rounds - 1)
        codes = encode_predictions(logits, round_in_pass)
        positions = to_device(index, device).long() - self.start
        given = to_device(labels, device).to(torch.int16)
        is_valid = (positions >= 0) & (positions < self.n_local) & (given >= 0) & (codes >= 0)
        positions = torch.where(is_valid, positions, self.n_local)
        self._labels[positions] = given
        self._passes[0][positions] = codes
        self.n_classes = max(self.n_classes, n_classes_of(logits))
        self.n_calls += 1
        self.n_recorded += len(index)

    def after_round(
        self, agreement: Agreement, n_classes: int, *, n_earlier_rounds: int, ends_pass: bool
    ) -> PredictionBuffer:
        """Return the buffer for the next round.

        Parameters
        ----------
        agreement : Agreement
            With that of the round that ends.
        n_classes : int
            On all ranks.
        n_earlier_rounds : int
            Rounds that had ended before this pass over the training set.
        ends_pass : bool
            Whether the pass ends, too.
        """
        other = copy.copy(self)
        other.agreement = agreement
        if agreement.chosen > n_earlier_rounds:
            # Again with each round of the pass, which visits all samples only with the last one. The tensors of a pass
            # that has ended never change.
            newest = self._passes[0] if ends_pass else self._passes[0].clone()
            other._chosen = (newest, *self._passes[1:])
        if ends_pass:
            other._passes = (self._unknown(torch.int32), *self._passes[: PASSES - 1])
            other.n_recorded = 0
        other.n_calls = 0
        other.n_classes = n_classes
        return other

    def with_steps_per_round(self, steps: int) -> PredictionBuffer:
        """Return the buffer with a length of the rounds, where steps are counted."""
        other = copy.copy(self)
        other.steps_per_round = steps
        return other

    def without_newest(self) -> PredictionBuffer:
        """Return the buffer at the beginning of this pass, which is one round."""
        other = copy.copy(self)
        other._passes = (self._unknown(torch.int32), *self._passes[1:])
        other.n_calls = 0
        other.n_recorded = 0
        return other

    def restored(
        self,
        labels: Tensor,
        passes: Tensor,
        chosen: Tensor | None,
        *,
        agreement: Agreement,
        n_classes: int,
        n_calls: int,
        n_recorded: int,
        steps_per_round: int,
    ) -> PredictionBuffer:
        """Return a buffer with the tensors of a state, of the local samples, and with other attributes."""
        other = copy.copy(self)
        other._labels = self._padded(labels)
        other._passes = tuple(self._padded(codes) for codes in passes)
        other._chosen = None if chosen is None else tuple(self._padded(codes) for codes in chosen)
        other.agreement = agreement
        other.n_classes = n_classes
        other.n_calls = n_calls
        other.n_recorded = n_recorded
        other.steps_per_round = steps_per_round
        return other

    def to(self, device: torch.device) -> PredictionBuffer:
        """Return the buffer on a device: this one if it is there already."""
        if self._labels.device == device:
            return self
        other = copy.copy(self)
        other.held_out = self.held_out.to(device)
        other._labels = self._labels.to(device)
        other._passes = tuple(codes.to(device) for codes in self._passes)
        other._chosen = None if self._chosen is None else tuple(codes.to(device) for codes in self._chosen)
        return other

    def _unknown(self, dtype: torch.dtype) -> Tensor:
        return torch.full((self.n_local + 1,), UNKNOWN, dtype=dtype, device=self.held_out.device)

    def _padded(self, values: Tensor) -> Tensor:
        padded = self._unknown(values.dtype)
        padded[:-1] = values
        return padded
