"""Tables of the records of gpu/bench_gpu.py and gpu/record_costs.py."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from benchmarks.pages import table_parts

FLOOR = "a copy of as many bytes"
OURS = "rrm_core.reweight"
GRAPH = "in a CUDA graph"
ARRAY_API = "array_api"
RETURNED = "the call, until it returns"
ANSWERED = "the call, with its answer"
REPLAYED = "a replay, until it is done"
ON_HOST = "the CPU, losses on the host"
PAGEABLE = "by way of the host"
PINNED = "by way of the host, pinned"
OF_REWEIGHT = (FLOOR, OURS, GRAPH, RETURNED, ANSWERED, REPLAYED)
HOST = (ON_HOST, PAGEABLE, PINNED)

# Launches by the name of their kernel; the first four are the names in older records.
LAUNCHES = {
    "draw": "sample",
    "survey": "scan",
    "narrow": "radix passes",
    "write": "write",
    "sample_brackets": "sample",
    "scan_losses": "scan",
    "radix_pass": "radix passes",
    "write_weights": "write",
}

# Size, unit of the goal (memory floors or microseconds), and its upper limit.
GOALS = ((100_000_000, "memory floors", 1.25), (1_000_000, "µs on the device", 25.0))


def require_gpu(run: Mapping[str, Any]) -> None:
    """Exit if a record was not made on a GPU."""
    if run.get("is_gpu") is not True:
        raise SystemExit(
            f"this record was made on {run.get('device', 'no GPU')!r}: what that takes says nothing about a GPU, and "
            "isn't rendered; record a run of benchmarks.gpu.bench_gpu on one"
        )


def break_even(ours: Mapping[int, float], other: Mapping[int, float]) -> float:
    """Return the number of samples above which `ours` is faster, interpolated in logarithms between two timed sizes.

    Parameters
    ----------
    ours, other : mapping of int to float
        Time by number of samples.

    Returns
    -------
    float
        0 if `ours` is faster at every timed size, infinity if it is slower at the largest.
    """
    sizes = sorted(ours.keys() & other.keys(), reverse=True)
    ahead = {n: math.log(other[n] / ours[n]) for n in sizes}
    if not sizes or ahead[sizes[0]] <= 0:
        return math.inf
    for larger, smaller in pairwise(sizes):
        if ahead[smaller] <= 0:
            part = -ahead[smaller] / (ahead[larger] - ahead[smaller])
            return math.exp(math.log(smaller) + part * math.log(larger / smaller))
    return 0.0


def gpu(run: Mapping[str, Any]) -> str:
    """Return the tables of a run on a GPU: sizes and rivals, other conditions, goals, break-even sizes."""
    require_gpu(run)
    cells = [cell for cell in run["cells"] if "ms" in cell]
    sizes = {cell["n"]: cell for cell in cells if cell["host"]}
    parts = [_sizes(sizes), _conditions(cells), _goals(cells), *_break_evens(sizes), *_skipped(run["cells"])]
    return "\n\n".join(part for part in parts if part)


def _sizes(cells: Mapping[int, Any]) -> str:
    timed = [cell["ms"] for cell in cells.values()]
    names = dict.fromkeys(name for ms in timed for name in ms)
    lines = list(table_parts.head("float32, mu = 0.3", cells))
    lines.append(table_parts.row("on the device", (table_parts.time(ms, OURS) for ms in timed)))
    for launch in dict.fromkeys(LAUNCHES.values()):
        times = [_launch_time(cell, launch) for cell in cells.values()]
        if any(times):
            lines.append(table_parts.row(f"… of which {launch}, by the profiler", times))
    lines.append(table_parts.row("… in memory floors", (table_parts.ratio(ms, OURS, FLOOR) for ms in timed)))
    lines.append(table_parts.row("the floor's rate", (_rate(cell) for cell in cells.values())))
    calls = [name for name in (GRAPH, RETURNED, ANSWERED, REPLAYED) if name in names]
    lines += [table_parts.row(name, [table_parts.time(ms, name) for ms in timed]) for name in calls]
    lines += _speedup_rows(names, timed)
    return "\n".join([*lines, "", _note_on_sizes(cells, timed)])


def _speedup_rows(names: Collection[str], timed: Sequence[table_parts.Cell]) -> Iterable[str]:
    """Yield the rows of the rivals on the device, and of the ways by the host."""
    yield table_parts.row("**on the device, faster than**", [""] * len(timed))
    for name in names:
        if name not in (*OF_REWEIGHT, *HOST):
            yield _speedup_row(name, OURS, timed)
    yield table_parts.row("**with its answer, faster than**", [""] * len(timed))
    for name in HOST:
        if name in names:
            yield _speedup_row(name, ANSWERED, timed)


def _speedup_row(name: str, reference: str, timed: Iterable[table_parts.Cell]) -> str:
    """Return the row of a rival: its time divided by that of `reference`."""
    label = name
    if name == ARRAY_API:
        label = f'`backend="{name}"`'
    elif name not in HOST:
        label = f"`{name}`"
    return table_parts.row(label, [table_parts.ratio(ms, name, reference, unit="x") for ms in timed])


def _note_on_sizes(cells: Mapping[int, Any], timed: Sequence[table_parts.Cell]) -> str:
    note = (
        "`rrm_core.reweight(losses, weights, contamination=0.2, mu=0.3, out=weights)`, exponential losses: medians of "
        f"interleaved samples, {table_parts.quartile_distance(timed, OURS, FLOOR)}. On the device: between two events, "
        "with everything enqueued beforehand. Every answer was compared with the CPU's, to the bit. Memory floor: a "
        "copy on the device that moves as many bytes, 16 a sample, timed in the same rounds. By way of the host: "
        "losses there, the CPU's kernel, weights back."
    )
    if any("out" in row for ms in timed for row in ms.values()):
        note += " –: doesn't do it at this size."
    resident = [table_parts.power(n) for n, cell in cells.items() if not cell["larger than the cache"]]
    if resident:
        note += f" At {', '.join(resident)} the arrays that take turns fit in the L2 cache."
    return note


def _conditions(cells: Iterable[Mapping[str, Any]]) -> str:
    others = [cell for cell in cells if not cell["host"]]
    lines = ["| | on the device | in memory floors | floor, bytes a sample | launches | faster than the best rival |"]
    lines.append("|---|---:|---:|---:|---:|---:|")
    for cell in others:
        ms = cell["ms"]
        timed = [name for name in ms if name not in (*OF_REWEIGHT, *HOST, ARRAY_API) and "median" in ms[name]]
        best = min(timed, key=lambda name, ms=ms: ms[name]["median"], default=None)
        faster = f"{table_parts.ratio(ms, best, OURS, unit='x')} (`{best}`)" if best else ""
        kind = f"{cell['format']}, {cell['distribution']}, {cell['rule']}, mu = {cell['mu']:g}"
        label = f"{table_parts.power(cell['n'])} {kind}"
        measured = (table_parts.time(ms, OURS), table_parts.ratio(ms, OURS, FLOOR))
        lines.append(table_parts.row(label, (*measured, str(cell["floor"]), _launches(cell), faster)))
    if not others:
        return ""
    return "\n".join(lines)


def _goals(cells: Iterable[Mapping[str, Any]]) -> str:
    by_size = {cell["n"]: cell["ms"] for cell in cells if cell["host"]}
    lines = ["| aimed at | reached |", "|---|---:|"]
    for n, unit, limit in GOALS:
        if "median" in by_size.get(n, {}).get(OURS, {}):
            ms = by_size[n]
            if unit == "memory floors":
                reached = table_parts.ratio(ms, OURS, FLOOR)
            else:
                reached = f"{1e3 * ms[OURS]['median']:.1f}"
            lines.append(f"| {table_parts.power(n)}: at most {limit:g} {unit} | {reached} |")
    return "\n".join(lines) if len(lines) > 2 else ""


def _break_evens(cells: Mapping[int, Any]) -> Iterable[str]:
    """Yield the size above which the GPU is faster than each way by the host."""

    def medians(name: str) -> dict[int, float]:
        return {n: c["ms"][name]["median"] for n, c in cells.items() if "median" in c["ms"].get(name, {})}

    for name in HOST:
        if medians(name):
            yield f"Against {name}: {break_even_in_words(break_even(medians(ANSWERED), medians(name)))}."


def break_even_in_words(samples: float) -> str:
    """Return a break-even size in words."""
    if samples == 0:
        return "faster at every size timed"
    if math.isinf(samples):
        return "not faster at the largest size timed"
    return f"faster from about {float(f'{samples:.2g}'):,.0f} samples on"


def _skipped(cells: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    reasons = [
        f"{table_parts.power(cell['n'])} {cell['format']}: {cell['skipped']}" for cell in cells if "skipped" in cell
    ]
    if reasons:
        yield f"Left out: {'; '.join(dict.fromkeys(reasons))}."


def _rate(cell: Mapping[str, Any]) -> str:
    floor = cell["ms"].get(FLOOR, {})
    return f"{cell['n'] * cell['floor'] / floor['median'] / 1e9:.2f} TB/s" if "median" in floor else "–"


def _launch_time(cell: Mapping[str, Any], launch: str) -> str:
    """Return the time of a launch as the profiler measured it; empty if it wasn't profiled."""
    kernels = cell.get("kernels") or {}
    microseconds = [row["us"] for name, row in kernels.items() if LAUNCHES.get(name) == launch and "us" in row]
    return f"{sum(microseconds):.3g} µs" if microseconds else ""


def _launches(cell: Mapping[str, Any]) -> str:
    kernels = cell.get("kernels")
    return str(sum(int(row["launches"]) for row in kernels.values())) if kernels else "–"


def costs(run: Mapping[str, Any]) -> str:
    """Return the table of launches and bytes that the model of a GPU counted."""
    kernels = list(dict.fromkeys(name for case in run["cases"] for name in case["kernels"]))
    launches = [LAUNCHES[name] for name in kernels]
    lines = [table_parts.row("", ["launches", "workspace", "bytes a sample", "in floors", *launches])]
    lines.append("|---|" + "---:|" * (4 + len(kernels)))
    for case in run["cases"]:
        n = case["n"]
        rows = case["kernels"]
        total = case["bytes a sample"]
        values = [str(case["launches"]), f"{case['workspace'] / 1e6:.1f} MB", f"{total:.2f}", f"{case['floors']:.3f}"]
        values += [f"{(rows[name]['read'] + rows[name]['written']) / n:.2f}" for name in kernels]
        lines.append(table_parts.row(f"{case['format']}, {table_parts.power(n)}, {case['rule']}", values))
    return "\n".join([*lines, "", f"{run['what']}."])
