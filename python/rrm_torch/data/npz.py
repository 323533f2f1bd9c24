"""Reader of NumPy's .npz archives that may be damaged or hostile."""

from __future__ import annotations

import zipfile
from collections.abc import Collection
from errno import EINVAL
from gzip import GzipFile
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from rrm_core._npy_header import read_npy_header

from .memory_limit import check_max_bytes, refuse_too_large

PIECE_BYTES = 1 << 20

# numpy.savez and savez_compressed write no others; the dictionary of LZMA may take 4 GiB.
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def read_npz(
    path: Path, names: Collection[str], max_bytes: int | None = None
) -> tuple[dict[str, npt.NDArray[Any]], list[str]]:
    """Read arrays from a .npz file. Pickled objects are never loaded.

    Parameters
    ----------
    path : Path
    names : collection of str
        The arrays to read, as far as the file has them.
    max_bytes : int, optional
        Bytes that they may take together; by default a quarter of this machine's memory.

    Returns
    -------
    arrays : dict of str to np.ndarray
    names : list of str
        The names of all arrays in the file.

    Raises
    ------
    ValueError
        The file isn't a valid .npz archive, an array is damaged or consists of pickled objects, or the arrays take more
        than `max_bytes`.
    OSError
        The file cannot be read.
    """
    limit = check_max_bytes(max_bytes)
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path} isn't a .npz archive; numpy.savez writes one")
    arrays: dict[str, npt.NDArray[Any]] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            members = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
            for name in names:
                if name not in members:
                    continue
                arrays[name] = _read_member(archive, members[name], limit)
                limit -= arrays[name].nbytes
    except (OSError, MemoryError) as error:
        # EINVAL comes from offsets in the archive.
        if getattr(error, "errno", None) not in (None, EINVAL):
            raise
        raise ValueError(f"{path} can't be read: {_one_line(error)}") from error
    # The zip file, its compression and the headers of the arrays raise many kinds of errors where they are damaged.
    except Exception as error:
        raise ValueError(f"{path} can't be read: {_one_line(error)}") from error
    return arrays, list(members)


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, limit: int) -> npt.NDArray[Any]:
    """Read one array, whose size is checked before it is decoded."""
    name = member.filename
    if member.compress_type not in _COMPRESSIONS:
        raise ValueError(f"{name} is compressed in a way that numpy.savez doesn't use")
    with archive.open(member) as file:
        header = read_npy_header(file)
        if header.dtype.hasobject:
            raise ValueError(f"{name} consists of pickled objects, which are never loaded (allow_pickle=False)")
        n_bytes = header.n_bytes
        refuse_too_large(name, n_bytes, limit)
        # The last byte too, so that the checksum is compared.
        if member.file_size != file.tell() + n_bytes:
            raise ValueError(f"{name} must have {n_bytes:,} bytes for its shape {header.shape}, and has others")
        if not header.dtype.itemsize:
            raise ValueError(f"{name} has a type without bytes, {header.dtype}")
        memory = np.empty(n_bytes, np.uint8)
        if read_into(file, memory) < n_bytes:
            raise ValueError(f"{name} ends before its {n_bytes:,} bytes")
    shape = header.shape[::-1] if header.fortran_order else header.shape
    array: npt.NDArray[Any] = memory.view(header.dtype).reshape(shape)
    return array.T if header.fortran_order else array


def read_into(file: IO[bytes] | GzipFile, memory: npt.NDArray[np.uint8]) -> int:
    """Fill `memory` from a file piece by piece, and return the bytes read: fewer where the file ends before."""
    n_read = 0
    while n_read < len(memory):
        piece = file.read(min(PIECE_BYTES, len(memory) - n_read))
        if not piece:
            break
        memory[n_read : n_read + len(piece)] = np.frombuffer(piece, np.uint8)
        n_read += len(piece)
    return n_read


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
