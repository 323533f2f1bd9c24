"""The record that a figure was drawn from: the PNG file contains a hash of it, by which outdated figures are found."""

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
    "results_probe": "experiment_linear_probe",
    "results_fashion": "experiment_fashion_synthetic",
    "results_ablation": "experiment_ablation",
    "results_auto": "experiment_auto",
    "results_meta": "experiment_meta",
    "results_systems": "experiment_systems",
    "results_text": "experiment_text",
}
FIGURE_LINK = re.compile(r"images/(results_\w+)\.png")
KEY = "Source"  # a keyword of the PNG standard
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def source(path: Path) -> str | None:
    """Return the source stored in a PNG file; None if there is no such file, it is not PNG, or it has no source."""
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
    """Return the names of the figures that were not drawn from the current records."""
    return [
        name
        for name, record in RECORDS.items()
        if record in records and source(folder / f"{name}.png") != experiment_record.digest(records[record])
    ]


def faults(page: str, folder: Path, records: Mapping[str, Record]) -> list[str]:
    """Return a description of each figure on a page that has no record or is outdated."""
    old = outdated(folder, records)
    descriptions = []
    for name in dict.fromkeys(FIGURE_LINK.findall(page)):
        if RECORDS.get(name) not in records:
            descriptions.append(f"{name}.png, of which there is no record")
        elif name in old:
            descriptions.append(f"{name}.png, which wasn't drawn from {RECORDS[name]}.json")
    return descriptions
