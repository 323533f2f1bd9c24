"""What the tables of recorded runs are made of: rows, sizes, times, ratios."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

Cell = dict[str, Any]  # what was timed in the same rounds, by name
SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def head(corner: str, sizes: Iterable[int]) -> Iterator[str]:
    names = [power(n) for n in sizes]
    yield f"| {corner} | " + " | ".join(names) + " |"
    yield "|---|" + "---:|" * len(names)


def row(label: str, values: Iterable[str]) -> str:
    return f"| {label} | " + " | ".join(values) + " |"


def power(n: int) -> str:
    digits = f"{n:e}".split("e")
    factor = f"{float(digits[0]):g}·" if float(digits[0]) != 1 else ""
    return f"{factor}10{str(int(digits[1])).translate(SUPERSCRIPTS)}"


def time(ms: Cell, name: str) -> str:
    if "median" not in ms.get(name, {}):
        return "–"
    median = ms[name]["median"]
    return f"{1e3 * median:.3g} µs" if median < 1 else f"{median:.3g} ms" if median < 1000 else f"{median / 1e3:.3g} s"


def ratio(ms: Cell, above: str, below: str, unit: str = "") -> str:
    if "median" not in ms.get(above, {}) or "median" not in ms.get(below, {}):
        return "–"
    times = ms[above]["median"] / ms[below]["median"]
    return (f"{times:.2f}" if times < 10 and not unit else f"{times:.1f}" if times < 100 else f"{times:.0f}") + unit


def spread(cells: Iterable[Cell], *names: str) -> str:
    """Say how far apart the quartiles are."""
    rows = [ms[name] for ms in cells for name in names if name in ms]
    apart = sorted((row["quartile3"] - row["quartile1"]) / row["median"] for row in rows)
    middle, widest = (100 * apart[i] for i in (len(apart) // 2, -1))
    return f"quartiles {middle:.0f} % apart as a rule, {widest:.0f} % at most"
