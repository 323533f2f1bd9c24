"""Data sets with wrong labels: their titles in the tables, and the runs on each."""

from __future__ import annotations

from benchmarks.pages.experiment_record import Record, Run

TITLES = {
    "cifar10n": "CIFAR-10N",
    "fashion": "Fashion-MNIST",
    "digits": "digits",
    "banking77": "BANKING77",
    "imdb": "IMDb",
    "sms": "SMS Spam",
}
CHECKED = {
    "cifar10n": "CIFAR-10, test set, checked by annotators",
    "imdb": "IMDb, test set, checked by annotators",
}


def by_data_set(record: Record) -> dict[str, list[Run]]:
    """Return the runs by the title of their data set and noise, in the experiment's order."""
    groups: dict[str, list[Run]] = {}
    for run in record["runs"]:
        groups.setdefault(_title(run["settings"]["data"], run["settings"]["noise"]), []).append(run)
    return groups


def _title(name: str, noise: str) -> str:
    if noise == "checked":
        return CHECKED[name]
    kind, _, rate = noise.partition(" ")
    if not rate:
        return f"{TITLES[name]}, {kind}"
    if kind == "tail":
        return f"{TITLES[name]}, long tail, 1 to {rate}"
    return f"{TITLES[name]}, {kind}, {100 * float(rate):g} %"
