"""A `GroupedState` as a vector of integers, as `state_format` without groups.

Layout: the version; number of groups, bits of a digit, rounds counted, type code, checksum, and whether the pivots are
counted; the rule; the shares of groups in it; then the arrays of the state. Doubles are stored as their bits, keys as
signed numbers in the same order.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..definition.counting import BIN_BITS
from ..definition.formats import BY_CODE, Array
from ..definition.group_counting import MIN_BITS, TargetNumbers
from ..definition.rule import Rule
from .grouped_consistency import is_consistent
from .grouped_ranges import KeyRanges
from .grouped_state import GroupedState

# Negative: another layout than that of the versions without groups.
GROUPED_VERSION = -1
HEADER_LENGTH = 7
RULE_LENGTH = 8
_SIGN = np.uint64(1 << 63)
_RECIPIENTS: tuple[Any, ...] = ("argmin", "kept", "drop", None)  # None stands for a fraction
_NO_SHARES = -1


def encode_grouped_state(state: GroupedState) -> Array:
    """Return a state as an int64 vector."""
    rule = state.rule
    recipients = rule.redistribute if isinstance(rule.redistribute, str) else None
    fraction = 0.0 if isinstance(rule.redistribute, str) else rule.redistribute
    shares = [_shares_of(rule.contamination), _shares_of(rule.cap)]
    numbers = [
        GROUPED_VERSION,
        state.n_groups,
        state.bits,
        state.n_counted,
        -1 if state.format is None else state.format.code,
        state.checksum,
        int(state.pivot_counts is not None),
        # The rule.
        *(
            len(x) if isinstance(value, tuple) else 0 if value is not None else _NO_SHARES
            for x, value in zip(shares, (rule.contamination, rule.cap), strict=True)
        ),
        *np.array([0.0 if rule.gamma is None else rule.gamma, fraction]).view(np.int64).tolist(),
        _RECIPIENTS.index(recipients),
        int(rule.ties == "share"),
        int(rule.nan == "prune"),
        int(rule.mass == "group"),
    ]
    ranges = [(x.first.view(np.int64) ^ _SIGN.view(np.int64), x.n_below, x.n_inside) for x in (state.own, state.of_all)]
    min_keys = state.min_keys.view(np.int64) ^ _SIGN.view(np.int64)
    arrays = [state.sizes, state.n_nan, min_keys, *ranges[0], *ranges[1]]
    if state.pivot_counts is not None:
        arrays.append(state.pivot_counts)
    values = [np.array(x).view(np.int64) for x in shares]
    return np.concatenate([np.array(numbers, np.int64), *values, *(array.reshape(-1) for array in arrays)])


def decode_grouped_state(vector: Array) -> GroupedState:
    """Return the state that `encode_grouped_state` has encoded in an int64 vector.

    Raises
    ------
    ValueError
        The numbers are not a state.
    """
    if len(vector) < HEADER_LENGTH + RULE_LENGTH:
        raise ValueError(f"a state of {len(vector)} numbers")
    reader = _Reader(vector)
    _, n_groups, bits, n_counted, code, checksum, has_pivot_counts = reader.read(HEADER_LENGTH).tolist()
    rule = _read_rule(reader)
    # Every group has numbers in the vector, which thereby limits their number.
    if not (1 <= n_groups <= len(vector) and MIN_BITS <= bits <= BIN_BITS and 0 <= n_counted <= 64):
        raise ValueError("an inconsistent state")
    rule.check_n_groups(n_groups)
    targets = TargetNumbers(rule)
    state = GroupedState(
        rule,
        n_groups,
        bits,
        n_counted,
        BY_CODE.get(code),
        checksum,
        sizes=reader.read(n_groups),
        n_nan=reader.read(n_groups),
        min_keys=reader.read_keys(n_groups),
        own=reader.read_ranges((targets.own, n_groups)),
        of_all=reader.read_ranges((targets.of_all,)),
        pivot_counts=reader.read_rest().reshape(-1, 2, n_groups) if has_pivot_counts else None,
    )
    if not is_consistent(state) or not np.array_equal(encode_grouped_state(state), vector):
        raise ValueError("an inconsistent state")
    return state


class _Reader:
    """Reads numbers from a vector, one part after the other."""

    def __init__(self, vector: Array) -> None:
        self._vector = vector
        self._position = 0

    def read(self, length: int) -> Array:
        """Return a copy of the next numbers."""
        part = self._vector[self._position : self._position + length]
        if len(part) != length:
            raise ValueError(f"a state of {len(self._vector)} numbers, which is too short")
        self._position += length
        return part.copy()

    def read_doubles(self, length: int) -> tuple[float, ...]:
        """Return the next numbers, which are bits of doubles."""
        return tuple(self.read(length).view(np.float64).tolist())

    def read_keys(self, length: int) -> Array:
        """Return the next numbers, which are keys."""
        return self.read(length).view(np.uint64) ^ _SIGN

    def read_ranges(self, shape: tuple[int, ...]) -> KeyRanges:
        """Return ranges of keys."""
        length = int(np.prod(shape))
        return KeyRanges(
            self.read_keys(length).reshape(shape), self.read(length).reshape(shape), self.read(length).reshape(shape)
        )

    def read_rest(self) -> Array:
        """Return all numbers that are left."""
        return self.read(len(self._vector) - self._position)


def _shares_of(value: float | tuple[float, ...] | None) -> list[float]:
    """Return the shares of a rule as a list: one for a number."""
    if value is None:
        return []
    return list(value) if isinstance(value, tuple) else [value]


def _read_rule(reader: _Reader) -> Rule:
    n_contaminations, n_caps = reader.read(2).tolist()
    gamma, fraction = reader.read_doubles(2)
    recipients, shares_ties, prunes_nan, keeps_mass = reader.read(RULE_LENGTH - 4).tolist()
    if not 0 <= recipients < len(_RECIPIENTS):
        raise ValueError("an unknown way to redistribute")

    def read_shares(length: int) -> float | tuple[float, ...] | None:
        if length == _NO_SHARES:
            return None
        if length < 0:
            raise ValueError("a negative number of shares")
        values = reader.read_doubles(max(length, 1))
        return values if length else values[0]

    contamination = read_shares(n_contaminations)
    cap = read_shares(n_caps)
    return Rule(
        contamination=contamination,
        gamma=gamma if contamination is None else None,
        redistribute=fraction if _RECIPIENTS[recipients] is None else _RECIPIENTS[recipients],
        ties="share" if shares_ties else "keep",
        nan="prune" if prunes_nan else "raise",
        cap=cap,
        mass="group" if keeps_mass else "all",
    )
