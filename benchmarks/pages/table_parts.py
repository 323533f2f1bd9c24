"""Parts of the tables of recorded runs: rows, sizes, times, ratios."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

Cell = dict[str, Any]  # results timed in the same rounds, by name
SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def head(corner: str, sizes: Iterable[int]) -> Iterator[str]:
    names = [power(n) for n in sizes]
    yield f"| {corner} | " + " | ".join(names) + " |"
    yield "|---|" + "---:|" * len(names)


def row(label: str, values: Iterable[str]) -> str:
    return f"| {label} | " + " | ".join(values) + " |"


def table(corner: str, head: Sequence[str], rows: Mapping[str, Iterable[str]]) -> str:
    """Return a table whose first column has the names of the rows, and whose other cells are numbers."""
    lines = [row(corner, head), "|---|" + "---:|" * len(head)]
    return "\n".join([*lines, *(row(name, cells) for name, cells in rows.items())])


def power(n: int) -> str:
    """Return a number as a multiple of a power of ten."""
    digits = f"{n:e}".split("e")
    factor = f"{float(digits[0]):g}·" if float(digits[0]) != 1 else ""
    return f"{factor}10{str(int(digits[1])).translate(SUPERSCRIPTS)}"


def time(ms: Cell, name: str) -> str:
    """Return a median with its unit, or a dash if it was not timed."""
    if "median" not in ms.get(name, {}):
        return "–"
    median = ms[name]["median"]
    if median < 1:
        return f"{1e3 * median:.3g} µs"
    if median < 1000:
        return f"{median:.3g} ms"
    return f"{median / 1e3:.3g} s"


def ratio(ms: Cell, numerator: str, denominator: str, unit: str = "") -> str:
    """Return the ratio of two medians, or a dash if one was not timed."""
    if "median" not in ms.get(numerator, {}) or "median" not in ms.get(denominator, {}):
        return "–"
    quotient = ms[numerator]["median"] / ms[denominator]["median"]
    digits = 0
    if quotient < 10 and not unit:
        digits = 2
    elif quotient < 100:
        digits = 1
    return f"{quotient:.{digits}f}{unit}"


def quartile_distance(cells: Iterable[Cell], *names: str) -> str:
    """Return in words the distance of the quartiles, in percent of the median."""
    rows = [ms[name] for ms in cells for name in names if name in ms]
    distances = sorted(100 * (row["quartile3"] - row["quartile1"]) / row["median"] for row in rows)
    typical = distances[len(distances) // 2]
    return f"quartiles {typical:.0f} % apart as a rule, {distances[-1]:.0f} % at most"
