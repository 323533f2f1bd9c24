"""Tables of the records of cpu/bench_groups.py and training/record_sources.py."""

from __future__ import annotations

from typing import Any

from benchmarks.pages import table_parts


def groups(run: dict[str, Any]) -> str:
    """Return the table of times with groups, in times of one threshold for all samples."""
    lines = ["| | " + " | ".join(f"{cell['caches']}, mu = {cell['mu']:g}" for cell in run["cells"]) + " |"]
    lines.append("|---|" + "---:|" * len(run["cells"]))
    for name in run["cells"][0]["ms"]:
        values = []
        for cell in run["cells"]:
            ms = cell["ms"][name]["median"]
            one = cell["ms"]["one threshold"]["median"]
            values.append(f"{ms:.2f} ms" if name == "one threshold" else f"{ms / one:.1f}x")
        label = name.replace("_", ",").replace("1 groups", "1 group")
        lines.append(table_parts.row(label, values))
    return "\n".join([*lines, "", f"{run['what']}: medians of interleaved samples, with cold or warm caches."])


def sources(run: dict[str, Any]) -> str:
    """Return the table of test accuracies of the example with labels of several rules."""
    lines = ["| | last epoch | best epoch |", "|---|---|---|"]
    for name, accuracy in run["test accuracy, %"].items():
        lines.append(f"| {name} | {accuracy['last']:.1f} % | {accuracy['best']:.1f} % |")
    note = (
        f"Test accuracy of one seed; `{run['command']}`: {run['labels']:,} images, labels of {run['rules']} rules, "
        f"{run['% wrong']:.1f} % of them wrong."
    )
    return "\n".join([*lines, "", note])
