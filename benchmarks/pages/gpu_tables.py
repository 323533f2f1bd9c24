"""The tables of bench_gpu.py's record and of gpu/record_costs.py's."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import partial
from itertools import pairwise
from typing import Any

from benchmarks.pages import table_parts

FLOOR, OURS, GRAPH, ARRAY_API = "a copy of as many bytes", "rrm_core.reweight", "in a CUDA graph", "array_api"
RETURNED, ANSWERED, REPLAYED = "the call, until it returns", "the call, with its answer", "a replay, until it is done"
ON_HOST, PAGEABLE, PINNED = "the CPU, losses on the host", "by way of the host", "by way of the host, pinned"
OWN = (FLOOR, OURS, GRAPH, RETURNED, ANSWERED, REPLAYED)
HOST = (ON_HOST, PAGEABLE, PINNED)

# Size, what is aimed at, and at most how much of it: memory floors, or microseconds.
GOALS = ((100_000_000, "memory floors", 1.25), (1_000_000, "µs on the device", 25.0))


def require_gpu(run: Mapping[str, Any]) -> None:
    """Leave if a record isn't a GPU's."""
    if run.get("is_gpu") is not True:
        raise SystemExit(
            f"this record was made on {run.get('device', 'no GPU')!r}: what that takes says nothing about a GPU, and "
            "isn't rendered; record a run of benchmarks.gpu.bench_gpu on one"
        )


def break_even(ours: Mapping[int, float], other: Mapping[int, float]) -> float:
    """Return from how many samples on we are the faster, interpolated between the logarithms of two timed sizes.

    0: at every size that was timed; infinity: not at the largest.
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
    """Return the tables of a run on a GPU: sizes and rivals, other conditions, what was aimed at."""
    require_gpu(run)
    cells = [cell for cell in run["cells"] if "ms" in cell]
    sizes = {cell["n"]: cell for cell in cells if cell["host"]}
    parts = [_sizes(sizes), _conditions(cells), _goals(cells), *_break_evens(sizes), *_left_out(run["cells"])]
    return "\n\n".join(part for part in parts if part)


def _sizes(cells: Mapping[int, Any]) -> str:
    timed = [cell["ms"] for cell in cells.values()]
    names = dict.fromkeys(name for ms in timed for name in ms)
    lines = list(table_parts.head("float32, mu = 0.3", cells))

    def row(label: str, values: Iterable[str]) -> None:
        lines.append(table_parts.row(label, values))

    row("on the device", (table_parts.time(ms, OURS) for ms in timed))
    row("… in memory floors", (table_parts.ratio(ms, OURS, FLOOR) for ms in timed))
    row("the floor's rate", (_rate(cell) for cell in cells.values()))
    for name in (GRAPH, RETURNED, ANSWERED, REPLAYED):
        if name in names:
            row(name, map(partial(table_parts.time, name=name), timed))
    row("**on the device, faster than**", [""] * len(cells))
    for name in names:
        if name not in (*OWN, *HOST):
            label = f'`backend="{name}"`' if name == ARRAY_API else f"`{name}`"
            row(label, map(partial(table_parts.ratio, above=name, below=OURS, unit="x"), timed))
    row("**with its answer, faster than**", [""] * len(cells))
    for name in HOST:
        if name in names:
            row(name, map(partial(table_parts.ratio, above=name, below=ANSWERED, unit="x"), timed))
    about = (
        "`rrm_core.reweight(losses, weights, contamination=0.2, mu=0.3, out=weights)`, exponential losses: medians of "
        f"interleaved samples, {table_parts.spread(timed, OURS, FLOOR)}. On the device: between two events, with "
        "everything enqueued beforehand. Every answer was compared with the CPU's, to the bit. Memory floor: a "
        "copy on the device that moves as many bytes, 16 a sample, timed in the same rounds. By way of the host: "
        "losses there, the CPU's kernel, weights back."
    )
    if any("out" in row for ms in timed for row in ms.values()):
        about += " –: doesn't do it at this size."
    resident = [table_parts.power(n) for n, cell in cells.items() if not cell["larger than the cache"]]
    if resident:
        about += f" At {', '.join(resident)} the arrays that take turns fit in the L2 cache."
    return "\n".join([*lines, "", about])


def _conditions(cells: Iterable[Mapping[str, Any]]) -> str:
    chosen = [cell for cell in cells if not cell["host"]]
    lines = ["| | on the device | in memory floors | floor, bytes a sample | launches | faster than the best rival |"]
    lines.append("|---|---:|---:|---:|---:|---:|")
    for cell in chosen:
        ms = cell["ms"]
        timed = [name for name in ms if name not in (*OWN, *HOST, ARRAY_API) and "median" in ms[name]]
        best = min(timed, key=lambda name, ms=ms: ms[name]["median"], default=None)
        faster = f"{table_parts.ratio(ms, best, OURS, unit='x')} (`{best}`)" if best else ""
        kind = f"{cell['format']}, {cell['distribution']}, {cell['rule']}, mu = {cell['mu']:g}"
        label = f"{table_parts.power(cell['n'])} {kind}"
        measured = (table_parts.time(ms, OURS), table_parts.ratio(ms, OURS, FLOOR))
        lines.append(table_parts.row(label, (*measured, str(cell["floor"]), _launches(cell), faster)))
    return "\n".join(lines) if chosen else ""


def _goals(cells: Iterable[Mapping[str, Any]]) -> str:
    found = {cell["n"]: cell["ms"] for cell in cells if cell["host"]}
    lines = ["| aimed at | reached |", "|---|---:|"]
    for n, what, most in GOALS:
        if "median" in found.get(n, {}).get(OURS, {}):
            ms = found[n]
            reached = (
                table_parts.ratio(ms, OURS, FLOOR) if what == "memory floors" else f"{1e3 * ms[OURS]['median']:.1f}"
            )
            lines.append(f"| {table_parts.power(n)}: at most {most:g} {what} | {reached} |")
    return "\n".join(lines) if len(lines) > 2 else ""


def _break_evens(cells: Mapping[int, Any]) -> Iterable[str]:
    """Yield from which size on the GPU is worth it."""

    def medians(name: str) -> dict[int, float]:
        return {n: c["ms"][name]["median"] for n, c in cells.items() if "median" in c["ms"].get(name, {})}

    for name in HOST:
        if medians(name):
            yield f"Against {name}: {said(break_even(medians(ANSWERED), medians(name)))}."


def said(samples: float) -> str:
    """Return a break-even in words."""
    if samples == 0:
        return "faster at every size timed"
    if math.isinf(samples):
        return "not faster at the largest size timed"
    return f"faster from about {float(f'{samples:.2g}'):,.0f} samples on"


def _left_out(cells: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    reasons = [
        f"{table_parts.power(cell['n'])} {cell['format']}: {cell['skipped']}" for cell in cells if "skipped" in cell
    ]
    if reasons:
        yield f"Left out: {'; '.join(dict.fromkeys(reasons))}."


def _rate(cell: Mapping[str, Any]) -> str:
    floor = cell["ms"].get(FLOOR, {})
    return f"{cell['n'] * cell['floor'] / floor['median'] / 1e9:.2f} TB/s" if "median" in floor else "–"


def _launches(cell: Mapping[str, Any]) -> str:
    kernels = cell.get("kernels")
    return str(sum(int(row["launches"]) for row in kernels.values())) if kernels else "–"


def costs(run: Mapping[str, Any]) -> str:
    """Return the table of launches and bytes, as the kernels count them on the model."""
    kernels = list(dict.fromkeys(name for case in run["cases"] for name in case["kernels"]))
    lines = [table_parts.row("", ["launches", "workspace", "bytes a sample", "in floors", *kernels])]
    lines.append("|---|" + "---:|" * (4 + len(kernels)))
    for case in run["cases"]:
        n, rows = case["n"], case["kernels"]
        total = case["bytes a sample"]
        values = [str(case["launches"]), f"{case['workspace'] / 1e6:.1f} MB", f"{total:.2f}", f"{case['floors']:.3f}"]
        values += [f"{(rows[name]['read'] + rows[name]['written']) / n:.2f}" for name in kernels]
        lines.append(table_parts.row(f"{case['format']}, {table_parts.power(n)}, {case['rule']}", values))
    return "\n".join([*lines, "", f"{run['what']}."])
