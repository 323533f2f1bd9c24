"""Columns of numbers as text, without a Python call per number: a million rows are written in less than a second.

A column is a matrix of ASCII bytes, one row per number, in which NUL stands for no character.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Cells: TypeAlias = npt.NDArray[np.uint8]
Words: TypeAlias = npt.NDArray[np.uint32]

# Digits are written in groups of four, each of which is one 32-bit word of a table.
GROUP = 10_000
N_GROUPS = 3
DECIMALS = 4 * N_GROUPS

SIGNIFICANT = 9  # digits that distinguish all float32
SHORT = 7  # digits that are tried first, so that 0.1 isn't 0.100000001
MIN_PLAIN = -4  # the lowest power of ten that is written without an exponent
MIN_EXPONENT, MAX_EXPONENT = -46, 39  # of float32, one more on either side
POWERS: npt.NDArray[np.float64] = np.power(10.0, np.arange(-MAX_EXPONENT, SIGNIFICANT - MIN_EXPONENT))
MAX_EXACT_POWER = 22  # of ten, in a double; those below 0 are not exact either


def format_numbers(values: npt.NDArray[Any]) -> Cells:
    """Return booleans, integers or floating-point numbers as text; see the functions below."""
    if values.dtype.kind == "b":
        return format_bools(values)
    if values.dtype.kind == "f":
        return format_floats(values)
    return format_integers(values)


def format_bools(values: npt.NDArray[np.bool_]) -> Cells:
    """Return True and False."""
    return as_cells(np.array([b"False", b"True"]))[values.astype(np.intp)]


def format_integers(values: npt.NDArray[Any]) -> Cells:
    """Return integers of any type in decimal notation."""
    if values.min() < 0 or values.max() >= GROUP**N_GROUPS:
        return as_cells(values.astype("S"))
    return _format_whole(values.astype(np.int64))


def format_floats(values: npt.NDArray[Any]) -> Cells:
    """Return floating-point numbers as text that reads back as the same numbers.

    Float64 as Python writes them; narrower types with seven significant digits, or nine where these are needed.
    """
    distinct = np.unique(values)
    if values.dtype == np.float64 or len(distinct) <= len(values) // 8:
        texts = as_cells(np.array([str(value).removesuffix(".0") for value in distinct], "S"))
        return texts[np.searchsorted(distinct, values)]
    return _format_float32(values.astype(np.float32, copy=False))


def _format_float32(values: npt.NDArray[np.float32]) -> Cells:
    """Return distinct numbers as their digits before and after the point, and an exponent where that is shorter."""
    magnitude = np.where(np.isfinite(values), np.abs(values), 0).astype(np.float64)
    digits, exponent = _significant_digits(magnitude)
    is_plain = (exponent >= MIN_PLAIN) & (exponent < SIGNIFICANT)
    decimals = SIGNIFICANT - 1 - np.where(is_plain, exponent, 0)
    whole = np.floor(digits / _power(decimals))
    fraction = (digits - whole * _power(decimals)) * _power(DECIMALS - decimals)
    parts = [_format_whole(whole.astype(np.int64)), *_format_fraction(fraction.astype(np.int64))]
    is_negative = np.signbit(values)
    if is_negative.any():
        parts.insert(0, np.where(is_negative, ord("-"), 0).astype(np.uint8)[:, None])
    if not is_plain.all():
        parts.append(np.where(is_plain[:, None], 0, _EXPONENTS[exponent - MIN_EXPONENT]).astype(np.uint8))
    cells = np.concatenate(parts, axis=1)
    for text, where in ((b"nan", np.isnan(values)), (b"inf", np.isposinf(values)), (b"-inf", np.isneginf(values))):
        if where.any():
            cells[where] = np.frombuffer(text.ljust(cells.shape[1], b"\0"), np.uint8)
    return cells


def _significant_digits(magnitude: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Return nine digits of each number as a whole number, and the power of ten of the first one."""
    exponent = np.floor(np.log10(np.where(magnitude == 0, 1, magnitude))).astype(np.int64)
    power = SIGNIFICANT - 1 - exponent
    digits = np.rint(magnitude * _power(power))
    factor = 10.0 ** (SIGNIFICANT - SHORT)
    short = np.rint(digits / factor) * factor
    # A whole number divided by an exact power of ten is what a reader of the decimal number gets.
    reads_back = (short / _power(power)).astype(np.float32) == magnitude
    digits = np.where(reads_back & (power >= 0) & (power <= MAX_EXACT_POWER), short, digits)
    carried = digits >= 10.0**SIGNIFICANT
    return np.where(carried, digits / 10, digits), exponent + carried


def _format_whole(values: npt.NDArray[np.int64]) -> Cells:
    """Return whole numbers below GROUP**N_GROUPS, without leading zeros."""
    largest = values.max()
    n_groups = 1 + sum(int(largest >= GROUP**group) for group in range(1, N_GROUPS))
    words = np.empty((len(values), n_groups), np.uint32)
    table = _LAST_GROUP
    for column in reversed(range(n_groups)):
        higher = values // GROUP
        group = values - higher * GROUP
        words[:, column] = np.where(higher > 0, _ALL_DIGITS.take(group), table.take(group))
        table = _NO_LEADING_ZEROS
        values = higher
    return words.view(np.uint8)


def _format_fraction(values: npt.NDArray[np.int64]) -> tuple[Cells, Cells]:
    """Return the point and the decimals of fractions given in units of 10**-DECIMALS, without trailing zeros."""
    point = np.where(values > 0, ord("."), 0).astype(np.uint8)[:, None]
    words = np.empty((len(values), N_GROUPS), np.uint32)
    digits_follow = np.zeros(len(values), bool)
    for column in reversed(range(N_GROUPS)):
        higher = values // GROUP
        group = values - higher * GROUP
        words[:, column] = np.where(digits_follow, _ALL_DIGITS.take(group), _NO_TRAILING_ZEROS.take(group))
        digits_follow |= group > 0
        values = higher
    return point, words.view(np.uint8)


def _power(exponent: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return powers of ten."""
    return POWERS[exponent + MAX_EXPONENT]


def as_cells(texts: npt.NDArray[np.bytes_]) -> Cells:
    """Return byte strings as a matrix of bytes, one row each."""
    return texts.view(np.uint8).reshape(len(texts), texts.dtype.itemsize)


def _digit_tables() -> tuple[Words, Words, Words]:
    """Return the four digits of all numbers below GROUP: all of them, without leading and without trailing zeros."""
    numbers = np.arange(GROUP)[:, None]
    powers = np.array([1000, 100, 10, 1])
    digits = numbers // powers % 10 + ord("0")
    no_leading = np.where(numbers >= powers, digits, 0)
    no_trailing = np.where(numbers % (10 * powers) > 0, digits, 0)
    tables = [table.astype(np.uint8).view(np.uint32)[:, 0] for table in (digits, no_leading, no_trailing)]
    return tables[0], tables[1], tables[2]


_ALL_DIGITS, _NO_LEADING_ZEROS, _NO_TRAILING_ZEROS = _digit_tables()
_LAST_GROUP = np.where(np.arange(GROUP) > 0, _NO_LEADING_ZEROS, np.frombuffer(b"0\0\0\0", np.uint32))
_EXPONENTS = as_cells(np.array([f"e{exponent:+03d}".encode() for exponent in range(MIN_EXPONENT, MAX_EXPONENT + 1)]))
