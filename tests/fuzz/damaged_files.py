"""Damage files: reading one raises a documented error or gives what another reader finds, within the memory available.

`READERS` has one function of the bytes for each format; it raises an AssertionError, or an undocumented error, if the
reader is wrong. ``python -m fuzz.damaged_files 20000`` (with tests/ on the path) damages that many files, in a process
with limited memory, and prints what came of them; a second argument is the seed. A file that fails is kept.
"""

from __future__ import annotations

import collections
import functools
import gzip
import io
import random
import resource
import struct
import sys
import tempfile
import traceback
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet

import rrm_core
from rrm_core.backends import registry
from rrm_torch.data.idx import read_idx
from rrm_torch.data.npz import read_npz
from support.peak_memory import peak, reset_peak

MIB = 1 << 20
MEMORY = 16 * MIB  # of `rrm_core.stream`
MAX_BYTES = 4 * MIB  # of the loaders of images
OVERHEAD = 24 * MIB  # as in tests/rrm_core/stream/test_memory.py
N = 300
MAX_COMPARED = 10_000_000  # values that the other reader may decode
RULE: dict[str, Any] = {"contamination": 0.2, "nan": "prune"}
DOCUMENTED = (ValueError, TypeError, OSError, RuntimeError)


@functools.cache
def scratch() -> Path:
    """Return a folder for the file that is read, in memory where possible."""
    memory = Path("/dev/shm")
    folder = tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None)
    _KEPT.append(folder)
    return Path(folder.name)


_KEPT: list[Any] = []  # removed at exit


def read(content: bytes, suffix: str, reader: Callable[[Path], Any], compare: Callable[[Path, Any], None]) -> str:
    """Read a file, and compare the result; return "read" or the name of the documented error."""
    path = scratch() / f"file{suffix}"
    path.write_bytes(content)
    try:
        result = reader(path)
    except DOCUMENTED as error:
        raised: Exception = error
    else:
        compare(path, result)
        return "read"
    # Other subclasses, such as UnicodeDecodeError or RecursionError, are leaks.
    assert type(raised) in DOCUMENTED, repr(raised)
    assert "\n" not in str(raised), repr(raised)
    assert len(str(raised)) < 5000
    return type(raised).__name__


def _plan(path: Path) -> rrm_core.Plan:
    return rrm_core.stream.plan(
        path, column=None if path.suffix == ".npy" else "loss", memory=MEMORY, threads=1, **RULE
    )


def _compare_with(load: Callable[[Path], Any], path: Path, plan: rrm_core.Plan) -> None:
    """Compare a plan with that of the values that another reader finds, unless that refuses the file."""
    if plan.n > MAX_COMPARED:
        return
    try:
        values = load(path)
    except (pa.ArrowException, OSError, ValueError, TypeError, MemoryError, OverflowError):
        return
    if len(values) == plan.n:
        assert rrm_core.plan(values, **RULE) == plan
    else:
        raise AssertionError(f"{plan.n} rows, not {len(values)}")


def _column(table: Any) -> Any:
    column = table.column("loss").combine_chunks()
    return column.to_numpy(zero_copy_only=False)


def _load_arrow(path: Path) -> Any:
    with pa.OSFile(str(path)) as file:
        is_file = file.read(6) == b"ARROW1"
        file.seek(0)
        table = (pa.ipc.open_file(file) if is_file else pa.ipc.open_stream(file)).read_all()
    # PyArrow would read beyond a buffer that is too short.
    table.validate()
    return _column(table)


def _load_parquet(path: Path) -> Any:
    # As `rrm_core.stream` reads it; without the checksums, damaged pages would be compared.
    file = pa.parquet.ParquetFile(path, page_checksum_verification=True, pre_buffer=False)
    return _column(file.read(["loss"], use_threads=False))


def _compare_arrays(path: Path, result: tuple[dict[str, Any], Any]) -> None:
    try:
        archive = np.load(path, allow_pickle=False)
    except ValueError:  # bytes before the archive, which zipfile skips
        return
    with archive:
        for name, array in result[0].items():
            np.testing.assert_array_equal(array, archive[name])


def _compare_sizes(_: Path, array: Any) -> None:
    assert array.nbytes <= MAX_BYTES


READERS: dict[str, Callable[[bytes], str]] = {
    "npy": lambda data: read(data, ".npy", _plan, functools.partial(_compare_with, np.load)),
    "parquet": lambda data: read(data, ".parquet", _plan, functools.partial(_compare_with, _load_parquet)),
    "arrow": lambda data: read(data, ".arrow", _plan, functools.partial(_compare_with, _load_arrow)),
    "npz": lambda data: read(data, ".npz", lambda path: read_npz(path, ("a", "b"), MAX_BYTES), _compare_arrays),
    "idx": lambda data: read(data, ".idx", lambda path: read_idx(path, 2, MAX_BYTES), _compare_sizes),
    "idx.gz": lambda data: read(data, ".gz", lambda path: read_idx(path, 2, MAX_BYTES), _compare_sizes),
}


# Valid files


def _bytes(write: Callable[[Any], Any]) -> bytes:
    file = io.BytesIO()
    write(file)
    return file.getvalue()


def _arrow(table: Any, new: Any, compression: str | None) -> bytes:
    def write(file: Any) -> None:
        with new(file, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
            writer.write_table(table, max_chunksize=100)
            writer.write_batch(
                pa.RecordBatch.from_arrays([column[:0] for column in table.to_batches()[0]], schema=table.schema)
            )
            writer.write_table(table.slice(3, 50))

    return _bytes(write)


@functools.cache
def seeds() -> list[tuple[str, bytes]]:
    """Return valid files of every format."""
    rng = np.random.default_rng(0)
    vectors = [rng.exponential(size=N).astype(dtype) for dtype in ("f2", "f4", "f8", ">f4")]
    found = [("npy", _bytes(functools.partial(np.save, arr=vector))) for vector in vectors]
    for dtype in ("f4", "f8"):
        loss = rng.exponential(size=N).astype(dtype)
        loss[::13] = np.nan
        plain = pa.table({"loss": pa.array(loss, from_pandas=dtype == "f8")})
        text = pa.array([f"text {i}" * (i % 5) for i in range(N)])
        rich = pa.table(
            {
                "id": pa.array(range(N)),
                "text": text,
                "label": pa.array(["a", "b", None] * (N // 3)).dictionary_encode(),
                "list": pa.array([[i] * (i % 3) for i in range(N)]),
                "loss": pa.array(loss.round(1), from_pandas=True),
                "view": text.cast(pa.string_view()),
            }
        )
        for table in (plain, rich):
            for new in (pa.ipc.new_file, pa.ipc.new_stream):
                found += [("arrow", _arrow(table, new, compression)) for compression in (None, "lz4", "zstd")]
            for compression, version in (("none", "1.0"), ("snappy", "2.0"), ("zstd", "1.0"), ("gzip", "2.0")):
                found.append(("parquet", _parquet(table, compression, version)))
    a, b = rng.integers(0, 255, (10, 4, 4), np.uint8), np.array(["x", "yz"])
    found += [("npz", _bytes(lambda file: np.savez(file, a=a, b=b)))]
    found += [("npz", _bytes(lambda file: np.savez_compressed(file, a=np.asfortranarray(a), b=b, c=a)))]
    for code, dtype in ((8, ">u1"), (0x0E, ">f8")):
        idx = bytes((0, 0, code, 2)) + struct.pack(">2I", 12, 9) + np.arange(108).astype(dtype).tobytes()
        found += [("idx", idx), ("idx.gz", gzip.compress(idx, mtime=0))]
    return found


def _parquet(table: Any, compression: str, version: str) -> bytes:
    return _bytes(
        lambda file: pa.parquet.write_table(
            table.drop_columns(["view"]) if "view" in table.column_names else table,
            file,
            compression=compression,
            data_page_version=version,
            row_group_size=120,
            data_page_size=200,
            write_page_checksum=version == "1.0",
        )
    )


# Damage

NUMBERS = (
    0,
    1,
    2,
    7,
    127,
    128,
    255,
    2**15,
    2**16 - 1,
    2**24,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**40,
    2**62,
    2**63,
    2**64 - 1,
)


def damage(content: bytes, rng: random.Random) -> bytes:
    """Return a damaged copy."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        _damage_once(data, rng)
    return bytes(data)


def _damage_once(data: bytearray, rng: random.Random) -> None:
    start = _position(data, rng)
    stop = min(start + rng.choice((1, 4, 8, 30, 200)), len(data))
    kind = rng.randrange(9)
    if kind == 0:
        del data[start:]
    elif kind == 1:
        del data[start:stop]
    elif kind == 2:
        data[start:start] = data[start:stop] * rng.choice((1, 2, 50))
    elif kind == 3:
        data[start:stop] = bytes(stop - start)
    elif kind == 4:
        other = _position(data, rng)
        data[start:stop] = data[other : other + stop - start]
    elif kind == 5:
        data[start:stop] = rng.randbytes(stop - start)
    elif kind in (6, 7):
        size = rng.choice((1, 2, 4, 8))
        number = rng.choice((*NUMBERS, len(data), len(data) + 1, rng.randrange(1000)))
        data[start : start + size] = (number % 256**size).to_bytes(size, rng.choice(("little", "big")))
    elif start < len(data):
        data[start] ^= 1 << rng.randrange(8)


def _position(data: bytearray, rng: random.Random) -> int:
    """Return a position, more often near an end: most of a file's description is there."""
    where = rng.random()
    if where < 0.3:
        return min(rng.randrange(120), len(data))
    if where < 0.6:
        return max(len(data) - 1 - rng.randrange(400), 0)
    return rng.randrange(len(data) + 1)


def damaged_file(rng: random.Random) -> tuple[str, bytes]:
    """Return the format and the content of a damaged file."""
    kind, content = rng.choice(seeds())
    # Behind an intact compression and checksum, half of the time.
    if kind == "idx.gz" and rng.random() < 0.5:
        return kind, gzip.compress(damage(gzip.decompress(content), rng), mtime=0)
    if kind == "npz" and rng.random() < 0.5:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        name = rng.choice(sorted(members))
        members[name] = damage(members[name], rng)

        def write(file: Any) -> None:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
                for other, member in members.items():
                    archive.writestr(other, member)

        return kind, _bytes(write)
    return kind, damage(content, rng)


def run(count: int, seed: int = 0) -> dict[str, int]:
    """Read `count` damaged files; return how often each outcome occurred.

    Raises
    ------
    AssertionError
        A reader is wrong, or took more memory than it may; the file is kept, and named in the message.
    """
    rng = random.Random(seed)
    outcomes: collections.Counter[str] = collections.Counter()
    registry.choose_counting(None)
    for content_kind, content in seeds():
        assert READERS[content_kind](content) == "read", content_kind
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for i in range(count):
            kind, content = damaged_file(rng)
            before = reset_peak()
            try:
                outcomes[f"{kind}: {READERS[kind](content)}"] += 1
                growth = peak() - before
                assert growth < MEMORY + OVERHEAD, f"took {growth / MIB:.0f} MiB"
            except BaseException as error:
                kept = Path(tempfile.gettempdir()) / f"damaged-{seed}-{i}.{kind}"
                kept.write_bytes(content)
                raise AssertionError(f"{kept}: {type(error).__name__}: {error}") from error
    return dict(sorted(outcomes.items()))


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
    n_failed = 0
    for part in range(0, int(sys.argv[1]), 1000):
        part_seed = (int(sys.argv[2]) if len(sys.argv) > 2 else 0) * 1_000_000 + part
        try:
            print(part_seed, run(min(1000, int(sys.argv[1]) - part), part_seed), flush=True)
        except AssertionError:
            n_failed += 1
            traceback.print_exc()
    sys.exit(n_failed > 0)
