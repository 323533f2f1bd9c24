"""Text files: decompressed, and decoded from the encodings that people have."""

from __future__ import annotations

import codecs
import gzip
import io
import lzma
import zlib
from pathlib import Path

from ...data.memory_limit import check_max_bytes, refuse_too_large

PIECE_BYTES = 1 << 20

BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def read_text(path: Path, encoding: str | None = None, max_bytes: int | None = None) -> str:
    """Read a text file, compressed if its name ends in .gz or .xz.

    Parameters
    ----------
    path : Path
    encoding : str, optional
        By default UTF-8, or UTF-16 with a byte order mark.
    max_bytes : int, optional
        Bytes that it may take after decompression; by default a quarter of this machine's memory.

    Returns
    -------
    str
        Without a byte order mark.

    Raises
    ------
    ValueError
        The file is empty, too large, not a valid .gz or .xz file, or in another encoding.
    OSError
        The file can't be read.
    """
    content = _read_bytes(path, check_max_bytes(max_bytes))
    if not content:
        raise ValueError(f"{path} is empty")
    text = _decode(content, path, encoding)
    if not text.strip():
        raise ValueError(f"{path} is empty: it holds nothing but blanks")
    return text


def _read_bytes(path: Path, limit: int) -> bytes:
    pieces = []
    n_bytes = 0
    try:
        with _open(path) as file:
            while piece := file.read(PIECE_BYTES):
                n_bytes += len(piece)
                refuse_too_large(str(path), n_bytes, limit)
                pieces.append(piece)
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        if getattr(error, "errno", None) is not None:
            raise
        raise ValueError(f"{path} isn't a valid {path.suffix} file: {error}") from error
    return b"".join(pieces)


def _open(path: Path) -> io.BufferedIOBase:
    suffix = path.suffix.lower()
    if suffix == ".gz":
        return gzip.open(path, "rb")
    if suffix == ".xz":
        return lzma.open(path, "rb")
    return path.open("rb")


def _decode(content: bytes, path: Path, encoding: str | None) -> str:
    if encoding is None:
        encoding = next((name for mark, name in BYTE_ORDER_MARKS if content.startswith(mark)), "utf-8")
    try:
        return content.decode(encoding)
    except LookupError:
        raise ValueError(f"encoding must be one that Python has, such as cp1252 or utf-16, got {encoding!r}") from None
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} isn't {encoding}: {error.reason} at byte {error.start:,} ({content[error.start]:#04x}); pass its "
            "encoding, such as --encoding cp1252"
        ) from None
