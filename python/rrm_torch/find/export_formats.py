"""The table of a search in the formats of other tools."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rrm_core._atomic_write import atomic_write
from rrm_review import label_studio_config, to_argilla, to_csv, to_dataset, to_fiftyone, to_label_studio, to_parquet

from .readers.labelled_data import LabelledData
from .readers.optional_packages import import_optional
from .result import Result


def check_exports(formats: Sequence[str], data: LabelledData) -> None:
    """Check before a search whether its table can be written in some formats.

    Raises
    ------
    ValueError
        A format doesn't suit the data.
    ImportError
        A package that a format needs isn't installed.
    """
    kind, samples = data.shown()
    for name in formats:
        only = ONLY_KIND.get(name, kind)
        if kind != only:
            raise ValueError(f"the export {name} is for {only}, got {kind}; choose another, --export")
        if name in REFERRING:
            _as_references(kind, samples)
        if name in PACKAGES:
            import_optional(PACKAGES[name], f"exports in the format {name}")


def write_exports(formats: Sequence[str], folder: Path, data: LabelledData, result: Result) -> list[str]:
    """Write the table in some formats.

    Parameters
    ----------
    formats : sequence of str
        Keys of `FORMATS` that `check_exports` accepts.
    folder : Path
    data : LabelledData
    result : Result

    Returns
    -------
    list of str
        The names of the files and folders.

    Raises
    ------
    ValueError
        A text can't be written in a format.
    OSError
        A file can't be written.
    """
    return [FORMATS[name](folder, data, result) for name in dict.fromkeys(formats)]


def _write_label_studio(folder: Path, data: LabelledData, result: Result) -> str:
    kind, samples = data.shown()
    to_label_studio(result.issues, _as_references(kind, samples), folder / "label_studio.json", kind=kind)
    config = label_studio_config(data.classes, kind)
    with atomic_write(folder / "label_studio.xml") as file:
        file.write(config.encode())
    return "label_studio.json, label_studio.xml"


def _write_fiftyone(folder: Path, data: LabelledData, result: Result) -> str:
    kind, samples = data.shown()
    issues = {FIFTYONE_NAMES.get(name, name): column for name, column in result.issues.items()}
    to_fiftyone(issues, _as_references(kind, samples), folder / "fiftyone.json")
    return "fiftyone.json"


def _write_argilla(folder: Path, data: LabelledData, result: Result) -> str:
    records = to_argilla(result.issues, data.shown().samples)
    with atomic_write(folder / "argilla.json") as file:
        file.write(json.dumps(records, ensure_ascii=False, indent=1).encode())
    return "argilla.json"


def _write_cleanlab(folder: Path, _: LabelledData, result: Result) -> str:
    names = ("index", "is_label_issue", "label_quality", "given_label", "predicted_label", "sample_weight")
    rows = np.argsort(result.issues["index"])
    to_csv({name: result.issues[name][rows] for name in names}, folder / "cleanlab.csv", escape_formulas=True)
    return "cleanlab.csv"


def _write_parquet(folder: Path, _: LabelledData, result: Result) -> str:
    to_parquet(result.issues, folder / "issues.parquet")
    return "issues.parquet"


def _write_dataset(folder: Path, data: LabelledData, result: Result) -> str:
    kind, samples = data.shown()
    columns: Any = {kind.removesuffix("s"): _as_references(kind, samples)}
    if kind == "table":
        columns = _rename_columns(samples, result.issues)
    to_dataset(result.issues, columns).save_to_disk(str(folder / "dataset"))
    return "dataset"


def _rename_columns(samples: Any, issues: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns of a table, renamed where the table of label issues has one of the same name."""
    columns: dict[str, Any] = {}
    for name in samples:
        new = name
        while new in issues or (new != name and new in samples):
            new = f"sample_{new}"
        columns[new] = samples[name]
    return columns


def _as_references(kind: str, samples: Any) -> Any:
    """Return file names of images, and other samples as they are."""
    if kind != "images":
        return samples
    if isinstance(samples, list) and samples and isinstance(samples[0], Path):
        return [str(path.resolve()) for path in samples]
    raise ValueError("this export refers to images by file names, got images without a file of their own")


FORMATS: dict[str, Callable[[Path, LabelledData, Result], str]] = {
    "argilla": _write_argilla,
    "cleanlab": _write_cleanlab,
    "dataset": _write_dataset,
    "fiftyone": _write_fiftyone,
    "label-studio": _write_label_studio,
    "parquet": _write_parquet,
}

OUTPUTS = {
    "argilla": ("argilla.json",),
    "cleanlab": ("cleanlab.csv",),
    "dataset": ("dataset",),
    "fiftyone": ("fiftyone.json",),
    "label-studio": ("label_studio.json", "label_studio.xml"),
    "parquet": ("issues.parquet",),
}
"""The names of the files and folders."""

FIFTYONE_NAMES = {"confidence": "predicted_confidence", "label": "corrected_label"}
"""Other names for the columns that have the name of a field of FiftyOne."""

ONLY_KIND = {"argilla": "texts", "fiftyone": "images"}
"""What a person looks at, for formats of one kind."""

REFERRING = frozenset({"dataset", "fiftyone", "label-studio"})
"""Formats that refer to images by file names."""

PACKAGES = {"dataset": "datasets", "parquet": "pyarrow"}
"""The packages that formats need."""
