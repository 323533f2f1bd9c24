"""Tables of the record of training/bench_trainer.py."""

from __future__ import annotations

from typing import Any

from benchmarks.pages import table_parts

WAYS = ("before", "after")
ROWS = {"before": "before, at commit {}", "after": "now"}


def trainer(run: dict[str, Any]) -> str:
    """Return the tables of what a batch and a step take, and of operations and memory, before and after a change."""
    ways = [way for way in WAYS if way in run]
    commit = run.get("before", {}).get("commit", "")[:10]
    labels = {way: ROWS[way].format(commit) for way in ways}
    tables = (_batches(run, ways, labels), _steps(run, ways, labels), _operations(run, ways, labels))
    return "\n\n".join([*("\n".join(lines) for lines in tables), f"{run['what'].capitalize()}."])


def _batches(run: dict[str, Any], ways: list[str], labels: dict[str, str]) -> list[str]:
    """Return the table of the time that is added to a batch's plain mean, forward and backward."""
    cases = [_case(name) for name in run["after"]["batches"]]
    lines = ["| added to a batch | " + " | ".join(cases) + " |", "|---|" + "---:|" * len(cases)]

    def added(way: str, loop: str) -> list[str]:
        return [f"{times[loop] - times['plain']:.0f} µs" for times in run[way]["batches"].values()]

    lines.append(table_parts.row("the loop by hand: gather, multiply, record", added("after", "by hand")))
    lines += [table_parts.row(f"`weighted_mean`, {labels[way]}", added(way, "RRM")) for way in ways]
    return lines


def _steps(run: dict[str, Any], ways: list[str], labels: dict[str, str]) -> list[str]:
    """Return the table of a step beside its reweight."""
    sizes = [f"n = {table_parts.power(int(n))}" for n in run["after"]["steps"]]
    lines = ["| an epoch's end | " + " | ".join(sizes) + " |", "|---|" + "---:|" * len(sizes)]
    alone = [f"{times['reweight, ms']:.3g} ms" for times in run["after"]["steps"].values()]
    lines.append(table_parts.row("`rrm_core.reweight` alone", alone))
    for way in ways:
        values = []
        for n, times in run[way]["steps"].items():
            beyond = 1e6 * (times["step, ms"] - times["reweight, ms"]) / int(n)
            values.append(f"{times['step, ms']:.3g} ms: its reweight and {beyond:.1f} ns a sample")
        lines.append(table_parts.row(f"`step`, {labels[way]}", values))
    for name in ("flagged", "ranking"):
        for way in ways:
            values = [f"{times[f'{name}, s']:.2g} s" for times in run[way]["steps"].values()]
            lines.append(table_parts.row(f"`{name}`, {labels[way]}", values))
    for way in ways:
        numbers = [times.get("bytes a sample") for times in run[way]["steps"].values()]
        values = ["–" if number is None else f"{number:.0f}" for number in numbers]
        lines.append(table_parts.row(f"resident bytes a sample, {labels[way]}", values))
    return lines


def _operations(run: dict[str, Any], ways: list[str], labels: dict[str, str]) -> list[str]:
    """Return the table of torch's operations on a device."""
    names = {
        name: name.replace("step of ", "`step`, n = ").replace("weighted_mean", "`weighted_mean`,")
        for name in run["after"]["operations"]
    }
    what = "operations of torch on a device, without the kernel for batches"
    lines = [f"| {what} | " + " | ".join(names.values()) + " |", "|---|" + "---:|" * len(names)]
    lines += [table_parts.row(labels[way], [f"{run[way]['operations'][name]:,}" for name in names]) for way in ways]
    return lines


def _case(name: str) -> str:
    size, _, n = name.partition(" of ")
    return f"{int(size):,} of {int(n):,} samples"
