"""Tables of the records of scale/bench_stream.py and scale/bench_ranks.py, and extrapolations from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Run = Mapping[str, Any]

# bytes: see docs/scale.md
COUNTS = 8 * 65_536
HEAD = 8 * 8
MINIMA = 5 * 8
CALL = 8 * 64
# bytes of an RRM and of its state_dict, by sample, without the bits of the trajectory
SAMPLE = 22
STATE = 12
NETWORK = 10e9 / 8  # bytes a second of the network on paper
LATENCY = 50e-6  # seconds of a message there


def bytes_of_rank(keys: int) -> int:
    """Return the bytes that a rank passes to collectives for a plan of float32 losses, when `keys` keys remain."""
    return CALL + HEAD + COUNTS + MINIMA + HEAD + MINIMA + 8 + 8 * keys


def ring(ranks: int, keys: int) -> float:
    """Return the bytes through each rank for such a plan, with ring all-reduce and each status message sent to all."""
    reduced = bytes_of_rank(keys) - CALL - 8
    return 2 * (ranks - 1) / ranks * reduced + (ranks - 1) * (CALL + 8)


def stream(run: Run) -> str:
    """Return the table of times to plan and to reweight a file, and to read it as often."""
    kinds = {name: run[name] for name in ("npy", "parquet")}
    names = [f"{kind['n']:,} rows, .{name}" for name, kind in kinds.items()]
    rows = [f"| | {' | '.join(names)} |", "|---|---:|---:|"]
    for name in kinds["npy"]["seconds"]:
        cells = []
        for kind in kinds.values():
            seconds = kind["seconds"][name]
            ratio = f" = **{kind['ratios'][name]:.2f}x**" if name in kind["ratios"] else ""
            cells.append(
                f"{_short(seconds['median'])} s ({_short(seconds['quartile1'])}–{_short(seconds['quartile3'])}){ratio}"
            )
        rows.append(f"| {name} | {' | '.join(cells)} |")
    peaks = [f"{kind['bytes_of_memory']['above_start'] / 1e6:.0f} MB" for kind in kinds.values()]
    rows.append(f"| peak memory above the start | {' | '.join(peaks)} |")
    sizes = " and ".join(f"{kind['bytes'] / 1e9:.2g}" for kind in kinds.values())
    note = (
        f"float32, exponential, contamination 0.2, weights to a .npy file; files of {sizes} GB; medians (quartiles) of "
        f"{run['rounds']}, in turns, and as multiples of the line above. Cold: the system had to read from the disk. "
        f"{run['threads']} threads."
    )
    return "\n".join([*rows, "", note])


def _short(x: float) -> str:
    return f"{x:.3g}"


def dataframes(run: Run) -> str:
    """Return the table of the costs of a Parquet file with DuckDB and Polars, and of their faults."""
    lines = ["| | CPU time | peak memory | threshold | weights |", "|---|---:|---:|---|---|"]
    for name, row in run["rows"].items():
        seconds = row["cpu_seconds"]
        time = f"{seconds['median']:.2f} s ({seconds['quartile1']:.2f}–{seconds['quartile3']:.2f})"
        threshold = "exact" if row["ranks_off"] == 0 else f"{row['ranks_off']:,} ranks off"
        weights = "all correct" if row["wrong_weights"] == 0 else f"up to {row['wrong_weights']:,} wrong"
        weights += f", in another order in {row['runs_mixed']} of {run['rounds']} runs" if row["runs_mixed"] else ""
        lines.append(f"| {name} | {time} | {row['peak_bytes'] / 1e6:.0f} MB | {threshold} | {weights} |")
    note = (
        f"{run['n']:,} rows; {run['what']}. Time and memory of the whole process, with Python and imports: medians "
        f"(quartiles) of {run['rounds']} runs, in turns; the highest peak."
    )
    return "\n".join([*lines, "", note])


def ranks(run: Run) -> str:
    """Return the table of the training run of Clothing1M's size."""

    def ms(name: str) -> str:
        row = run["ms of a reweight"][name]
        return f"{row['median']:.3g} ms ({row['quartile1']:.3g}–{row['quartile3']:.3g})"

    state = max(run["MB held by each rank"])
    peak = max(run["MB beyond, at the height of a reweight"])
    same = all(run["killed and resumed: the same bits"])
    rows = [
        ("added to an epoch", f"{run['added to an epoch, %']:.2f} % of {run['seconds of an epoch']:.0f} s"),
        ("memory of RRM per rank, sharded", f"{state:.1f} MB"),
        ("peak growth of the process during a reweight", f"{peak:.1f} MB"),
        ("`step()` with a reweight, one process alone", ms("alone")),
        ("… 2 ranks, sharded", ms("sharded")),
        ("… 2 ranks, replicated", ms("replicated")),
        ("wrong labels found", f"{100 * run['wrong labels found']:.1f} %"),
        ("one rank killed, all resumed", "the same bits" if same else "**other bits**"),
    ]
    lines = ["| | |", "|---|---:|", *(f"| {name} | {value} |" for name, value in rows)]
    note = f"A stand-in of Clothing1M's size, under torchrun: {run['what']}. A reweight: median (quartiles)."
    return "\n".join([*lines, "", note])


def traffic(run: Run) -> str:
    """Return the table of bytes by number of ranks, counted and by the formula."""
    counted = run["traffic of a plan"]
    lines = [
        "| ranks | given by each | the formula | over the wire, by rank | as a ring |",
        "|---:|---:|---:|---:|---:|",
    ]
    for size, rules in counted.items():
        row = rules["contamination"]
        lines.append(
            f"| {size} | {row['bytes given by a rank']:,} | {bytes_of_rank(row['keys']):,} | "
            f"{row['bytes over the wire, by rank']:,} | {ring(int(size), row['keys']):,.0f} |"
        )
    keys = next(iter(counted.values()))["contamination"]["keys"]
    note = f"A plan of 1,000,000 exponential losses, float32, contamination 0.2, of which {keys:,} keys remain; gloo."
    return "\n".join([*lines, "", note])


def scale_paper(files: Run) -> str:
    """Return extrapolations to sizes that were not measured, from the formulas and the recorded speeds."""
    return "\n\n".join([_thousand_ranks(files), _hundred_workers(files)])


def _thousand_ranks(files: Run) -> str:
    n = 10**10
    w = 1000
    n_local = n // w
    npy = files["npy"]
    counting = npy["seconds"]["plan"]["median"] / npy["n"] * n_local * files["threads"]  # reading included
    # More keys remain than are taken as they are; the trajectory counts once more.
    sums = 2 * (HEAD + COUNTS + MINIMA) + COUNTS + 7 * 8 + 4
    calls = (w - 1) * (4 * CALL + 8)
    passing = (2 * (w - 1) / w * sums + calls) / NETWORK
    rings, trees = ((6 * 2 + 5) * steps * LATENCY for steps in (w - 1, 10))  # six all-reduces, five that gather
    return (
        f"**10¹⁰ samples over 1,000 ranks**, {n_local / 1e6:.0f} million on each. Counting: {1e3 * counting:.0f} ms on "
        f"one thread, two rounds together. Data sent: {sums / 1e6:.2f} MB through all-reduce and "
        f"{calls / 1e6:.2f} MB of status messages, {1e3 * passing:.0f} ms at 10 Gbit/s. Latency at 50 µs per message: "
        f"{rings:.1f} s in rings of 1,000, {1e3 * trees:.0f} ms in trees, as NCCL makes them. Memory of RRM, sharded: "
        f"{SAMPLE * n_local / 1e6:.0f} MB a rank, and {n_local / 8e6:.2f} MB for each reweight. All of it once an "
        f"epoch. A checkpoint is of all samples, {STATE * n / 1e9:.0f} GB and {n / 8e9:.2f} GB for each reweight, and "
        f"each rank gathers them to make one."
    )


def _hundred_workers(files: Run) -> str:
    n = 10**11
    w = 100
    n_local = n // w
    parquet = files["parquet"]
    seconds = {name: row["median"] / parquet["n"] * n_local for name, row in parquet["seconds"].items()}
    # From the disk, three times rather than twice, and what writing takes beyond reading as often.
    plan = seconds["plan, cold"]
    reweight = 1.5 * plan + seconds["reweight"] - 1.5 * seconds["plan"]
    size = parquet["bytes"] / parquet["n"] * n / 1e12
    written = 4 * n / 1e9
    partials = 2 * w * (HEAD + COUNTS + MINIMA) / 1e6
    return (
        f"**A Parquet data set of 10¹¹ rows on 100 workers** like the one that was timed, {size:.1f} TB as above, "
        f"a billion rows on each: {plan:.0f} s to plan, {reweight:.0f} s to plan and write {written:.0f} GB of "
        f"weights, each worker from and to a disk of its own. Between them, {partials:.0f} MB of counts, in a tree."
    )
