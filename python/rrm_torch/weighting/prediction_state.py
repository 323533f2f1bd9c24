"""Predictions and estimates in a saved state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, fields
from typing import Any

import torch
from torch import Tensor

import rrm_core
from rrm_core._agreement import UNKNOWN, Round
from rrm_core._warmup_end import Agreement

from .._checks import is_dense
from .layout import Layout
from .outputs import MAX_CLASSES, are_codes
from .prediction_buffer import PASSES, PredictionBuffer
from .reweight_checks import is_int, is_number

COUNTS = ("n_classes", "n_calls", "n_recorded", "steps_per_round", "n_earlier_calls")


def save_predictions(predictions: PredictionBuffer | None, layout: Layout) -> dict[str, Any] | None:
    """Return the state of the predictions of all samples. Collective where there are ranks."""
    if predictions is None:
        return None
    rows = layout.sync_or_raise(None, predictions.n_calls, predictions.n_classes, predictions.n_recorded)
    n_calls, n_classes, n_recorded = zip(*rows, strict=True)
    chosen = predictions.chosen
    return {
        "labels": layout.all_gather(layout.merge_highest(predictions.labels.int())).to(torch.int16),
        "passes": _all_codes(predictions.passes, layout),
        "chosen": None if chosen is None else _all_codes(chosen, layout),
        "rounds": [astuple(entry) for entry in predictions.agreement.rounds],
        "n_earlier_calls": predictions.agreement.n_calls,
        "n_classes": max(n_classes),
        "n_calls": sum(n_calls),
        "n_recorded": sum(n_recorded),
        "steps_per_round": predictions.steps_per_round,
    }


def load_predictions(state: Mapping[str, Any], empty: PredictionBuffer, layout: Layout) -> PredictionBuffer:
    """Return the predictions of the local samples, from a checked state and the empty buffer of this process."""
    chosen = state["chosen"]
    return empty.restored(
        layout.local_slice(state["labels"]),
        layout.local_slice(state["passes"]),
        None if chosen is None else layout.local_slice(chosen),
        agreement=Agreement(tuple(Round(*counts) for counts in state["rounds"]), state["n_earlier_calls"]),
        n_classes=state["n_classes"],
        steps_per_round=state["steps_per_round"],
        # These are sums over the ranks.
        n_calls=state["n_calls"] if layout.rank == 0 else 0,
        n_recorded=state["n_recorded"] // layout.size,
    )


def check_predictions(state: Any, n: int) -> None:
    """Raise a ValueError unless predictions in a state of n samples can be right."""
    names = ("labels", "passes", "chosen", "rounds", *COUNTS)
    if not isinstance(state, Mapping) or set(state) != set(names):
        raise ValueError(f"state's predictions must hold {', '.join(names)}; the file may be damaged")
    numbers = [state[name] for name in COUNTS]
    if not all(is_int(number) and number >= 0 for number in numbers) or state["n_classes"] > MAX_CLASSES:
        raise ValueError(f"state's {', '.join(COUNTS)} must be counts, got {numbers}; the file may be damaged")
    _check_rounds(state["rounds"])
    labels = state["labels"]
    if not is_dense(labels, (torch.int16,)) or labels.shape != (n,) or int(labels.min()) < UNKNOWN:
        raise ValueError(f"state's labels must be classes of {n} samples, in int16; the file may be damaged")
    for name in ("passes", "chosen"):
        codes = state[name]
        if codes is not None or name == "passes":
            _check_codes(name, codes, n, state["n_classes"])


def save_estimate(estimate: rrm_core.ContaminationEstimate | None) -> dict[str, Any] | None:
    """Return an estimate as numbers, strings and a tensor."""
    if estimate is None:
        return None
    values = {field.name: getattr(estimate, field.name) for field in fields(estimate)}
    return {**values, "pairs": torch.tensor(estimate.pairs, dtype=torch.int64, device="cpu")}


def read_estimate(state: Any) -> rrm_core.ContaminationEstimate | None:
    """Return an estimate of a state; raise a ValueError if it can't be right."""
    if state is None:
        return None
    names = [field.name for field in fields(rrm_core.ContaminationEstimate)]
    if not isinstance(state, Mapping) or set(state) != set(names):
        raise ValueError(f"state's estimate must hold {', '.join(names)}; the file may be damaged")
    pairs = state["pairs"]
    by_group = state["by_group"]
    interval = state["interval"]
    shares = [state["contamination"], *(by_group or ())]
    valid = {
        "contamination or by_group": all(is_number(share, 0, below=1) for share in shares),
        "interval": interval is None
        or (len(interval) == 2 and all(is_number(bound, 0, 1) for bound in interval) and interval[0] <= interval[1]),
        "n": is_int(state["n"]) and state["n"] > 0,
        "n_held_out": is_int(state["n_held_out"]) and 0 <= state["n_held_out"] <= state["n"],
        "basis": isinstance(state["basis"], str),
        "epoch": is_int(state["epoch"]) and state["epoch"] > 0,
        "pairs": is_dense(pairs, (torch.int64,))
        and pairs.ndim == 2
        and pairs.shape[1] == 3
        and bool((pairs >= 0).all()),
    }
    wrong = [name for name, is_valid in valid.items() if not is_valid]
    if wrong:
        raise ValueError(f"state's estimate has {', '.join(wrong)} that can't be right; the file may be damaged")
    array = pairs.cpu().numpy().copy()
    array.flags.writeable = False
    values = {**state, "pairs": array}
    for name in ("interval", "by_group"):
        values[name] = None if state[name] is None else tuple(state[name])
    return rrm_core.ContaminationEstimate(**values)


def _all_codes(local: Tensor, layout: Layout) -> Tensor:
    """Return a copy of the codes of all samples. Collective where there are ranks."""
    return layout.all_gather(layout.merge_highest(local)).clone()


def _check_rounds(rounds: Any) -> None:
    if not isinstance(rounds, (list, tuple)) or not all(_are_counts_of_a_round(entry) for entry in rounds):
        raise ValueError(
            "state's rounds must have five counts each: of held-out and of trained samples, all and those that agreed, "
            "and of pairs that agree by chance; the file may be damaged"
        )


def _are_counts_of_a_round(entry: Any) -> bool:
    if not isinstance(entry, (list, tuple)) or len(entry) != 5 or not all(map(is_int, entry)):
        return False
    n_held_out, n_held_out_agreed, n_trained, n_trained_agreed, n_pairs_agreed = map(int, entry)
    return (
        0 <= n_held_out_agreed <= n_held_out
        and 0 <= n_trained_agreed <= n_trained
        and 0 <= n_pairs_agreed <= n_held_out**2
    )


def _check_codes(name: str, codes: Any, n: int, n_classes: int) -> None:
    if not is_dense(codes, (torch.int32,)) or codes.ndim != 2 or not 1 <= len(codes) <= PASSES or codes.shape[1] != n:
        raise ValueError(f"state's {name} must be int32 of shape (1 to {PASSES}, {n}); the file may be damaged")
    if not are_codes(codes, n_classes):
        raise ValueError(f"state's {name} must be predictions of {n_classes} classes; the file may be damaged")
