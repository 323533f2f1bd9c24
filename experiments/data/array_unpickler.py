"""Reading pickles of plain containers and NumPy arrays, without running code that they may contain."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from .arrays import RECONSTRUCT, RECONSTRUCT_NAMES


def unpickle_arrays(path: Path, what: str) -> Any:
    """Read a pickle of containers, numbers, strings and NumPy arrays; strings of Python 2 become bytes.

    Parameters
    ----------
    path : Path
    what : str
        What the file should be, for the message.

    Raises
    ------
    ValueError
        The file is damaged, or refers to a name that no array needs.
    """
    try:
        with path.open("rb") as file:
            return _ArrayUnpickler(file, encoding="bytes").load()
    except Exception as error:  # a damaged pickle raises nearly anything
        raise ValueError(f"{path} can't be read as {what}: {error}; extract it again") from error


class _ArrayUnpickler(pickle.Unpickler):
    """An unpickler of plain containers and NumPy arrays that rejects all other names."""

    def find_class(self, module: str, name: str) -> Any:
        """Return the object with this name if a pickled array needs it."""
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no array needs")
        return _ALLOWED[module, name]


def _latin1(text: str, encoding: str) -> bytes:
    """Replace _codecs.encode, to which Python 3 refers for bytes in old protocols, always with Latin-1."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it asks for the encoding {encoding!r}, which no array needs")
    return text.encode("latin1")


def _reconstruct_empty(subtype: Any, shape: Any, typecode: Any) -> Any:
    """Replace NumPy's function, which makes an array of any size; the arrays in a pickle begin empty."""
    if shape != (0,):
        raise pickle.UnpicklingError(f"it asks for an array of shape {shape!r:.80}, which no pickled array begins with")
    return RECONSTRUCT(subtype, shape, typecode)


_ALLOWED: dict[tuple[str, str], Any] = {
    **{(module, "_reconstruct"): _reconstruct_empty for module in RECONSTRUCT_NAMES},
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _latin1,
}
