"""JSON Lines, and JSON files with a list of objects."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from .labelled_data import join_names
from .optional_packages import import_optional
from .table import Table
from .text_encoding import read_text

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def read_json(path: Path, encoding: str | None = None, max_bytes: int | None = None) -> Table:
    """Read objects from a file, compressed if its name ends in .gz or .xz.

    Parameters
    ----------
    path : Path
        One object per line, or a list of objects. Keys are columns.
    encoding, max_bytes
        See `read_text`.

    Returns
    -------
    Table
        A key that an object lacks is None there.

    Raises
    ------
    ValueError
        A line isn't valid JSON or isn't an object; or see `read_text`.
    ImportError
        pandas isn't installed.
    """
    pandas = import_optional("pandas", "tables")
    text = read_text(path, encoding, max_bytes)
    if text.lstrip().startswith("["):
        records = _read_list(path, text)
    else:
        records = _read_lines(path, text)
    if not records:
        raise ValueError(f"{path} has no objects")
    names = list(dict.fromkeys(name for record in records for name in record))
    columns = {name: pandas.Series([record.get(name) for record in records], dtype=object) for name in names}
    notes = []
    if len(incomplete := [repr(name) for name in names if any(name not in record for record in records)]):
        notes.append(f"Some objects lack keys, which are empty there: {join_names(incomplete)}.")
    return Table(source=path, columns=columns, n_rows=len(records), is_typed=True, notes=notes)


def _read_list(path: Path, text: str) -> list[dict[str, Any]]:
    items = _parse(text, str(path))
    for index, item in enumerate(items):
        if not isinstance(item, dict):
            raise ValueError(f"{path} must be a list of objects, got {type(item).__name__} at index {index}")
    return list(items)


def _read_lines(path: Path, text: str) -> list[dict[str, Any]]:
    records = []
    # Not splitlines(), which also splits at characters that may be within strings.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        record = _parse(line, f"{path}, line {number:,}")
        if not isinstance(record, dict):
            raise ValueError(
                f'{path}, line {number:,} must be an object such as {{"text": "...", "label": "..."}}, got '
                f"{type(record).__name__}"
            )
        records.append(record)
    return records


def _parse(text: str, where: str) -> Any:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}" if error.lineno > 1 else f"column {error.colno}"
        raise ValueError(f"{where} isn't valid JSON: {error.msg} ({place})") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where} can't be read as JSON: {error}") from None
    return _replace_surrogates(value) if _SURROGATE.search(text) else value


def _replace_surrogates(value: Any) -> Any:
    """Return JSON with a replacement character for each half of a surrogate pair, which can't be written."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_replace_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {_replace_surrogates(key): _replace_surrogates(item) for key, item in value.items()}
    return value
