"""Tables of the record of cpu/bench_reweight.py."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from benchmarks.pages import table_parts
from benchmarks.pages.table_parts import Cell

# Rivals without Python, which are compared with the kernel alone.
COMPILED = ("std::nth_element", "Floyd-Rivest", "pdqselect", "x86-simd-sort", "VQSelect")
BEFORE = "kernel, before"  # that of an earlier commit
OF_REWEIGHT = ("floor", "kernel", "rrm_core.reweight")


def reweight(run: dict[str, Any]) -> str:
    """Return the table of times per size, and of the speedup over each rival."""
    cells = {cell["n"]: cell["ms"] for cell in run["cells"] if cell["all_rivals"]}
    timed = list(cells.values())
    rivals = dict.fromkeys(name for ms in timed for name in ms if not name.startswith(OF_REWEIGHT))
    lines = list(table_parts.head("", cells))
    for label, name in (("the kernel", "kernel"), ("`rrm_core.reweight`, with Python", "rrm_core.reweight")):
        floors = [table_parts.ratio(ms, name, "floor") for ms in timed]
        times = [table_parts.time(ms, name) for ms in timed]
        values = [f"**{ratio}** ({time})" for ratio, time in zip(floors, times, strict=True)]
        lines.append(table_parts.row(f"{label}: time in memory floors", values))
    compiled = [name for name in rivals if name.startswith(COMPILED)]
    with_python = [name for name in rivals if name not in compiled]
    lines += _speedups("the kernel", "kernel", compiled, timed)
    lines += _speedups("`rrm_core.reweight`", "rrm_core.reweight", with_python, timed)
    return "\n".join([*lines, "", _note(run, rivals, timed)])


def _speedups(label: str, reference: str, rivals: Iterable[str], timed: Sequence[Cell]) -> Iterator[str]:
    """Yield a heading, and for each rival the row of its time divided by that of `reference`."""
    yield table_parts.row(f"**{label} is faster than**", [""] * len(timed))
    for rival in rivals:
        yield table_parts.row(rival, [table_parts.ratio(ms, rival, reference, unit="x") for ms in timed])


def _note(run: dict[str, Any], rivals: Iterable[str], timed: Sequence[Cell]) -> str:
    rows = [ms[name] for ms in timed for name in rivals if name in ms]
    min_samples = min(row["samples"] for row in rows if "samples" in row)
    note = (
        "`rrm_core.reweight(losses, weights, contamination=0.2, mu=0.3, out=weights)`, float32, exponential, 1 thread: "
        f"medians of interleaved samples, {table_parts.quartile_distance(timed, 'kernel', 'rrm_core.reweight')}; the "
        f"slowest rivals have {min_samples} samples. Every rival does the whole job, to the same bits. Memory floor: "
        "each loss read once, each weight read and written in place, 12 bytes a sample."
    )
    if "times" in run:
        note += f" Times are {run['times']}."
    if any("out" in row for row in rows):
        note += " –: doesn't do it at this size."
    return note


def reweight_conditions(run: dict[str, Any]) -> str:
    """Return the table of the kernel's time, in memory floors of the same type, mu and number of threads."""
    cells = [cell for cell in run["cells"] if not cell["all_rivals"]]
    sizes = list(dict.fromkeys(cell["n"] for cell in cells))

    def row(label: str, name: str = "kernel", reference: str = "floor", **conditions: Any) -> str | None:
        values = []
        for n in sizes:
            key = {"n": n, "distribution": "exponential", "format": "float32", "threads": 1, **conditions}
            ratios = []
            for mu in (0.3, 1.0):
                matching = (cell["ms"] for cell in cells if cell["mu"] == mu and key.items() <= cell.items())
                ratios.append(table_parts.ratio(next(matching, {}), name, reference))
            values.append(" / ".join(ratios if ratios[1] != "–" else ratios[:1]))
        return table_parts.row(label, values) if set(values) != {"–"} else None

    distributions = dict.fromkeys(cell["distribution"] for cell in cells)
    before = (run.get("commit before") or "")[:10]
    formats = ("float32", "float16", "bfloat16", "float64")
    rows = [
        *(row(f"float32, {name}", distribution=name) for name in distributions),
        *(row(f"{name}, exponential", format=name) for name in formats[1:]),
        *(row(f"instruction set {name}", f"kernel, {name}") for name in run["instruction sets"]),
        *(row(f"{name}, exponential, at commit {before}", BEFORE, format=name) for name in formats),
        row("2 threads, floor too", threads=2),
        row("2 threads: how many times faster than 1", "kernel, 1 thread", "kernel", threads=2),
    ]
    note = (
        "The kernel's time as a multiple of the memory floor of the same type, mu and number of threads, timed in the "
        f"same rounds; {table_parts.quartile_distance((cell['ms'] for cell in cells), 'kernel', 'floor')}."
    )
    head = table_parts.head("mu = 0.3 / mu = 1", sizes)
    return "\n".join([*head, *(text for text in rows if text is not None), "", note])


# Goals by size: the time in memory floors, then the speedup over each rival.
TARGETS: dict[str, tuple[float, ...]] = {
    "floor": (4, 3, 1.9, 1.35, 1.25),
    "the best of the compiled": (3, 4, 4, 4, 4),
    "NumPy, np.partition, AVX2 path": (15, 18, 30, 20, 40),
    "torch.kthvalue": (25, 80, 90, 80, 100),
    "Numba, radix selection": (8, 10, 14, 7, 8),
}


def reweight_targets(run: dict[str, Any]) -> str:
    """Return the table of the kernel's results and goals, and of the results of a program at the memory floor."""
    cells = {cell["n"]: cell["ms"] for cell in run["cells"] if cell["all_rivals"]}
    lines = list(table_parts.head("kernel", list(cells)[:5]))
    for name, goals in TARGETS.items():
        texts = []
        for goal, ms in zip(goals, cells.values(), strict=False):
            if name == "floor":
                texts.append(f"{table_parts.ratio(ms, 'kernel', 'floor')} (≤ {goal:g})")
                continue
            rival = _fastest_compiled(ms) if name not in ms else name
            reached = table_parts.ratio(ms, rival, "kernel", unit="x")
            limit = table_parts.ratio(ms, rival, "floor", unit="x")
            texts.append(f"{reached} ({goal:g}x; floor {limit})")
        lines.append(table_parts.row("time in memory floors" if name == "floor" else f"faster than {name}", texts))
    return "\n".join(lines)


def _fastest_compiled(ms: Cell) -> str:
    compiled = [name for name in ms if name.startswith(COMPILED) and "median" in ms[name]]
    return min(compiled, key=lambda name: float(ms[name]["median"]))


def busy(run: dict[str, Any]) -> str:
    """Return the table of how many times faster several threads are than one, beside busy processes."""
    cells = {(cell["n"], cell["busy processes"]): cell["ms"] for cell in run["cells"]}
    sizes = list(dict.fromkeys(n for n, _ in cells))
    numbers_busy = list(dict.fromkeys(n_busy for _, n_busy in cells))
    (threads,) = {number for ms in cells.values() for number in ms if number != "1"}
    lines = list(table_parts.head(f"{threads} threads are so many times as fast as one", sizes))
    for n_busy in numbers_busy:
        label = "beside nothing else" if n_busy == 0 else f"beside {n_busy} busy process{'es' if n_busy > 1 else ''}"
        speedups = [cells[n, n_busy]["1"][1] / cells[n, n_busy][threads][1] for n in sizes]
        lines.append(table_parts.row(label, [f"{speedup:.2f}" for speedup in speedups]))
    note = f"Ratios of medians of the {run['what'].partition(':')[0]}; the calls alternate. A call for fewer than"
    return "\n".join([*lines, "", f"{note} 2 million losses uses one thread in any case."])


def call(run: dict[str, Any]) -> str:
    """Return the table of the cost of a call beyond its kernel, and of that of an earlier commit."""
    kernel = run["us"]["kernel"]["median"]
    before = run.get("us before", {})
    columns = ["a call", "above its kernel"]
    if before:
        columns.append(f"a call at commit {run['commit before'][:10]}")
    lines = [f"| 100 losses | {' | '.join(columns)} |", "|---|" + "---:|" * len(columns)]
    for name, times in run["us"].items():
        if name != "kernel":
            cells = [_microseconds(times), f"{times['median'] - kernel:.1f} µs"]
            cells += [_microseconds(before[name])] if before else []
            lines.append(table_parts.row(name, cells))
    note = f"{run['what']}: medians (quartiles) of {run['processes']} processes in turns"
    return "\n".join([*lines, "", f"{note}; the kernel takes {kernel:.2f} µs."])


def _microseconds(times: dict[str, float]) -> str:
    return f"{times['median']:.1f} µs ({times['quartile1']:.1f}–{times['quartile3']:.1f})"
