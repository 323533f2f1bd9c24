"""The tables of bench_reweight.py's record."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.pages import table_parts
from benchmarks.pages.table_parts import Cell

# Beside the kernel, only what has no Python in it is compared with the kernel.
COMPILED = ("std::nth_element", "x86-simd-sort", "VQSelect")
OWN = ("floor", "kernel", "rrm_core.reweight")


def reweight(run: dict[str, Any]) -> str:
    """Return the time per size, and how many times faster it is than each rival."""
    cells = {cell["n"]: cell["ms"] for cell in run["cells"] if cell["all_rivals"]}
    rivals = dict.fromkeys(name for ms in cells.values() for name in ms if not name.startswith(OWN))

    def row(label: str, value: Callable[[Cell], str]) -> str:
        return table_parts.row(label, (value(ms) for ms in cells.values()))

    lines = list(table_parts.head("", cells))
    for label, own in (("`rrm_core.reweight`", "rrm_core.reweight"), ("its kernel, without Python", "kernel")):
        lines.append(row(label, partial(table_parts.time, name=own)))
        lines.append(row("… in memory floors", partial(table_parts.ratio, above=own, below="floor")))
    for label, own, compiled in (("`reweight`", "rrm_core.reweight", False), ("the kernel", "kernel", True)):
        lines.append(table_parts.row(f"**{label} is faster than**", [""] * len(cells)))
        these = [name for name in rivals if name.startswith(COMPILED) == compiled]
        lines += [row(name, partial(table_parts.ratio, above=name, below=own, unit="x")) for name in these]
    rows = [ms[name] for ms in cells.values() for name in rivals if name in ms]
    fewest = min(row["samples"] for row in rows if "samples" in row)
    about = (
        "`rrm_core.reweight(losses, weights, contamination=0.2, mu=0.3, out=weights)`, float32, exponential, 1 thread: "
        f"medians of interleaved samples, {table_parts.spread(cells.values(), 'kernel', 'rrm_core.reweight')}; the "
        f"slowest rivals have {fewest} samples. Every rival does the whole job, to the same bits. Memory floor: each "
        "loss read once, each weight read and written in place, 12 bytes a sample."
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
                both.append(table_parts.ratio(next(found, {}), name, below))
            values.append(" / ".join(both if both[1] != "–" else both[:1]))
        return table_parts.row(label, values) if set(values) != {"–"} else None

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
        f"same rounds; {table_parts.spread((cell['ms'] for cell in cells), 'kernel', 'floor')}."
    )
    head = table_parts.head("mu = 0.3 / mu = 1", sizes)
    return "\n".join([*head, *(text for text in rows if text is not None), "", about])


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
    lines = list(table_parts.head("kernel", list(cells)[:5]))
    for name, aims in TARGETS.items():
        texts = []
        for aim, ms in zip(aims, cells.values(), strict=False):
            if name == "floor":
                texts.append(f"{table_parts.ratio(ms, 'kernel', 'floor')} (≤ {aim:g})")
                continue
            rival = _best(ms) if name not in ms else name
            reached, most = (table_parts.ratio(ms, rival, own, unit="x") for own in ("kernel", "floor"))
            texts.append(f"{reached} ({aim:g}x; floor {most})")
        lines.append(table_parts.row("time in memory floors" if name == "floor" else f"faster than {name}", texts))
    return "\n".join(lines)


def _best(ms: Cell) -> str:
    compiled = [name for name in ms if name.startswith(COMPILED) and "median" in ms[name]]
    return min(compiled, key=lambda name: float(ms[name]["median"]))
