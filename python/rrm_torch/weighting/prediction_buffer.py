"""PredictionBuffer: the latest predictions of each sample in a warm-up, and how many of those held out agree."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor

from .._models import to_device
from .outputs import UNKNOWN, encode_predictions, n_classes_of
from .warmup_end import Agreement

PASSES = 3
"""Latest passes over the training set whose predictions are kept."""

ROUNDS_PER_PASS = 4
"""Rounds in a pass where an epoch is more than one round."""


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
    agreement : Agreement
        Of the rounds that have ended, on all ranks together.
    n_classes : int
        Of the logits; 0 before the first batch.
    n_calls, n_recorded : int
        Batches and samples recorded by this process since the last round, and in this pass.
    steps_per_round : int
        Where steps are counted; 0 before the first.
    """

    def __init__(self, held_out: Tensor, start: int, n_expected: float) -> None:
        self.start = start
        self.n_local = len(held_out)
        self.n_expected = n_expected
        self.agreement = Agreement()
        self.n_classes = 0
        self.n_calls = 0
        self.n_recorded = 0
        self.steps_per_round = 0
        # The last element of these receives what is not recorded.
        self._held_out = torch.cat([held_out, torch.zeros(1, dtype=torch.bool)])
        self._labels = self._unknown(torch.int16)
        self._passes: tuple[Tensor, ...] = (self._unknown(torch.int32),)
        self._best: tuple[Tensor, ...] | None = None
        self._counts = torch.zeros(2, ROUNDS_PER_PASS, dtype=torch.int64, device="cpu")

    @property
    def labels(self) -> Tensor:
        """Given class of each local sample: int16, shape (n_local,), `UNKNOWN` before its first batch."""
        return self._labels[:-1]

    @property
    def held_out(self) -> Tensor:
        """Which local samples are held out: bool, shape (n_local,)."""
        return self._held_out[:-1]

    @property
    def passes(self) -> Tensor:
        """Codes of the predictions in the latest passes, newest first: int32, shape (at most 3, n_local)."""
        return torch.stack(self._passes)[:, :-1]

    @property
    def best(self) -> Tensor | None:
        """`passes` at the round with the highest agreement; None before the first round has ended."""
        return None if self._best is None else torch.stack(self._best)[:, :-1]

    @property
    def counts(self) -> Tensor:
        """Held-out samples seen and agreed since the last round ended: int64, shape (2, 4)."""
        return self._counts

    @property
    def device(self) -> torch.device:
        """Where the predictions are."""
        return self._labels.device

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
            Number of rounds in a pass; 1 if calls of `RRM.step` end them.
        """
        device = logits.device
        codes = encode_predictions(logits)
        positions = to_device(index, device).long() - self.start
        given = to_device(labels, device).to(torch.int16)
        is_valid = (positions >= 0) & (positions < self.n_local) & (given >= 0) & (codes >= 0)
        positions = torch.where(is_valid, positions, self.n_local)
        self._labels[positions] = given
        self._passes[0][positions] = codes
        is_seen = self._held_out[positions]
        has_agreed = is_seen & ((codes >> 16) == given)
        current = min(int(n_rounds * self.n_recorded / self.n_expected), n_rounds - 1)
        self._counts[:, current] += torch.stack([is_seen.sum(), has_agreed.sum()])
        self.n_classes = n_classes_of(logits)
        self.n_calls += 1
        self.n_recorded += len(index)

    def after_round(
        self, seen: Sequence[int], agreed: Sequence[int], n_calls: int, n_classes: int, *, ends_pass: bool
    ) -> PredictionBuffer:
        """Return the buffer for the next round.

        Parameters
        ----------
        seen, agreed, n_calls, n_classes
            Of the rounds that end, on all ranks together.
        ends_pass : bool
            Whether a pass over the training set ends, too.
        """
        other = copy.copy(self)
        other.agreement = self.agreement.extended(seen, agreed, n_calls)
        if other.agreement.best > self.agreement.n_rounds:
            # The tensors of a pass that has ended never change.
            newest = self._passes[0] if ends_pass else self._passes[0].clone()
            other._best = (newest, *self._passes[1:])
        if ends_pass:
            other._passes = (self._unknown(torch.int32), *self._passes[: PASSES - 1])
            other.n_recorded = 0
        other._counts = torch.zeros_like(self._counts)
        other.n_calls = 0
        other.n_classes = n_classes
        return other

    def restore(self, *, labels: Tensor, passes: Tensor, best: Tensor | None, counts: Tensor) -> None:
        """Take the tensors of a state, of the local samples, onto the device of this buffer."""
        self._labels = self._padded(labels)
        self._passes = tuple(self._padded(codes) for codes in passes)
        self._best = None if best is None else tuple(self._padded(codes) for codes in best)
        self._counts = counts.reshape(2, ROUNDS_PER_PASS).to(self._held_out.device)

    def to(self, device: torch.device) -> PredictionBuffer:
        """Return the buffer on a device: this one if it is there already."""
        if self.device == device:
            return self
        other = copy.copy(self)
        other._held_out = self._held_out.to(device)
        other._labels = self._labels.to(device)
        other._passes = tuple(codes.to(device) for codes in self._passes)
        other._best = None if self._best is None else tuple(codes.to(device) for codes in self._best)
        other._counts = self._counts.to(device)
        return other

    def _unknown(self, dtype: torch.dtype) -> Tensor:
        device = self._held_out.device
        return torch.full((self.n_local + 1,), UNKNOWN, dtype=dtype, device=device)

    def _padded(self, values: Tensor) -> Tensor:
        padded = self._unknown(values.dtype)
        padded[:-1] = values
        return padded
