"""A `SelectionState` as a vector of integers, which npz files and messages can hold.

Layout, 25 numbers: the version (1); the rule (6); round, type code, n, checksum, n_nan, smallest key (6); the two
thresholds (6 each). Doubles are stored as their bits, keys as signed numbers in the same order.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np

from ..definition.counting import BIN_BITS, to_signed, to_unsigned
from ..definition.formats import BY_CODE, Array
from ..definition.rule import Redistribute, Rule
from .consistency import is_consistent
from .rank_search import PivotCount, RankRange, Target
from .round_state import SelectionState

VERSION = 1
LENGTH = 25
TARGET_LENGTH = 6
_Recipients: TypeAlias = "Redistribute | Literal['']"
# The empty string stands for a fraction.
_RECIPIENTS: tuple[_Recipients, ...] = ("argmin", "kept", "drop", "")
_NO_TARGET, _PIVOT, _RANGE = 0, 1, 2


def encode_state(state: SelectionState) -> Array:
    """Return a state as an int64 array of shape (LENGTH,)."""
    rule = state.rule
    assert not isinstance(rule.contamination, tuple)
    if rule.gamma is None:
        threshold_rule = [0, _double_to_bits(rule.contamination or 0.0)]
    else:
        threshold_rule = [1, _double_to_bits(rule.gamma)]
    if isinstance(rule.redistribute, str):
        recipients = [_RECIPIENTS.index(rule.redistribute), _double_to_bits(0.0)]
    else:
        recipients = [_RECIPIENTS.index(""), _double_to_bits(rule.redistribute)]
    numbers = [
        VERSION,
        *threshold_rule,
        *recipients,
        int(rule.ties == "share"),
        int(rule.nan == "prune"),
        state.round,
        -1 if state.format is None else state.format.code,
        state.n,
        state.checksum,
        state.n_nan,
        to_signed(state.min_key),
        *_encode_target(state.threshold),
        *_encode_target(state.recipients),
    ]
    return np.array(numbers, np.int64)


def decode_state(vector: Array) -> SelectionState:
    """Return the state that `encode_state` has encoded in an int64 vector.

    Raises
    ------
    ValueError
        The numbers are of another version, or not a state.
    """
    if not len(vector):
        raise ValueError("an empty state")
    if vector[0] != VERSION:
        raise ValueError(f"version {vector[0]}, not {VERSION}")
    if len(vector) != LENGTH:
        raise ValueError(f"a state of {len(vector)} numbers, not {LENGTH}")
    numbers = vector.tolist()
    is_gamma, value, recipients, fraction, shares_ties, prunes_nan, round, code = numbers[1:9]
    if not 0 <= recipients < len(_RECIPIENTS):
        raise ValueError("an unknown way to redistribute")
    contamination = gamma = None
    if is_gamma:
        gamma = _bits_to_double(value)
    else:
        contamination = _bits_to_double(value)
    rule = Rule(
        contamination=contamination,
        gamma=gamma,
        redistribute=_RECIPIENTS[recipients] or _bits_to_double(fraction),
        ties="share" if shares_ties else "keep",
        nan="prune" if prunes_nan else "raise",
    )
    n, checksum, n_nan, min_key = numbers[9:13]
    state = SelectionState(
        rule,
        round,
        BY_CODE.get(code),
        n,
        checksum,
        n_nan,
        to_unsigned(min_key),
        threshold=_decode_target(numbers[-2 * TARGET_LENGTH : -TARGET_LENGTH]),
        recipients=_decode_target(numbers[-TARGET_LENGTH:]),
    )
    if not is_consistent(state) or encode_state(state).tolist() != numbers:
        raise ValueError("an inconsistent state")
    return state


def _double_to_bits(x: float) -> int:
    return int(struct.unpack("<q", struct.pack("<d", x))[0])


def _bits_to_double(bits: int) -> float:
    return float(struct.unpack("<d", struct.pack("<q", bits))[0])


def _encode_target(target: Target | None) -> tuple[int, ...]:
    if target is None:
        return _NO_TARGET, 0, 0, 0, 0, 0
    if isinstance(target, PivotCount):
        return _PIVOT, to_signed(target.key), target.n_below, target.n_at, 0, 0
    return _RANGE, to_signed(target.first), target.n_below, target.n_inside, target.rank, target.width


def _decode_target(numbers: Sequence[int]) -> Target | None:
    kind, key, n_below, n_inside, rank, width = numbers
    if kind == _NO_TARGET:
        return None
    if kind == _PIVOT:
        return PivotCount(to_unsigned(key), n_below, n_inside)
    if width not in range(0, 64, BIN_BITS):
        raise ValueError(f"a key range of {width} bits")
    return RankRange(rank, to_unsigned(key), width, n_below, n_inside)
