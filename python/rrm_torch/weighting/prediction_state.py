"""Predictions and estimates in a saved state."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import asdict, fields
from typing import Any

import torch

import rrm_core

from .._checks import is_dense
from .layout import Layout
from .outputs import MAX_CLASSES, UNKNOWN
from .prediction_buffer import PASSES, ROUNDS_PER_PASS, PredictionBuffer
from .reweight_checks import is_int, is_number
from .warmup_end import Agreement

NUMBERS = ("n_classes", "n_calls", "n_recorded", "steps_per_round")


def save_predictions(predictions: PredictionBuffer | None, layout: Layout) -> dict[str, Any] | None:
    """Return the state of the predictions of all samples. Collective where there are ranks."""
    if predictions is None:
        return None
    counts = predictions.counts.flatten().tolist()
    rows = layout.sync_or_raise(None, *counts, predictions.n_calls, predictions.n_classes, predictions.n_recorded)
    totals = [sum(column) for column in zip(*rows, strict=True)]
    n_classes = max(row[len(counts) + 1] for row in rows)
    best = predictions.best
    return {
        "labels": layout.gather_highest(predictions.labels.int()).to(torch.int16),
        "passes": layout.gather_highest(predictions.passes).clone(),
        "best": None if best is None else layout.gather_highest(best).clone(),
        "agreement": asdict(predictions.agreement),
        "counts": totals[: len(counts)],
        "n_classes": n_classes,
        "n_calls": max(row[len(counts)] for row in rows),
        "n_recorded": totals[-1],
        "steps_per_round": predictions.steps_per_round,
    }


def load_predictions(state: Mapping[str, Any], empty: PredictionBuffer, layout: Layout) -> PredictionBuffer:
    """Return the predictions of the local samples, from a checked state and the empty buffer of this process."""
    other = copy(empty)
    best = state["best"]
    other.restore(
        labels=layout.local_slice(state["labels"]),
        passes=layout.local_slice(state["passes"]),
        best=None if best is None else layout.local_slice(best),
        # They are sums over the ranks.
        counts=torch.tensor(state["counts"] if layout.rank == 0 else [0] * (2 * ROUNDS_PER_PASS), dtype=torch.int64),
    )
    agreement = state["agreement"]
    other.agreement = Agreement(tuple(agreement["seen"]), tuple(agreement["agreed"]), agreement["n_calls"])
    for name in NUMBERS:
        setattr(other, name, state[name])
    other.n_recorded = state["n_recorded"] // layout.size
    return other


def check_predictions(state: Any, n: int) -> None:
    """Raise a ValueError unless predictions in a state of n samples can be right."""
    names = ("labels", "passes", "best", "agreement", "counts", *NUMBERS)
    if not isinstance(state, Mapping) or set(state) != set(names):
        raise ValueError(f"state's predictions must hold {', '.join(names)}; the file may be damaged")
    numbers = [state[name] for name in NUMBERS]
    if not all(is_int(number) and number >= 0 for number in numbers) or state["n_classes"] > MAX_CLASSES:
        raise ValueError(f"state's {', '.join(NUMBERS)} must be counts, got {numbers}; the file may be damaged")
    _check_counts(state["counts"], state["agreement"])
    labels = state["labels"]
    if not is_dense(labels, (torch.int16,)) or labels.shape != (n,) or int(labels.min()) < UNKNOWN:
        raise ValueError(f"state's labels must be classes of {n} samples, in int16; the file may be damaged")
    for name in ("passes", "best"):
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


def _check_counts(counts: Any, agreement: Any) -> None:
    if not isinstance(agreement, Mapping) or set(agreement) != {"seen", "agreed", "n_calls"}:
        raise ValueError("state's agreement must hold seen, agreed and n_calls; the file may be damaged")
    seen = agreement["seen"]
    agreed = agreement["agreed"]
    lists = (counts, seen, agreed)
    are_lists = all(isinstance(values, (list, tuple)) and all(map(is_int, values)) for values in lists)
    if not (are_lists and is_int(agreement["n_calls"]) and len(counts) == 2 * ROUNDS_PER_PASS):
        raise ValueError("state's counts and agreement must be lists of integers; the file may be damaged")
    all_seen = [*seen, *counts[:ROUNDS_PER_PASS]]
    all_agreed = [*agreed, *counts[ROUNDS_PER_PASS:]]
    if len(seen) != len(agreed) or any(not 0 <= k <= m for k, m in zip(all_agreed, all_seen, strict=True)):
        raise ValueError("state's agreement must lie between 0 and the samples seen; the file may be damaged")


def _check_codes(name: str, codes: Any, n: int, n_classes: int) -> None:
    if not is_dense(codes, (torch.int32,)) or codes.ndim != 2 or not 1 <= len(codes) <= PASSES or codes.shape[1] != n:
        raise ValueError(f"state's {name} must be int32 of shape (1 to {PASSES}, {n}); the file may be damaged")
    predicted = codes >> 16
    doubt = torch.where(codes < 0, 0, codes & 0xFFFF)
    # 0x3C00 are the bits of 1.
    if int(codes.min()) < UNKNOWN or int(predicted.max()) >= max(n_classes, 0) or int(doubt.max()) > 0x3C00:
        raise ValueError(f"state's {name} must be predictions of {n_classes} classes; the file may be damaged")
