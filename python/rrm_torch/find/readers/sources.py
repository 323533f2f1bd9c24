"""Which reader a file or folder needs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .array_files import is_idx_folder, read_idx_folder, read_npz_file
from .dataset_folder import is_dataset_folder, read_dataset_folder
from .image_folder import read_image_folder
from .json_lines import read_json
from .labelled_data import LabelledData, ReadOptions
from .table import Table
from .table_reader import read_table
from .tables import read_csv, read_parquet

DELIMITED = frozenset({".csv", ".tsv", ".tab", ".txt"})
JSON = frozenset({".jsonl", ".ndjson", ".json"})
PARQUET = frozenset({".parquet", ".pq"})
COLUMN_OPTIONS = ("text", "id_column", "features", "logits", "drop_columns")
COMPRESSED = frozenset({".gz", ".xz"})

ACCEPTED_SOURCES = (
    "a folder of images with one folder per class, a .csv, .tsv, .jsonl or .json file (also .gz or .xz), a .parquet or "
    ".npz file, a folder with the IDX files of MNIST, or a data set that Hugging Face's datasets saved to disk"
)

REMEDIES = {
    ".npy": "pass it as features, --features, beside a CSV file of labels",
    ".xlsx": "save it as CSV",
    ".xls": "save it as CSV",
    ".ods": "save it as CSV",
    ".pkl": "pickles are never loaded; save it as Parquet or .npz",
    ".pickle": "pickles are never loaded; save it as Parquet or .npz",
    ".pt": "pickles are never loaded; save it as .npz",
    ".pth": "pickles are never loaded; save it as .npz",
    ".zip": "unpack it",
    ".tar": "unpack it",
}
"""What to do about files that aren't read, by suffix."""


def read_labelled(source: str | Path, options: ReadOptions | None = None) -> LabelledData:
    """Read labelled samples from any of the supported sources.

    Parameters
    ----------
    source : str or Path
        A folder of images with one folder per class (`read_image_folder`); a file of delimited text (`read_csv`),
        Parquet (`read_parquet`) or JSON Lines (`read_json`), whose columns `read_table` tells apart; a .npz file
        (`read_npz_file`); a folder with the IDX files of MNIST (`read_idx_folder`); or a data set that Hugging Face's
        datasets saved to disk (`read_dataset_folder`).
    options : ReadOptions, optional
        By default all is decided by the data.

    Returns
    -------
    LabelledData

    Raises
    ------
    FileNotFoundError
        The file or folder doesn't exist.
    ValueError, TypeError
        The source is of another kind, is damaged or too large, or has no usable labels.
    ImportError
        A package that the source needs isn't installed.
    """
    path = Path(source)
    options = options or ReadOptions()
    if path.is_dir():
        return _read_folder(path, options)
    if not path.is_file():
        raise FileNotFoundError(f"{path} doesn't exist; data must be {ACCEPTED_SOURCES}")
    if not path.stat().st_size:
        raise ValueError(f"{path} is empty")
    suffix = path.suffix.lower()
    if suffix == ".npz":
        _refuse(path, options, (*COLUMN_OPTIONS, "split"), ("images", "features", "texts"))
        return read_npz_file(path, options)
    return read_table(_read_file(path, suffix, options), options)


def _read_folder(folder: Path, options: ReadOptions) -> LabelledData:
    if is_dataset_folder(folder):
        return read_dataset_folder(folder, options)
    if is_idx_folder(folder):
        _refuse(folder, options, (*COLUMN_OPTIONS, "label", "split"), ("images",))
        return read_idx_folder(folder, options)
    _refuse(folder, options, (*COLUMN_OPTIONS, "label"), ("images",))
    return read_image_folder(folder, options)


def _read_file(path: Path, suffix: str, options: ReadOptions) -> Table:
    kind = suffix
    if suffix in COMPRESSED:
        kind = Path(path.stem).suffix.lower()
    if kind in DELIMITED:
        return read_csv(path, options.encoding, options.max_bytes)
    if kind in JSON:
        return read_json(path, options.encoding, options.max_bytes)
    if suffix in PARQUET:
        return read_parquet(path, options.max_bytes)
    remedy = REMEDIES.get(kind)
    hint = f"; {remedy}" if remedy else ""
    raise ValueError(f"{path} has the suffix {suffix or '(none)'}, and data must be {ACCEPTED_SOURCES}{hint}")


def _refuse(source: Path, options: ReadOptions, names: Sequence[str], kinds: Sequence[str]) -> None:
    """Raise if an option is passed that is for other sources."""
    passed = [name for name in names if getattr(options, name)]
    if passed:
        raise ValueError(
            f"{source} has no use for {', '.join(passed)}, which are for data of another kind, such as CSV, Parquet "
            "and JSON Lines files"
        )
    if options.kind is not None and options.kind not in kinds:
        raise ValueError(f"kind must be {' or '.join(kinds)} for {source}, got {options.kind!r}")
