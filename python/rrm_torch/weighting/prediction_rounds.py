"""The rounds of a warm-up that records predictions: where they end, and whether the warm-up may end with them.

A round is an epoch; with few planned epochs, or where steps are counted, a quarter of an epoch, by samples recorded.
"""

from __future__ import annotations

from copy import copy

import torch

from .layout import Layout
from .outputs import predicted_classes, rounds_in_pass
from .prediction_buffer import ROUNDS_PER_PASS, PredictionBuffer
from .settings import Unit
from .warmup_end import MIN_ROUNDS, Round

FEW_EPOCHS = 12
"""With fewer, a round is a quarter of an epoch: the longest warm-up would have less than four epochs."""

LONGEST_PART = 3
"""The longest warm-up is one in so many of the planned epochs."""


def rounds_per_epoch(epochs: int | None, unit: Unit) -> int:
    """Return the number of rounds in each of the planned epochs; 1 where calls of `RRM.step` end rounds."""
    if unit == "step" or epochs is None or epochs >= FEW_EPOCHS:
        return 1
    return ROUNDS_PER_PASS


def end_round(
    predictions: PredictionBuffer, layout: Layout, epoch: int, epochs: int | None, unit: Unit
) -> PredictionBuffer:
    """Return the buffer after the rounds that end with an epoch or step. Collective where there are ranks.

    Parameters
    ----------
    predictions : PredictionBuffer
    layout : Layout
    epoch : int
        That ends, counted from 1; the step, where steps are counted.
    epochs : int, optional
        Planned epochs.
    unit : {"epoch", "step"}

    Raises
    ------
    ValueError
        Ranks have logits of different numbers of classes.
    """
    rows = layout.sync_or_raise(None, predictions.n_calls, predictions.n_classes, predictions.n_recorded)
    n_calls, n_classes, n_recorded = zip(*rows, strict=True)
    known = {number for number in n_classes if number}
    if len(known) > 1:
        raise ValueError(f"ranks have logits of different numbers of classes: {', '.join(map(str, sorted(known)))}")
    if unit == "step" and epoch == 1:
        predictions = copy(predictions)
        predictions.steps_per_round = max(1, -(-layout.n // (ROUNDS_PER_PASS * max(sum(n_recorded), 1))))
        if predictions.steps_per_round > 1:
            # No round ends yet.
            return predictions
    first = predictions.agreement.n_rounds % ROUNDS_PER_PASS
    n_ended = rounds_per_epoch(epochs, unit)
    if n_ended > 1:
        first = 0
    rounds = count_agreement(predictions, layout)[first : first + n_ended]
    agreement = predictions.agreement.extended(rounds, sum(n_calls))
    ends_pass = unit == "epoch" or agreement.n_rounds % ROUNDS_PER_PASS == 0
    return predictions.after_round(agreement, max(n_classes), ends_pass=ends_pass)


def count_agreement(predictions: PredictionBuffer, layout: Layout) -> list[Round]:
    """Return the `ROUNDS_PER_PASS` rounds of this pass, of all ranks together. Collective where there are ranks."""
    codes = layout.merge_highest(predictions.newest)
    labels = layout.merge_highest(predictions.labels.int())
    # Four kinds of samples: held out or not, predicted as labelled or not.
    kinds = 2 * (~predictions.held_out).int() + (predicted_classes(codes) != labels).int()
    cells = 4 * rounds_in_pass(codes) + kinds
    counts = torch.bincount(cells[codes >= 0], minlength=4 * ROUNDS_PER_PASS)
    table = layout.all_reduce_sum(counts).reshape(ROUNDS_PER_PASS, 4).tolist()
    return [
        Round(held_out + held_out_other, held_out, trained + trained_other, trained)
        for held_out, held_out_other, trained, trained_other in table
    ]


def may_be_over(predictions: PredictionBuffer, epoch: int, epochs: int | None, unit: Unit) -> bool:
    """Return whether a warm-up may be over after `epoch`, with whose end a round ends."""
    n_rounds = predictions.agreement.n_rounds + rounds_per_epoch(epochs, unit)
    return n_rounds >= MIN_ROUNDS or reaches_limit(n_rounds, epoch, epochs, unit)


def reaches_limit(n_rounds: int, epoch: int, epochs: int | None, unit: Unit) -> bool:
    """Return whether a warm-up of so many rounds, or that ends with `epoch`, has the longest length for the plan."""
    if epochs is None:
        return False
    if unit == "step":
        return n_rounds * LONGEST_PART >= ROUNDS_PER_PASS * epochs
    return epoch >= max(epochs // LONGEST_PART, 1)
