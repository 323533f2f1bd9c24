"""Invalid sources, sinks and arguments raise an error in one line, and the previous weights stay."""

from __future__ import annotations

import os
import re
import sys

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest

import rrm_core
from rrm_core.stream import factory
from support.families import assert_same_bits

N = 5000
C = np.random.default_rng(0).exponential(size=N).astype(np.float32)
W = np.random.default_rng(1).exponential(size=N).astype(np.float32)
OK = {"contamination": 0.2}


@pytest.fixture
def previous(tmp_path):
    """Return a file of weights; at the end of the test it must be unchanged."""
    path = tmp_path / "previous.npy"
    path.write_bytes(b"previous")
    yield path
    assert path.read_bytes() == b"previous"
    assert not list(tmp_path.glob("*.tmp"))


def assert_rejected(error, message, losses, out, **more):
    with pytest.raises(error) as caught:
        rrm_core.stream.reweight(losses, out, **(OK | more))
    assert caught.type is error, repr(caught.value)
    assert message in str(caught.value), str(caught.value)
    assert "\n" not in str(caught.value)


def save(path, array=C):
    np.save(path, array)
    return path


def write_table(path, **columns):
    table = pa.table({name.replace("_", " "): values for name, values in columns.items()})
    if path.suffix == ".parquet":
        pa.parquet.write_table(table, path, row_group_size=1000)
    else:
        with pa.ipc.new_file(path, table.schema) as file:
            file.write_table(table, max_chunksize=1000)
    return path


# Arguments


@pytest.mark.parametrize(
    ("more", "error", "message"),
    [
        ({"contamination": 1.5}, ValueError, "contamination must lie in [0, 1), got 1.5"),
        ({"gamma": 1.0}, ValueError, "give exactly one of contamination and gamma"),
        ({"mu": 0.0}, ValueError, "mu must lie in (0, 1], got 0.0"),
        ({"mu": "1"}, TypeError, "mu must be a number"),
        (
            {"memory": 1000},
            ValueError,
            "memory must be a whole number of bytes, at least 16_777_216 (16 MiB), got 1000",
        ),
        (
            {"memory": "64M"},
            ValueError,
            "memory must be a whole number of bytes, at least 16_777_216 (16 MiB), got '64M'",
        ),
        ({"threads": 0}, ValueError, "threads must be a whole number, at least 1"),
        ({"progress": True}, TypeError, "progress must be callable with (done, total, what), got bool"),
        (
            {"column": "loss"},
            ValueError,
            "column='loss' names a column of a Parquet or Arrow file, but losses are given as",
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_invalid_arguments(more, error, message, previous):
    assert_rejected(error, message, C, previous, **more)


INVALID_LOSSES = {
    "a generator": ((c for c in [C]), TypeError, "losses is a generator, which can be read only once"),
    "an iterator": (iter([C]), TypeError, "losses is a list_iterator, which can be read only once"),
    "None": (
        None,
        TypeError,
        "losses must be the path of a .npy, .parquet, .arrow or .feather file, an array, or chunks",
    ),
    "numbers": (
        [1.0, 2.0],
        TypeError,
        "must be one-dimensional arrays; the chunk at index 0 is float; make an array of plain numbers",
    ),
    "paths in a set": ({"a.npy"}, TypeError, "must be one-dimensional arrays; the chunk at index 0 is str"),
    "Arrow arrays with a null": ([pa.array([0.5, None])], ValueError, "losses has 1 missing values among 2"),
    "a table": (pa.table({"loss": C}), TypeError, "losses is a table, got Table; pass one column"),
    "a matrix": (np.ones((2, 3), np.float32), ValueError, "losses must be one-dimensional, got shape (2, 3)"),
    "matrices": ([C, C.reshape(2, -1)], TypeError, "the chunk at index 1 is ndarray of shape (2, 2500)"),
    "integers": (np.arange(9), TypeError, "losses must be float16, bfloat16, float32 or float64, got int64"),
    "chunks of integers": (
        [np.arange(9)],
        TypeError,
        "losses must be float16, bfloat16, float32 or float64, got int64",
    ),
    "mixed chunks": ([C, C.astype(float)], TypeError, "losses must be float32, as those before, got float64"),
    "empty of another type": ([C, np.empty(0)], TypeError, "losses must be float32, as those before, got float64"),
    "a masked array": (np.ma.masked_array(C), TypeError, "losses is a masked array"),
    "no chunks": ([], ValueError, "no losses were counted; at least one sample is needed"),
    "empty": (C[:0], ValueError, "no losses were counted; at least one sample is needed"),
    "-inf": (
        np.array([1, -np.inf], np.float32),
        ValueError,
        "losses contain 1 values of -inf among 2, the first at index 1",
    ),
}


@pytest.mark.parametrize("case", INVALID_LOSSES)
def test_invalid_losses(case, previous):
    losses, error, message = INVALID_LOSSES[case]
    assert_rejected(error, message, losses, previous)


@pytest.mark.parametrize(
    ("out", "error", "message"),
    [
        (
            "w.csv",
            ValueError,
            "out must be a .npy, .parquet, .arrow or .feather file, according to its suffix, got w.csv",
        ),
        (np.empty(N, np.float32), TypeError, "or a function that takes the weights array by array, got ndarray"),
        (None, TypeError, "or a function that takes the weights array by array, got NoneType"),
        (
            "no such folder/w.npy",
            FileNotFoundError,
            "out: there is no folder no such folder for w.npy; create it first",
        ),
        (".npy/", ValueError, "out must be"),
    ],
    ids=["csv", "an array", "None", "no folder", "no name"],
)
def test_invalid_out(out, error, message, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".npy").mkdir()
    assert_rejected(error, message, C, out)


def test_out_is_a_folder(tmp_path):
    (tmp_path / "w.npy").mkdir()
    assert_rejected(IsADirectoryError, "w.npy is a folder; name a file in it", C, tmp_path / "w.npy")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_out_in_a_read_only_folder(tmp_path):
    tmp_path.chmod(0o500)
    assert_rejected(PermissionError, "out: no file can be created in", C, tmp_path / "w.npy")


def test_out_in_a_folder_reported_as_read_only(tmp_path, monkeypatch):
    monkeypatch.setattr(factory.os, "access", lambda *_: False)
    assert_rejected(PermissionError, "out: no file can be created in", C, tmp_path / "w.npy")


@pytest.mark.parametrize("how", ["the same", "another name", "a link", "a mapping", "a view of a mapping"])
def test_out_is_the_file_of_the_losses(how, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = out = losses = save(tmp_path / "losses.npy")
    if how == "another name":
        out = "losses.npy"
    if how == "a link":
        out = tmp_path / "link.npy"
        out.symlink_to(path)
    if how in ("a mapping", "a view of a mapping"):
        losses = np.load(path, mmap_mode="r")
        if how == "a view of a mapping":
            losses = np.asarray(losses)[10:]
    assert_rejected(ValueError, "out is the file of the losses", losses, out)
    assert_same_bits(np.load(path), C)


# Files


def test_missing_file(previous, tmp_path):
    for suffix in ("npy", "parquet", "arrow"):
        assert_rejected(FileNotFoundError, f"losses.{suffix}", tmp_path / f"losses.{suffix}", previous)


def test_files_of_other_formats(previous, tmp_path):
    assert_rejected(
        ValueError,
        "losses must be a .npy, .parquet, .arrow or .feather file, according to its suffix, got",
        "a.npz",
        previous,
    )
    for suffix, kind in (("parquet", "Parquet"), ("arrow", "Arrow"), ("feather", "Arrow")):
        path = tmp_path / f"losses.{suffix}"
        path.write_bytes(b"something else, and long enough for a footer")
        assert_rejected(ValueError, f"losses ({path}) is not a complete {kind} file", path, previous)
    path = tmp_path / "losses.npy"
    path.write_bytes(b"something else")
    assert_rejected(ValueError, f"losses ({path}) is not a .npy file that holds losses or weights", path, previous)
    path.write_bytes(b"")
    assert_rejected(ValueError, f"losses ({path}) is not a .npy file that holds losses or weights", path, previous)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_pipe_or_folder_as_source(previous, tmp_path):
    os.mkfifo(tmp_path / "losses.npy")
    assert_rejected(
        ValueError, "is not a regular file and cannot be read more than once", tmp_path / "losses.npy", previous
    )
    (tmp_path / "folder.npy").mkdir()
    assert_rejected(ValueError, "has no files to read", tmp_path / "folder.npy", previous)


INVALID_ARRAYS = {
    "a matrix": (C.reshape(2, -1), ValueError, "must be one-dimensional, got shape (2, 2500)"),
    "columns first": (np.asfortranarray(C.reshape(2, -1)), ValueError, "must be one-dimensional, got shape (2, 2500)"),
    "a number": (C[0], ValueError, "must be one-dimensional, got shape ()"),
    "integers": (np.arange(3), TypeError, "must hold float16, float32 or float64, got int64"),
    "objects": (np.array([1.5, None]), TypeError, "must hold float16, float32 or float64, got object"),
    "longdouble": (np.ones(3, np.longdouble), TypeError, "must hold float16, float32 or float64, got"),
    "a structure": (np.zeros(3, [("loss", "f4")]), TypeError, "got [('loss', '<f4')]"),
    "two bytes": (np.zeros(3, "V2"), TypeError, "NumPy does not store which type bfloat16 is"),
}


@pytest.mark.parametrize("case", INVALID_ARRAYS)
def test_npy_file_without_a_vector_of_losses(case, previous, tmp_path):
    array, error, message = INVALID_ARRAYS[case]
    assert_rejected(error, message, save(tmp_path / "losses.npy", array), previous)


def test_truncated_npy_file(previous, tmp_path):
    path = save(tmp_path / "losses.npy")
    os.truncate(path, path.stat().st_size - 1)
    message = "is truncated: with 5_000 entries of float32 it would have 20_128 bytes, but it has 20_127"
    assert_rejected(ValueError, message, path, previous)
    os.truncate(path, 100)
    assert_rejected(ValueError, "is not a .npy file", path, previous)


def test_invalid_columns(previous, tmp_path):
    for suffix in ("parquet", "arrow"):
        path = write_table(tmp_path / f"losses.{suffix}", index=range(N), loss=C, other=W)
        listed = "there are 'index' (int64), 'loss' (float32), 'other' (float32)"
        assert_rejected(
            ValueError,
            f"losses ({path}) has 2 columns of floating-point numbers; name one with column; {listed}",
            path,
            previous,
        )
        assert_rejected(ValueError, f"losses ({path}) has no column 'los'; {listed}", path, previous, column="los")
        assert_rejected(
            TypeError, "column 'index' must be float16, float32 or float64, got int64", path, previous, column="index"
        )
        path = write_table(tmp_path / f"none.{suffix}", index=range(N))
        assert_rejected(
            ValueError,
            "has 0 columns of floating-point numbers; one is needed; there are 'index' (int64)",
            path,
            previous,
        )
        path = tmp_path / f"twice.{suffix}"
        table = pa.table([C, W], names=["loss", "loss"])
        pa.parquet.write_table(table, path) if suffix == "parquet" else pa.feather.write_feather(table, path)
        assert_rejected(ValueError, "has 2 columns 'loss'", path, previous, column="loss")
    assert_rejected(ValueError, "is a .npy file; leave it out", save(tmp_path / "losses.npy"), previous, column="loss")


def test_weight_column_is_found_by_its_name(tmp_path):
    for suffix in ("parquet", "arrow"):
        path = write_table(tmp_path / f"both.{suffix}", loss=C, sample_weight=W)
        table = pa.table({"loss": C, "sample_weight": W})
        pa.parquet.write_table(table, path) if suffix == "parquet" else pa.feather.write_feather(table, path)
        rrm_core.stream.reweight(path, tmp_path / "w.npy", weights=path, mu=0.3, column="loss", **OK)
        assert_same_bits(np.load(tmp_path / "w.npy"), rrm_core.reweight(C, W, mu=0.3, **OK)[0])


def test_nan_is_counted_and_located(previous, tmp_path, small_tiles):
    c = C.copy()
    c[[4321, 4999]] = np.nan
    for losses in (
        save(tmp_path / "losses.npy", c),
        write_table(tmp_path / "losses.parquet", loss=c),
        list(np.split(c, 8)),
    ):
        assert_rejected(
            ValueError,
            "losses contain 2 NaN among 5_000, the first at index 4321; pass nan='prune'",
            losses,
            previous,
            threads=3,
        )


@pytest.mark.parametrize("threads", [1, 3])
def test_corrupt_row_group(threads, previous, tmp_path, small_tiles):
    path = tmp_path / "losses.parquet"
    pa.parquet.write_table(
        pa.table({"loss": C}), path, row_group_size=1000, write_page_checksum=True, use_dictionary=False
    )
    offset = pa.parquet.ParquetFile(path).metadata.row_group(3).column(0).data_page_offset
    content = bytearray(path.read_bytes())
    content[offset + 500] ^= 1
    path.write_bytes(content)
    assert_rejected(
        ValueError,
        f"losses ({path}): row group 3 of 5 (the first is 0) can't be read in column 'loss'",
        path,
        previous,
        threads=threads,
    )


def test_corrupt_record_batch(previous, tmp_path):
    path = tmp_path / "losses.feather"
    pa.feather.write_feather(pa.table({"loss": C}), path, chunksize=1000, compression="zstd")
    with pa.memory_map(str(path)) as mapped:
        mapped.seek(8)
        messages = [message for message in pa.ipc.MessageReader.open_stream(mapped) if message.type == "record batch"]
        offset = path.read_bytes().find(messages[2].body.to_pybytes())
    content = bytearray(path.read_bytes())
    content[offset + 8 : offset + 300] = bytes(292)
    path.write_bytes(content)
    assert_rejected(ValueError, f"losses ({path}): record batch 2 (the first is 0) can't be read", path, previous)


def test_compressed_batch_larger_than_memory(previous, tmp_path):
    c = np.zeros(2_000_000, np.float32)
    path = tmp_path / "losses.feather"
    pa.feather.write_feather(pa.table({"loss": c}), path, chunksize=len(c), compression="lz4")
    message = "record batch 0, which is compressed and can't be read in parts, takes 8_000_000 bytes of the 4_194_304"
    assert_rejected(ValueError, message, path, previous, memory=16 << 20)
    assert rrm_core.stream.plan(path, **OK).n == len(c)


def test_missing_pyarrow(previous, tmp_path, monkeypatch):
    for name in ("_pyarrow", "columns", "arrow_source", "parquet_source", "arrow_sink"):
        monkeypatch.delitem(sys.modules, f"rrm_core.stream.{name}", raising=False)
        monkeypatch.delattr(rrm_core.stream, name, raising=False)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    message = "Parquet and Arrow files need pyarrow: pip install pyarrow"
    assert_rejected(ImportError, message, "losses.parquet", previous)
    assert_rejected(ImportError, message, C, tmp_path / "w.arrow")
    rrm_core.stream.reweight(save(tmp_path / "losses.npy"), tmp_path / "w.npy", **OK)


# Weights that do not match

MISMATCHED_WEIGHTS = {
    "more": (
        np.ones(N + 1, np.float32),
        ValueError,
        "weights must have one entry per loss, got 5_001 for 5_000 losses",
    ),
    "fewer": (W[:-1], ValueError, "weights must have one entry per loss, got 4_999 for 5_000 losses"),
    "none": (W[:0], ValueError, "weights must have one entry per loss, got 0 for 5_000 losses"),
    "of another type": (
        W.astype(np.float16),
        TypeError,
        "must be float32 for float32 losses, got float16; convert it to float32",
    ),
}


@pytest.mark.parametrize("kind", ["array", "npy", "parquet", "chunks"])
@pytest.mark.parametrize("chunked", [False, True], ids=["losses in a file", "losses in chunks"])
@pytest.mark.parametrize("case", MISMATCHED_WEIGHTS)
def test_mismatched_weights(case, chunked, kind, previous, tmp_path, small_tiles):
    weights, error, message = MISMATCHED_WEIGHTS[case]
    if kind == "npy":
        weights = save(tmp_path / "weights.npy", weights)
    if kind == "parquet":
        weights = write_table(tmp_path / "weights.parquet", weight=weights)
    if kind == "chunks":
        weights = list(np.array_split(weights, 3))
    losses = list(np.array_split(C, 7)) if chunked else save(tmp_path / "losses.npy")
    reports = []
    more = {"weights": weights, "mu": 0.3, "threads": 2, "progress": lambda *what: reports.append(what)}
    assert_rejected(error, message, losses, previous, **more)
    assert bool(reports) == (chunked or kind == "chunks")  # a mismatch known at the start is raised before any pass


def test_weights_that_can_be_read_only_once(previous):
    assert_rejected(TypeError, "weights is a generator", C, previous, weights=(w for w in [W]), mu=0.3)


def test_error_of_pyarrow_in_one_line(previous, tmp_path):
    path = tmp_path / "losses.parquet"
    path.write_bytes(b"PAR1" + bytes(100) + b"PAR1")
    with pytest.raises(ValueError) as caught:
        rrm_core.stream.plan(path, **OK)
    assert re.fullmatch(r"losses \(.*\) is not a complete Parquet file: .*", str(caught.value))
