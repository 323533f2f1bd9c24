"""CSV files and Parquet files."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

from ...data.memory_limit import check_max_bytes, refuse_too_large
from .labelled_data import join_names
from .optional_packages import import_optional
from .table import Table
from .text_encoding import read_text

DELIMITERS = (",", ";", "\t", "|")
_DIRECTIVE = re.compile(r"sep=([,;\t|])\r?\n")  # the first line of a file for Excel


def read_csv(path: Path, encoding: str | None = None, max_bytes: int | None = None) -> Table:
    r"""Read a file of delimited text, compressed if its name ends in .gz or .xz.

    Parameters
    ----------
    path : Path
        The first line names the columns. The delimiter is the one of ``,``, ``;``, ``\t`` and ``|`` that is in it most
        often outside of quotes, or the one of a line such as ``sep=;`` above it.
    encoding, max_bytes
        See `read_text`.

    Returns
    -------
    Table
        All cells are str: a label NA or an identifier 007 stays as it is.

    Raises
    ------
    ValueError
        A row has more cells than the first line, a quote isn't closed, there are no rows; or see `read_text`.
    ImportError
        pandas isn't installed.
    """
    pandas = import_optional("pandas", "tables")
    text = read_text(path, encoding, max_bytes)
    if directive := _DIRECTIVE.match(text):
        text = text[directive.end() :]
    delimiter = directive[1] if directive else _find_delimiter(text)
    try:
        # Without a header, the first line is the one whose number of cells no row may exceed.
        frame = pandas.read_csv(
            io.StringIO(text),
            sep=delimiter or ",",
            header=None,
            dtype=str,
            na_filter=False,
            skip_blank_lines=delimiter is not None,
            engine="c",
        )
    except pandas.errors.ParserError as error:
        raise ValueError(f"{path}: {_explain(str(error))}") from error
    names = [name.strip() for name in frame.iloc[0].tolist()]
    if len(frame) == 1:
        raise ValueError(f"{path} has no rows below its first line, which names the columns: {join_names(names, 20)}")
    frame = frame.iloc[1:].reset_index(drop=True)
    notes: list[str] = []
    columns = {name: frame.iloc[:, position] for position, name in enumerate(_name_columns(names, notes))}
    return Table(
        source=path,
        columns=columns,
        n_rows=len(frame),
        is_typed=False,
        notes=notes,
        decimal_comma=delimiter == ";",
    )


def _find_delimiter(text: str) -> str | None:
    """Return the most frequent delimiter of the first line, or None if it has none."""
    line = text.lstrip("\r\n").splitlines()[0]
    line = re.sub(r'"[^"]*"', "", line)
    delimiter = max(DELIMITERS, key=line.count)
    return delimiter if delimiter in line else None


def _explain(message: str) -> str:
    """Return a message of pandas' parser in the terms of a file."""
    counts = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", message)
    if counts:
        n_names, line, n_cells = counts.groups()
        return (
            f"line {line} has {n_cells} cells, and the first line names {n_names} columns; put cells that contain the "
            "delimiter in double quotes"
        )
    row = re.search(r"EOF inside string starting at row (\d+)", message)
    if row:
        return f"a double quote that opens in row {int(row[1]) + 1} isn't closed"
    return " ".join(message.split())


def _name_columns(names: list[str], notes: list[str]) -> list[str]:
    """Return a distinct name for each column."""
    distinct: list[str] = []
    repeated = []
    for position, name in enumerate(names):
        unique = name or f"column {position + 1}"
        n = 2
        while unique in distinct:
            unique = f"{name} ({n})"
            n += 1
        if name and unique != name:
            repeated.append(repr(unique))
        distinct.append(unique)
    if repeated:
        notes.append(f"Columns whose name is repeated are renamed: {join_names(repeated)}.")
    return distinct


def read_parquet(path: Path, max_bytes: int | None = None) -> Table:
    """Read a Parquet file.

    Parameters
    ----------
    path : Path
    max_bytes : int, optional
        Bytes that the columns may take, as the file states them; by default a quarter of this machine's memory.

    Returns
    -------
    Table
        With the class names that Hugging Face's datasets writes into its files.

    Raises
    ------
    ValueError
        The file isn't a valid Parquet file, is too large, or has no rows.
    ImportError
        pandas or pyarrow isn't installed.
    """
    import_optional("pandas", "tables")
    parquet = import_optional("pyarrow.parquet", "Parquet files")
    limit = check_max_bytes(max_bytes)
    try:
        with parquet.ParquetFile(path) as file:
            metadata = file.metadata
            n_bytes = sum(metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups))
            refuse_too_large(str(path), n_bytes, limit)
            table = file.read()
        table.validate(full=True)  # such as that strings are UTF-8
    except Exception as error:
        # A damaged file raises many kinds of errors; those of the system have a number.
        if getattr(error, "errno", None) is not None:
            raise
        raise ValueError(f"{path} can't be read: {' '.join(str(error).split())}") from error
    if not table.num_rows:
        raise ValueError(f"{path} has no rows")
    notes: list[str] = []
    names = _name_columns(table.column_names, notes)
    columns = {name: column.to_pandas() for name, column in zip(names, table.columns, strict=True)}
    return Table(
        source=path,
        columns=columns,
        n_rows=table.num_rows,
        is_typed=True,
        notes=notes,
        class_names=_read_class_names(table.schema.metadata or {}),
    )


def _read_class_names(metadata: dict[bytes, bytes]) -> dict[str, list[str]]:
    """Return the class names by column in a file that Hugging Face's datasets wrote."""
    try:
        features: dict[str, Any] = json.loads(metadata[b"huggingface"])["info"]["features"]
        return {
            column: [str(name) for name in feature["names"]]
            for column, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
        }
    except (KeyError, TypeError, AttributeError, ValueError):
        return {}
