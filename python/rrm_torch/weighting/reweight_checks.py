"""Checks of the reweights in a saved state, against the bits that say which samples they pruned."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np
from torch import Tensor

import rrm_core

from .reweight import Reweight

# The marks of a loss buffer hold the next epoch as int32.
MAX_EPOCH = 2**31 - 2

# Weights are rounded to float32, and so add up to n within a few units in the last place.
TOLERANCE = 1e-3

_BITS_SET = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(axis=1)


def read_rounds(rounds: Any, n: int) -> list[Reweight]:
    """Return the reweights of a state of n samples; raise a ValueError if one can't be right."""
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
    loss_min_is_valid = is_number(entry.loss_min, above=-math.inf)
    valid = {
        "epoch": is_int(entry.epoch),
        "loss_min": loss_min_is_valid,
        "threshold": entry.threshold is None or (loss_min_is_valid and is_number(entry.threshold, entry.loss_min)),
        "gamma": entry.gamma is None or is_number(entry.gamma, 0),
        "contamination": _is_contamination(entry),
        "is_given": equals(entry.is_given, False) or (equals(entry.is_given, True) and entry.contamination is not None),
        "n_planned": is_int(entry.n_planned) and 1 <= entry.n_planned <= n,
        "largest_weight": is_number(entry.largest_weight, 0, limit),
        "effective_sample_size": is_number(entry.effective_sample_size, 0, limit),
        "objective": entry.objective is None or is_number(entry.objective, above=-math.inf, below=math.inf),
        "n_planned_by_group": _are_counts(entry.n_planned_by_group, entry.n_planned),
        "n_pruned_by_group": _are_counts(entry.n_pruned_by_group, entry.n_pruned)
        and _length(entry.n_pruned_by_group) == _length(entry.n_planned_by_group),
    }
    if entry.threshold is None:
        valid["gamma"] = entry.gamma is None
        valid["objective"] &= entry.objective is None or entry.n_pruned_by_group is not None
    elif entry.gamma is None:
        valid["gamma"] = False
    for name, is_valid in valid.items():
        if not is_valid:
            raise ValueError(f"state's rounds hold {name}={getattr(entry, name)!r}, which can't be right")


def _is_contamination(entry: Reweight) -> bool:
    """Return whether the contamination of a reweight can be right: a share, one per group, or None."""
    shares = entry.contamination
    if isinstance(shares, tuple):
        return len(shares) == _length(entry.n_pruned_by_group) and all(is_number(share, 0, below=1) for share in shares)
    return shares is None or is_number(shares, 0, below=1)


def _are_counts(counts: Any, total: Any) -> bool:
    """Return whether counts by group are None, or integers of at least 0 that add up to a total."""
    if counts is None:
        return True
    if not isinstance(counts, tuple) or not all(is_int(count) and count >= 0 for count in counts):
        return False
    return equals(sum(counts), total)


def _length(counts: tuple[int, ...] | None) -> int:
    """Return the number of groups; 0 without groups."""
    return 0 if counts is None else len(counts)


def check_bits(bits: np.ndarray[Any, np.dtype[np.uint8]], rounds: list[Reweight], n: int) -> np.ndarray[Any, Any]:
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
            if not equals(getattr(entry, name), value):
                raise ValueError(
                    f"state's rounds hold {name}={getattr(entry, name)!r} after epoch {entry.epoch}, where its bits "
                    f"count {value}; the file may be damaged"
                )
        times += np.unpackbits(row, count=n)
        ever |= row
        before = row
    return times


def check_groups(bits: Tensor, rounds: list[Reweight], groups: rrm_core.Groups) -> None:
    """Raise a ValueError unless the reweights count for each group what the bits say."""
    for row, entry in zip(bits.cpu().numpy(), rounds, strict=True):
        pruned = np.unpackbits(row, count=len(groups)).view(bool)
        n_pruned = np.bincount(groups.numbers[pruned], minlength=groups.n_groups)
        if entry.n_pruned_by_group != tuple(n_pruned.tolist()):
            raise ValueError(
                f"state's rounds hold an n_pruned_by_group after epoch {entry.epoch} that its bits do not count; the "
                "file may be damaged"
            )
        assert entry.n_planned_by_group is not None
        n_planned = np.array(entry.n_planned_by_group)
        if bool((n_planned < n_pruned).any() or (n_planned > groups.sizes).any()):
            raise ValueError(
                f"state's rounds hold an n_planned_by_group after epoch {entry.epoch} that must lie between the number "
                "of pruned samples and that of all samples of each group; the file may be damaged"
            )


def _count(bits: np.ndarray[Any, np.dtype[np.uint8]]) -> int:
    return int(_BITS_SET[bits].sum())


def equals(saved: Any, value: Any) -> bool:
    """Return whether a saved number, string or None is this one, of its type; anything else is not."""
    return type(saved) is type(value) and bool(saved == value)


def is_int(value: Any) -> bool:
    """Return whether a value is an integer, and no bool."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(
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
