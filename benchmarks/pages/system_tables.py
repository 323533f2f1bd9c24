"""Tables of DivideMix, ProMix and CC with and without RRM: accuracy, and what is in their labelled sets."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.pages.experiment_record import (
    MISSING,
    Record,
    distinct,
    methods,
    provenance,
    require_complete,
    results,
    select,
    spread,
)
from benchmarks.pages.paired_difference import NOTE as DIFFERENCE_NOTE
from benchmarks.pages.paired_difference import paired_difference
from benchmarks.pages.table_parts import table

WITH_RRM = " + RRM"
SET_COLUMNS = {
    "labelled": "labels used",
    "wrong_selected": "wrong among those selected, %",
    "wrong_labelled": "wrong among those used, %",
    "pruned": "pruned by RRM",
    "precision": "of these wrong, %",
}


def systems(record: Record) -> str:
    """Return the tables of test accuracy, one for each kind of labels, with what RRM changes."""
    require_complete(record)
    tables = []
    for kind in distinct(record, "noise"):
        rows = {method: _accuracy_cells(record, method, kind) for method in methods(record, noise=kind)}
        head = ["last epoch", "best epoch", "RRM changes the last", "wrong labels memorised"]
        tables.append(table(f"**{kind}**", head, rows))
    note = (
        "Test accuracy in %, of both networks together where there are two; the best epoch cannot be chosen without "
        f"clean labels. RRM changes: {DIFFERENCE_NOTE} Of a single seed no error is known. Memorised: the share of the "
        "wrong training labels that is predicted."
    )
    return "\n\n".join([*tables, f"{note} {provenance(record)}"])


def _accuracy_cells(record: Record, method: str, kind: str) -> list[str]:
    accuracy, best, memorised = (
        results(record, method, name, noise=kind) for name in ("accuracy", "best_accuracy", "memorised")
    )
    base = plain_method(method)
    change = MISSING
    if base is not None:
        change = paired_difference(accuracy, results(record, base, "accuracy", noise=kind)).cell
    return [spread(accuracy), spread(best), change, spread(memorised)]


def plain_method(method: str) -> str | None:
    """Return the name of the method without RRM; None for one that has none."""
    if method == "RRM":
        return "CCE"
    name, with_rrm, _ = method.partition(WITH_RRM)
    return name if with_rrm else None


def system_sets(record: Record) -> str:
    """Return the table of the labelled sets: in the first epoch that has one, halfway, and in the last."""
    require_complete(record)
    rows: dict[str, Iterable[str]] = {}
    for kind in distinct(record, "noise"):
        for method in methods(record, noise=kind):
            for name, epoch in _epochs_shown(record, method, kind):
                rows[f"{kind}: {method}, {name} epoch"] = _set_cells(record, method, kind, epoch)
    note = (
        "The labelled sets of both networks, on average. Selected: by the system itself; used: what RRM leaves. The "
        "rows of a system without RRM show a set of another run, which its own networks selected."
    )
    return f"{table('', list(SET_COLUMNS.values()), rows)}\n\n{note} {provenance(record)}"


def _epochs_shown(record: Record, method: str, kind: str) -> list[tuple[str, int]]:
    """Return the positions of epochs with a labelled set, and what they are called; none without such sets."""
    curve = results(record, method, "epochs", "labelled", noise=kind)[0]
    if curve is None:
        return []
    first = next(position for position, value in enumerate(curve) if value is not None)
    last = len(curve) - 1
    return [("first", first), ("middle", (first + last) // 2), ("last", last)]


def _set_cells(record: Record, method: str, kind: str, epoch: int) -> list[str]:
    cells = []
    for name in SET_COLUMNS:
        values = [run["result"]["epochs"][name][epoch] for run in select(record, method, noise=kind)]
        if name == "pruned" and plain_method(method) is None:
            cells.append(MISSING)
        elif name in ("labelled", "pruned"):
            cells.append(spread(values, 1.0, 0))
        else:
            cells.append(spread(values))
    return cells


def system_classes(record: Record) -> str:
    """Return the table of the last labelled sets by class: the smallest and the largest, and RRM's precision there."""
    require_complete(record)
    kind = distinct(record, "noise")[0]
    rows: dict[str, Iterable[str]] = {}
    for method in methods(record, noise=kind):
        networks = [network for run in results(record, method, "by_class", noise=kind) for network in run or ()]
        if networks:
            rows[method] = _class_cells(networks)
    head = ["labels used, by class", "wrong among these, %, by class", "pruned, by class", "precision, %, by class"]
    note = (
        f"Labels *{kind}*, last epoch: the smallest and the largest mean over networks and seeds, of ten given classes."
    )
    return f"{table('', head, rows)}\n\n{note} {provenance(record)}"


def _class_cells(networks: list[dict[str, list[float | None]]]) -> list[str]:
    cells = []
    for name, scale, digits in (
        ("labelled", 1, 0),
        ("wrong_labelled", 100, 1),
        ("pruned", 1, 0),
        ("precision", 100, 1),
    ):
        means = []
        for by_network in zip(*(network[name] for network in networks), strict=True):
            values = [value for value in by_network if value is not None]
            if values:
                means.append(scale * sum(values) / len(values))
        cells.append(f"{min(means):,.{digits}f} to {max(means):,.{digits}f}" if any(means) else MISSING)
    return cells
