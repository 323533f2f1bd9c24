"""The tables of bench_reweight.py's record."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

Cell = dict[str, Any]
SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
# Beside the kernel, only what has no Python in it is compared with the kernel.
COMPILED = ("std::nth_element", "x86-simd-sort", "VQSelect")
OWN = ("floor", "kernel", "rrm_core.reweight")


def reweight(run: dict[str, Any]) -> str:
    """Return the time per size, and how many times faster it is than each rival."""
    cells = {cell["n"]: cell["ms"] for cell in run["cells"] if cell["all_rivals"]}
    rivals = dict.fromkeys(name for ms in cells.values() for name in ms if not name.startswith(OWN))

    def row(label: str, value: Callable[[Cell], str]) -> str:
        return _row(label, (value(ms) for ms in cells.values()))

    lines = list(_head("", cells))
    for label, own in (("`rrm_core.reweight`", "rrm_core.reweight"), ("its kernel, without Python", "kernel")):
        lines.append(row(label, partial(_time, name=own)))
        lines.append(row("… in memory floors", partial(_ratio, above=own, below="floor")))
    for label, own, compiled in (("`reweight`", "rrm_core.reweight", False), ("the kernel", "kernel", True)):
        lines.append(_row(f"**{label} is faster than**", [""] * len(cells)))
        these = [name for name in rivals if name.startswith(COMPILED) == compiled]
        lines += [row(name, partial(_ratio, above=name, below=own, unit="x")) for name in these]
    rows = [ms[name] for ms in cells.values() for name in rivals if name in ms]
    fewest = min(row["samples"] for row in rows if "samples" in row)
    about = (
        "`rrm_core.reweight(losses, weights, contamination=0.2, mu=0.3, out=weights)`, float32, exponential, 1 thread: "
        f"medians of interleaved samples, {_spread(cells.values(), 'kernel', 'rrm_core.reweight')}; the slowest rivals "
        f"have {fewest} samples. Every rival does the whole job, to the same bits. Memory floor: each loss read once, "
        "each weight read and written in place, 12 bytes a sample."
        + (" –: doesn't do it at this size." if any("out" in row for row in rows) else "")
    )
    return "\n".join([*lines, "", about])


def reweight_conditions(run: dict[str, Any]) -> str:
    """Return the kernel's time in floors of the same type, step and number of threads."""
    cells = [cell for cell in run["cells"] if not cell["all_rivals"]]
    sizes = list(dict.fromkeys(cell["n"] for cell in cells))

    def row(label: str, name: str = "kernel", below: str = "floor", **where: Any) -> str | None:
        values = []
        for n in sizes:
            wanted = {"n": n, "distribution": "exponential", "format": "float32", "threads": 1, **where}
            both = []
            for mu in (0.3, 1.0):
                found = (cell["ms"] for cell in cells if cell["mu"] == mu and wanted.items() <= cell.items())
                both.append(_ratio(next(found, {}), name, below))
            values.append(" / ".join(both if both[1] != "–" else both[:1]))
        return _row(label, values) if set(values) != {"–"} else None

    distributions = dict.fromkeys(cell["distribution"] for cell in cells)
    rows = [
        *(row(f"float32, {name}", distribution=name) for name in distributions),
        *(row(f"{name}, exponential", format=name) for name in ("float16", "bfloat16", "float64")),
        *(row(f"instruction set {name}", f"kernel, {name}") for name in run["instruction sets"]),
        row("2 threads, floor too", threads=2),
        row("2 threads: how many times faster than 1", "kernel, 1 thread", "kernel", threads=2),
    ]
    about = (
        "The kernel's time as a multiple of the memory floor of the same type, mu and number of threads, timed in the "
        f"same rounds; {_spread((cell['ms'] for cell in cells), 'kernel', 'floor')}."
    )
    return "\n".join([*_head("mu = 0.3 / mu = 1", sizes), *(text for text in rows if text is not None), "", about])


# What was aimed at, per size, by the rival it is about; times in memory floors come first.
TARGETS: dict[str, tuple[float, ...]] = {
    "floor": (5, 3, 1.8, 1.5, 1.2),
    "NumPy, np.partition, AVX2 path": (15, 18, 30, 20, 40),
    "torch.kthvalue": (25, 80, 90, 80, 100),
    "Numba, radix selection": (8, 10, 14, 7, 8),
    "the best of the compiled": (1.8, 2.5, 3.5, 3.5, 3.5),
}


def reweight_targets(run: dict[str, Any]) -> str:
    """Return what the kernel reached beside what was aimed at, and what a program at the memory floor would reach."""
    cells = {cell["n"]: cell["ms"] for cell in run["cells"] if cell["all_rivals"]}
    lines = list(_head("kernel", list(cells)[:5]))
    for name, aims in TARGETS.items():
        texts = []
        for aim, ms in zip(aims, cells.values(), strict=False):
            if name == "floor":
                texts.append(f"{_ratio(ms, 'kernel', 'floor')} (≤ {aim:g})")
                continue
            rival = _best(ms) if name not in ms else name
            reached, most = (_ratio(ms, rival, own, unit="x") for own in ("kernel", "floor"))
            texts.append(f"{reached} ({aim:g}x; floor {most})")
        lines.append(_row("time in memory floors" if name == "floor" else f"faster than {name}", texts))
    return "\n".join(lines)


def _best(ms: Cell) -> str:
    compiled = [name for name in ms if name.startswith(COMPILED) and "median" in ms[name]]
    return min(compiled, key=lambda name: float(ms[name]["median"]))


def _head(corner: str, sizes: Iterable[int]) -> Iterator[str]:
    names = [_power(n) for n in sizes]
    yield f"| {corner} | " + " | ".join(names) + " |"
    yield "|---|" + "---:|" * len(names)


def _row(label: str, values: Iterable[str]) -> str:
    return f"| {label} | " + " | ".join(values) + " |"


def _power(n: int) -> str:
    digits = f"{n:e}".split("e")
    factor = f"{float(digits[0]):g}·" if float(digits[0]) != 1 else ""
    return f"{factor}10{str(int(digits[1])).translate(SUPERSCRIPTS)}"


def _time(ms: Cell, name: str) -> str:
    if "median" not in ms.get(name, {}):
        return "–"
    median = ms[name]["median"]
    return f"{1e3 * median:.3g} µs" if median < 1 else f"{median:.3g} ms" if median < 1000 else f"{median / 1e3:.3g} s"


def _ratio(ms: Cell, above: str, below: str, unit: str = "") -> str:
    if "median" not in ms.get(above, {}) or "median" not in ms.get(below, {}):
        return "–"
    ratio = ms[above]["median"] / ms[below]["median"]
    return (f"{ratio:.2f}" if ratio < 10 and not unit else f"{ratio:.1f}" if ratio < 100 else f"{ratio:.0f}") + unit


def _spread(cells: Iterable[Cell], *names: str) -> str:
    """Say how far apart the quartiles are."""
    rows = [ms[name] for ms in cells for name in names if name in ms]
    apart = sorted((row["quartile3"] - row["quartile1"]) / row["median"] for row in rows)
    middle, widest = (100 * apart[i] for i in (len(apart) // 2, -1))
    return f"quartiles {middle:.0f} % apart as a rule, {widest:.0f} % at most"
