"""The rounds of a warm-up that records predictions: where they end, and whether the warm-up may end with them.

A round is an epoch; with few planned epochs, or where steps are counted, a quarter of an epoch, by samples recorded.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from rrm_core._agreement import Round
from rrm_core._warmup_end import MIN_ROUNDS

from .layout import Layout
from .outputs import predicted_classes, rounds_in_pass
from .prediction_buffer import ROUNDS_PER_PASS, PredictionBuffer
from .settings import AUTO, Auto, Unit

FEW_EPOCHS = 12
"""With fewer, a round is a quarter of an epoch: the longest warm-up would have less than four epochs."""

LONGEST_PART = 3
"""The longest warm-up is one in so many of the planned epochs."""


class WarmupSchedule(NamedTuple):
    """When the rounds of a warm-up end, and the warm-up itself."""

    warmup: int | Auto
    """Its length in epochs or steps, or ``"auto"``."""
    unit: Unit
    """What calls of `RRM.step` end."""
    epochs: int | None
    """The planned number of epochs."""
    reason: str
    """The setting that needs predictions, for messages."""
    steps_per_epoch: int | None = None
    """Where steps are counted and epochs planned; None otherwise."""

    @property
    def longest_round(self) -> int | None:
        """The largest number of steps in a round; None without a limit."""
        return None if self.steps_per_epoch is None else -(-self.steps_per_epoch // ROUNDS_PER_PASS)

    @property
    def longest(self) -> int | None:
        """The last step of the longest warm-up, the end of a round; None if it follows from the number of rounds."""
        if self.steps_per_epoch is None or self.epochs is None or self.longest_round is None:
            return None
        third = -(-self.steps_per_epoch * self.epochs // LONGEST_PART)
        # All samples have a loss only after an epoch.
        n_rounds = -(-max(third, self.steps_per_epoch) // self.longest_round)
        return n_rounds * self.longest_round

    @property
    def rounds_per_epoch(self) -> int:
        """Number of rounds that a call of `RRM.step` ends."""
        if self.unit == "step" or self.epochs is None or self.epochs >= FEW_EPOCHS:
            return 1
        return ROUNDS_PER_PASS

    def ends_round(self, predictions: PredictionBuffer, epoch: int) -> bool:
        """Return whether a round ends with `epoch`; where steps are counted, the first sets the length of a round."""
        if self.unit == "epoch":
            return True
        return epoch == 1 or epoch % predictions.steps_per_round == 0

    def may_be_over(self, predictions: PredictionBuffer, epoch: int) -> bool:
        """Return whether the warm-up may be over after `epoch`, which has not ended yet."""
        if self.warmup != AUTO:
            return epoch == self.warmup
        n_rounds = predictions.agreement.n_rounds + self.rounds_per_epoch
        is_long_enough = n_rounds >= max(MIN_ROUNDS, self.rounds_of_pass) or self._reaches_limit(n_rounds, epoch)
        return is_long_enough and self.ends_round(predictions, epoch)

    def is_over(self, predictions: PredictionBuffer, epoch: int) -> bool:
        """Return whether the warm-up is over after `epoch`, the round of which has ended."""
        if self.warmup != AUTO:
            return epoch == self.warmup
        agreement = predictions.agreement
        is_over = agreement.is_over and agreement.n_rounds >= self.rounds_of_pass
        return is_over or self._reaches_limit(agreement.n_rounds, epoch)

    @property
    def rounds_of_pass(self) -> int:
        """Rounds after which all samples were visited, as a reweight needs it."""
        return ROUNDS_PER_PASS if self.unit == "step" else self.rounds_per_epoch

    def _reaches_limit(self, n_rounds: int, epoch: int) -> bool:
        """Return whether a warm-up of so many rounds, that ends with `epoch`, is the longest for the plan."""
        if self.epochs is None:
            return False
        if self.longest is not None:
            return epoch >= self.longest
        if self.unit == "step":
            return n_rounds >= max(ROUNDS_PER_PASS, ROUNDS_PER_PASS * self.epochs / LONGEST_PART)
        return epoch >= max(self.epochs // LONGEST_PART, 1)


def end_round(predictions: PredictionBuffer, layout: Layout, epoch: int, schedule: WarmupSchedule) -> PredictionBuffer:
    """Return the buffer after the rounds that end with `epoch`. Collective where there are ranks.

    Raises
    ------
    ValueError
        Nothing was recorded in the first epoch, or ranks have logits of different numbers of classes.
    """
    n_calls, n_classes, n_recorded = _counts_of_all_ranks(predictions, layout)
    if epoch == 1 and not n_calls:
        raise ValueError(
            f"{schedule.reason} needs weighted_mean(losses, index, logits=logits, labels=y), and the first "
            f"{schedule.unit} has ended without a call of it; give numbers where there are no outputs"
        )
    if schedule.unit == "step" and epoch == 1:
        steps = max(1, -(-layout.n // (ROUNDS_PER_PASS * max(n_recorded, 1))))
        steps = min(steps, schedule.longest_round or steps)
        predictions = predictions.with_steps_per_round(steps)
        if steps > 1 and epoch != schedule.warmup:
            # No round ends yet.
            return predictions
    n_rounds = predictions.agreement.n_rounds
    n_ended = schedule.rounds_per_epoch
    first = n_rounds % ROUNDS_PER_PASS if n_ended == 1 else 0
    rounds = count_agreement(predictions, layout, n_classes)[first : first + n_ended]
    if schedule.unit == "epoch":
        # A sampler may visit a part of the samples only.
        rounds = [entry for entry in rounds if entry.n_held_out]
    agreement = predictions.agreement.extended(rounds, n_calls)
    if schedule.unit == "epoch":
        return predictions.after_round(agreement, n_classes, n_earlier_rounds=n_rounds, ends_pass=True)
    ends_pass = agreement.n_rounds % ROUNDS_PER_PASS == 0
    return predictions.after_round(agreement, n_classes, n_earlier_rounds=n_rounds - first, ends_pass=ends_pass)


def _counts_of_all_ranks(predictions: PredictionBuffer, layout: Layout) -> tuple[int, int, int]:
    """Return the number of calls, of classes and of samples recorded of all ranks; raise as `end_round`."""
    rows = layout.sync_or_raise(None, predictions.n_calls, predictions.n_classes, predictions.n_recorded)
    n_calls, n_classes, n_recorded = zip(*rows, strict=True)
    known = {number for number in n_classes if number}
    if len(known) > 1:
        raise ValueError(f"ranks have logits of different numbers of classes: {', '.join(map(str, sorted(known)))}")
    return sum(n_calls), max(n_classes), sum(n_recorded)


def count_agreement(predictions: PredictionBuffer, layout: Layout, n_classes: int) -> list[Round]:
    """Return the `ROUNDS_PER_PASS` rounds of this pass, of all ranks together. Collective where there are ranks."""
    codes = layout.merge_highest(predictions.newest)
    labels = layout.merge_highest(predictions.labels.int())
    is_known = (codes >= 0) & (labels < n_classes)
    held_out = predictions.held_out[is_known]
    codes = codes[is_known]
    labels = labels[is_known]
    predicted = predicted_classes(codes)
    number = rounds_in_pass(codes)
    # Four kinds of samples: held out or not, predicted as labelled or not. Of those held out, also how often each class
    # is predicted, and given.
    kinds = 2 * (~held_out).int() + (predicted != labels).int()
    cells = torch.cat([kinds, 4 + predicted[held_out], 4 + n_classes + labels[held_out]])
    width = 4 + 2 * n_classes
    numbers = torch.cat([number, number[held_out], number[held_out]])
    counts = torch.bincount(cells + width * numbers, minlength=width * ROUNDS_PER_PASS)
    table = layout.all_reduce_sum(counts).reshape(ROUNDS_PER_PASS, width)
    n_pairs_agreed = (table[:, 4 : 4 + n_classes] * table[:, 4 + n_classes :]).sum(1)
    return [
        Round(held_out + held_out_other, held_out, trained + trained_other, trained, pairs)
        for (held_out, held_out_other, trained, trained_other), pairs in zip(
            table[:, :4].tolist(), n_pairs_agreed.tolist(), strict=True
        )
    ]
