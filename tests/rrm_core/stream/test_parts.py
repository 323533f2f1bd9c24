"""Several files as one source: their order, empty ones, files left out, mixed ones, changes, messages."""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

import rrm_core
from rrm_core.__main__ import main
from rrm_core.stream import parts
from rrm_core.stream.factory import open_source
from support.families import assert_same_bits

N = 3000
C = np.random.default_rng(0).exponential(size=N).astype(np.float32)
W = np.random.default_rng(1).exponential(size=N).astype(np.float32)
OK = {"contamination": 0.2}
KINDS = ("npy", "parquet", "arrow", "stream", "lz4", "mixed Arrow")
CUTS = ([0, 700, 0, 0, 1, 1299, 999, 1, 0, 0, 0, 0], [N], [1500, 1500], [100] * 30, [0, N])


def write_part(path, array, kind):
    """Write a part; its suffix is added to the path, and the new path returned."""
    table = pa.table({"value": pa.array(array)})
    if kind == "npy":
        np.save(path.with_suffix(".npy"), array)
        return path.with_suffix(".npy")
    if kind == "parquet":
        pa.parquet.write_table(table, path.with_suffix(".parquet"), row_group_size=200)
        return path.with_suffix(".parquet")
    suffix = ".feather" if kind == "lz4" else ".arrow"
    new = pa.ipc.new_stream if kind == "stream" else pa.ipc.new_file
    options = pa.ipc.IpcWriteOptions(compression="lz4" if kind == "lz4" else None)
    with new(path.with_suffix(suffix), table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=300)
    return path.with_suffix(suffix)


def write_parts(folder, array, sizes, kind):
    """Write parts in random order, numbered without leading zeros; return their paths in the order of the rows."""
    folder.mkdir()
    numbered = list(enumerate(np.split(array, np.cumsum(sizes)[:-1])))
    random.Random(0).shuffle(numbered)
    paths = {}
    for i, part in numbered:
        part_kind = ("arrow", "stream", "lz4")[i % 3] if kind == "mixed Arrow" else kind
        paths[i] = write_part(folder / f"part-{i}", part, part_kind)
    return [paths[i] for i in range(len(sizes))]


@pytest.mark.parametrize("max_open", [2, 64])
@pytest.mark.parametrize("kind", KINDS)
def test_folders_and_lists(kind, max_open, tmp_path, small_tiles, monkeypatch):
    monkeypatch.setattr(parts, "MAX_OPEN_PARTS", max_open)
    expected, plan = rrm_core.reweight(C, W, mu=0.3, **OK)
    for i, sizes in enumerate(CUTS):
        losses = write_parts(tmp_path / f"losses{i}", C, sizes, kind)
        old = write_parts(tmp_path / f"old{i}", W, CUTS[i - 1], KINDS[i % len(KINDS)])
        for given, weights in ((losses, tmp_path / f"old{i}"), (tmp_path / f"losses{i}", old)):
            out = tmp_path / "w.npy"
            assert rrm_core.stream.plan(given, threads=1 + i % 3, **OK) == plan
            assert rrm_core.stream.reweight(given, out, weights=weights, mu=0.3, threads=3, **OK) == plan
            assert_same_bits(np.load(out), expected)


def test_list_keeps_its_own_order(tmp_path):
    paths = write_parts(tmp_path / "l", C, [1000] * 3, "npy")
    out = tmp_path / "w.npy"
    rrm_core.stream.reweight([paths[2], str(paths[0]), paths[1]], out, **OK)
    assert_same_bits(np.load(out), rrm_core.reweight(np.roll(C, 1000), **OK)[0])


def test_natural_order():
    names = ["a", "part-1", "part-01", "part-2", "part-2b", "part-10", "x1y2", "x1y10", "x2y1", "10", "9", "\udce9"]
    want = ["9", "10", "a", "part-01", "part-1", "part-2", "part-2b", "part-10", "x1y2", "x1y10", "x2y1", "\udce9"]
    random.Random(0).shuffle(names)
    assert sorted(names, key=parts._natural_key) == want


def test_files_that_are_left_out(tmp_path):
    write_parts(tmp_path / "l", C, [1000] * 3, "parquet")
    for name in ("_SUCCESS", "_metadata", ".part-1.parquet.crc", "part-1.parquet.crc", ".DS_Store", "._part-1.parquet"):
        (tmp_path / "l" / name).write_bytes(b"no losses")
    assert rrm_core.stream.plan(tmp_path / "l", **OK) == rrm_core.plan(C, **OK)


def assert_rejected(error, message, losses, out="w.npy", **more):
    with pytest.raises(error) as caught:
        rrm_core.stream.reweight(losses, out, **OK | more)
    assert message in str(caught.value), str(caught.value)


def test_mixed_kinds_and_types(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_parts(tmp_path / "l", C, [1000] * 3, "npy")
    odd = write_part(tmp_path / "l" / "part-1b", C, "parquet")
    assert_rejected(ValueError, "losses must be files of one kind, got l/part-1b.parquet beside l/part-0.npy", "l")
    odd.unlink()
    odd = write_part(tmp_path / "l" / "part-1b", C[:0].astype(float), "npy")
    message = "losses (l/part-1b.npy) holds float64, but losses (l/part-0.npy) float32; convert one of them"
    assert_rejected(TypeError, message, "l")
    odd.unlink()
    (tmp_path / "l" / "part-1b").mkdir()
    assert_rejected(ValueError, "according to its suffix, got l/part-1b", "l")
    (tmp_path / "l" / "part-1b").rename(tmp_path / "l" / "part-1b.npy")
    assert_rejected(ValueError, "losses (l/part-1b.npy) is a folder", "l")
    assert_rejected(ValueError, "losses (l/part-1b.npy) is a folder", ["l/part-0.npy", "l/part-1b.npy"])
    (tmp_path / "l" / "part-1b.npy").rmdir()
    (tmp_path / "l" / "notes.txt").write_text("no losses")
    assert_rejected(ValueError, "according to its suffix, got l/notes.txt", "l")
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "_SUCCESS").touch()
    assert_rejected(ValueError, "losses: the folder none has no files to read", "none")
    assert_rejected(FileNotFoundError, "l/part-7.npy", ["l/part-0.npy", "l/part-7.npy"])
    assert_rejected(TypeError, "a list of files must hold paths only, got ndarray at 1", ["l/part-0.npy", C])
    assert_rejected(ValueError, "column='a' names a column of a Parquet or Arrow file", ["l/part-0.npy"], column="a")
    assert_rejected(ValueError, "weights must have one entry per loss, got 1_000", C, weights=["l/part-0.npy"], mu=0.5)


@pytest.mark.parametrize("kind", ["npy", "parquet", "arrow", "lz4"])
def test_row_of_a_nan(kind, tmp_path):
    c = C.copy()
    c[[2021, 2500]] = np.nan
    sizes = [1000, 0, 1000, 0, 0, 1000, 0]
    paths = write_parts(tmp_path / "l", c, sizes, kind)
    for given in (paths, tmp_path / "l"):
        assert_rejected(ValueError, "2 NaN among 3_000, the first at index 2021; pass nan='prune' to treat", given)
        assert_rejected(ValueError, f"; it is row 21 of {paths[5]}", given)
    c[2000] = -np.inf
    write_part(tmp_path / "l" / "part-5", c[2000:], kind)
    assert_rejected(ValueError, f"; it is row 0 of {paths[5]}", paths, nan="prune")
    assert_rejected(ValueError, f"; it is row 21 of {paths[5]}", paths)


@pytest.mark.parametrize("kind", ["npy", "parquet", "arrow", "lz4"])
def test_damaged_part_is_named(kind, tmp_path):
    paths = write_parts(tmp_path / "l", C, [1000] * 3, kind)
    content = paths[1].read_bytes()
    paths[1].write_bytes(content[:-1000])
    assert_rejected(ValueError, f"losses ({paths[1]}) is", tmp_path / "l")


CHANGES = {
    "modified": lambda paths: os.utime(paths[1], (1, 1)),
    "removed": lambda paths: paths[1].unlink(),
    "added": lambda paths: np.save(paths[1].with_name("part-1b.npy"), C),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("max_open", [2, 64])
@pytest.mark.parametrize("kind", ["npy", "parquet", "arrow"])
def test_changes_are_noticed(kind, max_open, change, tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "MAX_OPEN_PARTS", max_open)
    paths = write_parts(tmp_path / "l", C, [1000] * 3, kind)

    def progress(done, total, what):
        if (done, what) == (0, "round 2"):
            CHANGES[change](paths)

    assert_rejected((RuntimeError, FileNotFoundError), str(tmp_path / "l"), tmp_path / "l", progress=progress)


@pytest.mark.parametrize("kind", ["npy", "arrow"])
def test_closed_part_that_was_replaced_is_not_read(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "MAX_OPEN_PARTS", 2)
    paths = write_parts(tmp_path / "l", C, [1000] * 3, kind)
    source = open_source("losses", paths, None, 1 << 20)
    chunk = next(source.chunks(100))
    memory = np.empty(800, np.uint8)
    assert_same_bits(chunk.read(0, 100, memory), C[:100])
    write_part(tmp_path / "other", C[::-1], kind).replace(paths[0])
    with pytest.raises(RuntimeError, match=r"part-0.* changed while it was read: its size, modification time or inode"):
        chunk.read(0, 100, memory)


@pytest.mark.skipif(sys.platform != "linux", reason="reads the open files from /proc")
def test_number_of_open_files(tmp_path):
    resource = pytest.importorskip("resource")
    write_parts(tmp_path / "l", C, [10] * (N // 10), "npy")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    n_open = max(int(path.name) for path in Path("/proc/self/fd").iterdir())
    resource.setrlimit(resource.RLIMIT_NOFILE, (n_open + 100, limits[1]))
    try:
        assert rrm_core.stream.plan(tmp_path / "l", threads=2, **OK) == rrm_core.plan(C, **OK)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_out_replaces_no_part(tmp_path):
    losses = write_parts(tmp_path / "l", C, [1000] * 3, "npy")
    old = write_parts(tmp_path / "w", W, [1000] * 3, "npy")
    assert_rejected(ValueError, "out is one of the files of the losses", losses, losses[1])
    assert_rejected(ValueError, "out is one of the files of the weights", losses, old[1], weights=old, mu=0.5)
    for name in ("new.npy", "part-1.npy"):
        folder = tmp_path / "l"
        assert_rejected(ValueError, "out lies in the folder of the losses", folder, folder / name)
        folder = tmp_path / "w"
        assert_rejected(
            ValueError, "out lies in the folder of the weights", losses, folder / name, weights=folder, mu=0.5
        )
    assert_same_bits(np.load(losses[1]), C[1000:2000])


def test_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    paths = write_parts(tmp_path / "l", C, [1000] * 3, "npy")
    write_parts(tmp_path / "old", W, [1, N - 1], "parquet")
    expected, _ = rrm_core.reweight(C, W, mu=0.3, **OK)
    for given in (["l"], [str(path) for path in paths]):
        command = ["reweight", *given, "-o", "w.npy", "--weights", "old", "--mu", "0.3", "--contamination", "0.2"]
        assert main(command) == 0
        assert_same_bits(np.load("w.npy"), expected)
        assert main(["plan", *given, "--contamination", "0.2", "--json"]) == 0
    assert '"losses": [' in capsys.readouterr().out
    assert main(["plan", "l", "missing.npy", "--contamination", "0.2"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
