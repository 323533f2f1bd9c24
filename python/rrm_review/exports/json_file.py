"""JSON files."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from typing import Any

from rrm_core._atomic_write import atomic_write


def write_list(path: str | os.PathLike[str], items: Iterable[Any]) -> None:
    """Write a JSON list, one item a line, whole or not at all."""
    with atomic_write(path) as file:
        file.write(b"[")
        separator = b"\n"
        for item in items:
            file.write(separator + encode(item))
            separator = b",\n"
        file.write(b"\n]\n")


def encode(value: Any) -> bytes:
    """Return a value as JSON in UTF-8.

    Raises
    ------
    ValueError
        It holds NaN, an infinity or a lone surrogate.
    """
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
