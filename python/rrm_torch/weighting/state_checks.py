"""Checks of a saved state: every entry is validated before anything is restored. All errors are ValueErrors."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .._checks import is_dense
from .reweight import Reweight
from .settings import BatchSettings, Settings
from .state import FLOATS, VERSION, Entry, entries

# The marks of a loss buffer hold the next epoch as int32.
MAX_EPOCH = 2**31 - 2

# Weights are rounded to float32, and so add up to n within a few units in the last place.
TOLERANCE = 1e-3

_BITS_SET = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(axis=1)


def check_state(state: Any, class_name: str, settings: BatchSettings) -> list[Reweight]:
    """Raise unless a state can be one of a class with these settings; return its reweights.

    Raises
    ------
    ValueError
        The settings or the data set differ, or an entry is missing or can't be right; the message says which.
    """
    check_entries(state, entries("rrm", "buffer"), "state", f"{class_name}.state_dict()")
    _check_origin(state, class_name, settings)
    n = settings.n
    epoch = state["epoch"]
    if not _is_int(epoch) or not 0 <= epoch <= MAX_EPOCH:
        raise ValueError(f"state's epoch must be an integer in [0, {MAX_EPOCH}], got {epoch!r}")
    _check_tensors(state, entries("rrm", "buffer"), n, "state's")
    floats = [state[entry.name] for entry in entries("rrm", "buffer") if entry.dtypes == FLOATS]
    dtypes = {value.dtype for value in floats if value is not None}
    if len(dtypes) > 1:
        raise ValueError(f"state's weights and losses must have one dtype, got {sorted(map(str, dtypes))}")
    _check_weights(state["weights"], n)
    _check_recorded(state)
    rounds = check_history(state["trajectory"], n)
    if rounds and rounds[-1].epoch > epoch:
        raise ValueError(f"state's last reweight followed epoch {rounds[-1].epoch}, after its epoch {epoch}")
    return rounds


def check_consistency(state: Mapping[str, Any], rounds: list[Reweight], settings: Settings) -> None:
    """Raise a ValueError unless the weights and losses of a state of `RRM` go with its reweights."""
    weights = state["weights"]
    losses = state["losses"]
    ranking = state["ranking"]
    if not rounds:
        if not bool((weights == 1).all() and losses.isnan().all()) or ranking is not None:
            raise ValueError("state's weights must be 1, its losses NaN and its ranking None before the first reweight")
        return
    for entry in rounds:
        _check_is_due(entry, settings)
    mean = float(weights.double().mean())
    if mean > 1 + TOLERANCE or (mean < 1 - TOLERANCE and settings.redistribute != "drop"):
        raise ValueError(f"state's weights must have mean 1, got {mean:g}; the file may be damaged")
    last = rounds[-1]
    if float(weights.max()) != last.largest_weight:
        raise ValueError(
            f"state's largest weight is {float(weights.max()):g}, and its last reweight says {last.largest_weight:g}; "
            "the file may be damaged"
        )
    numbers = losses if ranking is None else ranking
    pruned = (numbers > last.threshold).cpu().numpy()
    recorded_bits = state["trajectory"]["bits"][-1].cpu().numpy()
    was_pruned = np.unpackbits(recorded_bits, count=len(pruned)).view(bool)
    # Of a loss that is NaN, the bits say whether it was pruned or took no part.
    if bool((pruned != was_pruned)[~numbers.isnan().cpu().numpy()].any()):
        raise ValueError("state's bits don't say which losses are above the threshold; the file may be damaged")


def _check_is_due(entry: Reweight, settings: Settings) -> None:
    """Raise a ValueError unless `RRM` reweights after the epoch of a reweight, with the rule that this had."""
    if not settings.is_due(entry.epoch) or entry.threshold is None:
        raise ValueError(f"state has a reweight after {settings.unit} {entry.epoch}, which isn't due then")
    if not (entry.is_given or settings.has_threshold):
        raise ValueError(
            f"state has a reweight after {settings.unit} {entry.epoch} without a contamination, which each step must "
            "be given; the file may be damaged"
        )


def check_history(state: Any, n: int) -> list[Reweight]:
    """Raise unless a state can be one of a `PruningHistory` of n samples; return its reweights.

    Raises
    ------
    ValueError
        An entry is missing or can't be right; the message says which.
    """
    table = entries("history")
    check_entries(state, table, "state's trajectory", "state_dict()")
    rounds = _read_rounds(state["rounds"], n)
    bits = state["bits"]
    shape = (len(rounds), -(-n // 8))
    if not is_dense(bits, (torch.uint8,)) or bits.shape != shape:
        raise ValueError(
            f"state's trajectory must hold {len(rounds)} rounds of {n} samples, in bits of shape {shape} and "
            f"torch.uint8, got {_kind(bits)}"
        )
    _check_tensors(state, table, n, "state's trajectory's")
    times = torch.from_numpy(_check_bits(bits.cpu().numpy(), rounds, n))
    planned = torch.full_like(times, len(rounds)) if state["planned"] is None else state["planned"].cpu()
    n_planned = sum(entry.n_planned for entry in rounds)
    if int(planned.sum(dtype=torch.int64)) != n_planned:
        raise ValueError(
            f"state's planned must add up to the samples that its rounds planned, {n_planned}; the file may be damaged"
        )
    if bool(((planned < times) | (planned > len(rounds))).any()):
        raise ValueError(
            "state's planned must lie between the number of reweights that pruned a sample and that of all; the file "
            "may be damaged"
        )
    rank_sum = state["rank_sum"].cpu()
    if not bool(((rank_sum >= 0) & (rank_sum <= planned.double() * (1 + TOLERANCE))).all()):
        raise ValueError("state's rank_sum must add ranks in [0, 1]; the file may be damaged")
    return rounds


def check_entries(state: Any, table: Iterable[Entry], name: str, source: str) -> None:
    """Raise a ValueError if `state`, called `name` in the message and made by `source`, lacks an entry."""
    if not isinstance(state, Mapping):
        raise ValueError(f"{name} must be a dict, got {type(state).__name__}; pass what {source} returned")
    missing = sorted(entry.name for entry in table if entry.name not in state)
    if missing:
        raise ValueError(f"{name} lacks {', '.join(missing)}; pass what {source} returned")


def _check_origin(state: Mapping[str, Any], class_name: str, settings: BatchSettings) -> None:
    """Raise a ValueError if a state is of another version or class, another data set, or other settings."""
    version = state["version"]
    if not _is_int(version) or version != VERSION:
        raise ValueError(f"state has version {version!r}, and this rrm_torch reads version {VERSION}")
    if not isinstance(state["class"], str) or state["class"] != class_name:
        raise ValueError(f"state was saved by {state['class']}, and this is {class_name}")
    saved = state["settings"]
    if not isinstance(saved, Mapping):
        raise ValueError(f"state's settings must be a dict, got {type(saved).__name__}")
    current = settings.describe()
    ids = saved.get("ids")
    if _equal(saved.get("n"), current["n"]) and not _equal(ids, current["ids"]):
        raise ValueError(
            f"state was saved for another data set: the hash of its ids is {ids} there and {current['ids']} here"
        )
    differences = [
        f"{name} is {saved.get(name)!r} there and {value!r} here"
        for name, value in current.items()
        if not _equal(saved.get(name), value)
    ]
    if differences:
        raise ValueError(f"state was saved with other settings: {', '.join(differences)}")


def _check_tensors(state: Mapping[str, Any], table: Iterable[Entry], n: int, owner: str) -> None:
    """Raise a ValueError if an entry with one element per sample is not a tensor of n of them, of its dtype."""
    for entry in table:
        value = state[entry.name]
        if entry.shape != "(n,)" or (value is None and entry.optional):
            continue
        if not is_dense(value, entry.dtypes) or value.shape != (n,):
            dtypes = " or ".join(map(str, entry.dtypes))
            raise ValueError(
                f"{owner} {entry.name} must be a dense tensor of shape ({n},) and {dtypes}, got {_kind(value)}"
            )


def _check_weights(weights: Tensor, n: int) -> None:
    if not bool((weights.isfinite() & (weights >= 0)).all()):
        raise ValueError("state's weights must be finite and at least 0; the file may be damaged")
    largest = float(weights.max())
    if largest > n * (1 + TOLERANCE):
        raise ValueError(f"state's weights must be at most n={n}, got {largest:g}; the file may be damaged")


def _check_recorded(state: Mapping[str, Any]) -> None:
    recorded = state["recorded"]
    marks = state["marks"]
    if (recorded is None) != (marks is None):
        raise ValueError("state must hold both recorded and marks, or neither; the file may be damaged")
    if recorded is None and state["recorded_ranking"] is not None:
        raise ValueError("state must hold recorded if it holds recorded_ranking; the file may be damaged")
    if marks is not None and int(marks.max()) > 3:
        raise ValueError(f"state's marks must lie in [0, 3], got {int(marks.max())}; the file may be damaged")


def _read_rounds(rounds: Any, n: int) -> list[Reweight]:
    names = {field.name for field in fields(Reweight)}
    if not isinstance(rounds, (list, tuple)):
        raise ValueError(f"state's rounds must be a list, got {type(rounds).__name__}")
    entries_of_rounds = []
    for entry in rounds:
        if not isinstance(entry, Mapping) or set(entry) != names:
            raise ValueError("state's rounds aren't those of this version: each must hold " + ", ".join(sorted(names)))
        entries_of_rounds.append(Reweight(**entry))
    previous = 0
    for reweight in entries_of_rounds:
        _check_reweight(reweight, n)
        if not previous < reweight.epoch <= MAX_EPOCH:
            raise ValueError(f"state's rounds must be in order, got epoch {reweight.epoch} after {previous}")
        previous = reweight.epoch
    return entries_of_rounds


def _check_reweight(entry: Reweight, n: int) -> None:
    """Raise a ValueError if a number of a reweight can't be right."""
    limit = n * (1 + TOLERANCE)
    loss_min_is_valid = _is_number(entry.loss_min, above=-math.inf)
    valid = {
        "epoch": _is_int(entry.epoch),
        "loss_min": loss_min_is_valid,
        "threshold": entry.threshold is None or (loss_min_is_valid and _is_number(entry.threshold, entry.loss_min)),
        "gamma": entry.gamma is None or _is_number(entry.gamma, 0),
        "contamination": entry.contamination is None or _is_number(entry.contamination, 0, below=1),
        "is_given": _equal(entry.is_given, False) or (_equal(entry.is_given, True) and entry.contamination is not None),
        "n_planned": _is_int(entry.n_planned) and 1 <= entry.n_planned <= n,
        "largest_weight": _is_number(entry.largest_weight, 0, limit),
        "effective_sample_size": _is_number(entry.effective_sample_size, 0, limit),
        "objective": entry.objective is None or _is_number(entry.objective, above=-math.inf, below=math.inf),
    }
    if entry.threshold is None:
        valid["gamma"] = entry.gamma is None
        valid["objective"] = entry.objective is None
    elif entry.gamma is None:
        valid["gamma"] = False
    for name, is_valid in valid.items():
        if not is_valid:
            raise ValueError(f"state's rounds hold {name}={getattr(entry, name)!r}, which can't be right")


def _check_bits(bits: np.ndarray[Any, np.dtype[np.uint8]], rounds: list[Reweight], n: int) -> np.ndarray[Any, Any]:
    """Raise a ValueError unless the reweights count what the bits say; return how often each sample was pruned."""
    padding = -n % 8
    if padding and (bits[:, -1] & ((1 << padding) - 1)).any():
        raise ValueError(f"state's bits mark samples beyond n={n}; the file may be damaged")
    times = np.zeros(n, np.int32)
    before = np.zeros(bits.shape[1], np.uint8)
    ever = np.zeros(bits.shape[1], np.uint8)
    for i, (row, entry) in enumerate(zip(bits, rounds, strict=True)):
        n_both = _count(row & before)
        n_pruned = _count(row)
        n_before = _count(before)
        n_either = n_pruned + n_before - n_both
        counted = {
            "n_pruned": n_pruned,
            "n_entered": n_pruned - n_both,
            "n_left": n_before - n_both,
            "n_returned": _count(row & ~before & ever),
            "overlap": n_both / n_either if i and n_either else None,
        }
        for name, value in counted.items():
            if not _equal(getattr(entry, name), value):
                raise ValueError(
                    f"state's rounds hold {name}={getattr(entry, name)!r} after epoch {entry.epoch}, where its bits "
                    f"count {value}; the file may be damaged"
                )
        times += np.unpackbits(row, count=n)
        ever |= row
        before = row
    return times


def _kind(value: Any) -> str:
    """Return what a message calls a value that is not the tensor it should be."""
    if not isinstance(value, Tensor):
        return type(value).__name__
    if value.is_nested or value.is_meta or value.layout != torch.strided:
        return "a nested tensor" if value.is_nested else f"a tensor of {value.layout} on {value.device}"
    return f"{tuple(value.shape)} and {value.dtype}"


def _count(bits: np.ndarray[Any, np.dtype[np.uint8]]) -> int:
    return int(_BITS_SET[bits].sum())


def _equal(saved: Any, value: Any) -> bool:
    """Return whether a saved number, string or None is this one, of its type; anything else is not."""
    return type(saved) is type(value) and bool(saved == value)


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(
    value: Any,
    at_least: float = -math.inf,
    at_most: float = math.inf,
    *,
    above: float | None = None,
    below: float | None = None,
) -> bool:
    """Return whether a value is a float within some limits."""
    return (
        isinstance(value, float)
        and at_least <= value <= at_most
        and (above is None or value > above)
        and (below is None or value < below)
    )
