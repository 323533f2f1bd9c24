"""Which record a picture on a page was drawn from: it says so itself, so that an outdated one is noticed."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from pathlib import Path

from benchmarks.pages import experiment_record
from benchmarks.pages.experiment_record import Record

RECORDS = {
    "results_table6": "experiment_mnist_table6",
    "results_adversarial": "experiment_mnist_adversarial",
    "results_cifar10n": "experiment_cifar10n",
    "results_fashion": "experiment_fashion_synthetic",
    "results_ablation": "experiment_ablation",
}
SHOWN = re.compile(r"images/(results_\w+)\.png")
KEY = "Source"  # one of the keywords that the PNG standard names
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def source(path: Path) -> str | None:
    """Return what a PNG file says about its source; None if it isn't there, isn't PNG or says nothing."""
    content = path.read_bytes() if path.exists() else b""
    at = len(SIGNATURE)
    if content[:at] != SIGNATURE:
        return None
    while at + 8 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, at)
        keyword, _, text = content[at + 8 : at + 8 + length].partition(b"\0")
        if kind == b"tEXt" and keyword == KEY.encode():
            return text.decode("latin-1")
        at += 12 + length  # length, kind and checksum are four bytes each
    return None


def outdated(folder: Path, records: Mapping[str, Record]) -> list[str]:
    """Return the pictures that weren't drawn from the records that there are, by name of the record."""
    return [
        name
        for name, record in RECORDS.items()
        if record in records and source(folder / f"{name}.png") != experiment_record.digest(records[record])
    ]


def faults(page: str, folder: Path, records: Mapping[str, Record]) -> list[str]:
    """Return in words what is wrong with the results' pictures that a page shows."""
    late = outdated(folder, records)
    found = []
    for name in dict.fromkeys(SHOWN.findall(page)):
        if RECORDS.get(name) not in records:
            found.append(f"{name}.png, of which there is no record")
        elif name in late:
            found.append(f"{name}.png, which wasn't drawn from {RECORDS[name]}.json")
    return found
