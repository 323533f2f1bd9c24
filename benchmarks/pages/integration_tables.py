"""Tables of the runs in other frameworks and of those on preferences, in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from benchmarks.pages.experiment_record import spread
from benchmarks.pages.paired_difference import NOTE, paired_difference
from benchmarks.pages.table_parts import table

Record = dict[str, Any]
Run = dict[str, Any]

TASKS = {"reward": "reward model", "dpo": "DPO"}
METHODS = {"plain": "plain", "cdpo": "cDPO", "rdpo": "rDPO", "auto": "RRM, auto", "told": "RRM, true C"}
LISTS = {"auto": "RRM, auto", "told": "RRM, true C"}


def frameworks(record: Record) -> str:
    """Return the table of digits with wrong labels, a row for each framework."""
    rows: dict[str, Iterable[str]] = {}
    for name, runs in _grouped(record["runs"], "framework").items():
        by_method = _grouped(runs, "method")
        rows[name] = [
            str(runs[0]["lines"]),
            *(_percent(by_method[method], "accuracy") for method in ("plain", *LISTS)),
            *(_gain(by_method, method) for method in LISTS),
            *(_percent(by_method["auto"], part) for part in ("estimate", "precision", "recall")),
        ]
    head = [
        "added lines",
        "plain",
        *LISTS.values(),
        *(f"gain, {name}" for name in ("auto", "true C")),
        "estimated",
        "precision",
        "recall",
    ]
    settings = record["settings"]
    note = (
        f"scikit-learn's digits, 1,347 to train on, of which 30 % have a wrong label; test accuracy after the last of "
        f"{settings['epochs']} epochs, in %, mean ± standard deviation over {_n_seeds(record)} seeds. All networks "
        f"have one hidden layer of {settings['hidden']} units, and batches of {settings['batch_size']}. Added lines: "
        "those of the program that only RRM needs. True C: RRM is told the share of wrong labels. Estimated: the "
        "share of wrong labels by auto; precision and recall: of the labels that it flags. Gain: "
        f"{NOTE} `{record['command']}`."
    )
    return "\n\n".join([table("", head, rows), note])


def preferences(record: Record) -> str:
    """Return the tables of the accuracy on pairs, after the last and the best epoch, and of the difference."""
    tables = [
        _preference_table(record, "test pairs in the right order, last epoch, %", _cell("last")),
        _preference_table(record, "best epoch, %", _cell("best")),
        _preference_table(record, "last epoch, difference from plain", _difference("plain")),
    ]
    note = (
        f"Mean ± standard deviation over {_n_seeds(record)} seeds. cDPO smooths the labels by the share of swapped "
        "pairs, rDPO corrects the loss for it; both are told the share, as is RRM with true C. Difference from plain: "
        f"{NOTE} `{record['command']}`."
    )
    return "\n\n".join([*tables, note])


def swapped_pairs(record: Record) -> str:
    """Return the table of the estimates, and of how well RRM lists the swapped pairs."""
    rows: dict[str, Iterable[str]] = {}
    for task, of_task in _grouped(record["runs"], "task").items():
        for share, runs in _grouped(of_task, "share").items():
            by_method = _grouped(runs, "method")
            cells = [_percent(by_method["auto"], "estimate")]
            for method in LISTS:
                cells += [_percent(by_method[method], "precision"), _percent(by_method[method], "recall")]
            rows[f"{TASKS[task]}, {100 * share:.0f} % swapped"] = cells
    head = ["estimated"] + [f"{part}, {name}" for name in LISTS.values() for part in ("precision", "recall")]
    return "\n\n".join([table("%", head, rows), "Precision and recall: of the pairs that the last reweight pruned."])


def _preference_table(record: Record, corner: str, cell: Callable[[dict[Any, list[Run]], str], str]) -> str:
    rows: dict[str, Iterable[str]] = {}
    for task, of_task in _grouped(record["runs"], "task").items():
        for share, runs in _grouped(of_task, "share").items():
            by_method = _grouped(runs, "method")
            rows[f"{TASKS[task]}, {100 * share:.0f} % swapped"] = [cell(by_method, method) for method in METHODS]
    return table(corner, list(METHODS.values()), rows)


def _cell(name: str) -> Callable[[dict[Any, list[Run]], str], str]:
    return lambda by_method, method: _percent(by_method[method], name)


def _difference(reference: str) -> Callable[[dict[Any, list[Run]], str], str]:
    def cell(by_method: dict[Any, list[Run]], method: str) -> str:
        if method == reference:
            return "–"
        return paired_difference(_values(by_method[method], "last"), _values(by_method[reference], "last")).cell

    return cell


def _gain(by_method: dict[Any, list[Run]], method: str) -> str:
    """Return the difference of a method from plain training, by seed."""
    values = [_values(by_method[name], "accuracy") for name in (method, "plain")]
    return paired_difference(*values).cell


def _grouped(runs: Sequence[Run], name: str) -> dict[Any, list[Run]]:
    """Return the runs by one of their entries, in their order."""
    groups: dict[Any, list[Run]] = {}
    for entry in runs:
        groups.setdefault(entry[name], []).append(entry)
    return groups


def _values(runs: Sequence[Run], name: str) -> list[Any]:
    return [entry[name] for entry in sorted(runs, key=lambda entry: entry["seed"])]


def _percent(runs: Sequence[Run], name: str) -> str:
    return spread(_values(runs, name))


def _n_seeds(record: Record) -> int:
    return len({entry["seed"] for entry in record["runs"]})
