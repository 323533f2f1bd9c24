"""For every source and sink the weights are those of `rrm_core.reweight`, bit for bit."""

from __future__ import annotations

from itertools import cycle, product

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest

import rrm_core
from rrm_core.definition.formats import FLOAT32
from rrm_core.stream import arrow_source, parquet_source
from support.families import DTYPES, FAMILIES, LARGE, assert_same_bits, losses, old_weights, reference, reweight_cases
from support.frameworks import make

N = 4097
SUFFIXES = ("npy", "parquet", "arrow", "feather")


class ReusedMemory:
    """Chunks that reuse the same memory, as when they are read from a socket."""

    def __init__(self, array, sizes):
        self.array, self.sizes = array, sizes

    def __iter__(self):
        memory, first = np.empty(max(self.sizes), self.array.dtype), 0
        for size in cycle(self.sizes):
            if first >= len(self.array):
                break
            some = self.array[first : first + size]
            memory[: len(some)] = some
            yield memory[: len(some)]
            memory[:] = 0.125  # a later read gives wrong losses
            first += size


def make_source(kind, array, path):
    """Return `array` as a source of a given kind; files get `path` with the suffix of the kind."""
    path = path.with_name(f"{path.name}.{kind.partition(' ')[0]}")
    table = None
    if kind.partition(" ")[0] in ("parquet", "arrow", "feather"):
        table = pa.table({"index": pa.array(range(len(array))), "value": pa.array(array, from_pandas=False)})
    match kind:
        case "npy":
            np.save(path, array)
        case "npy swapped":
            np.save(path, array.astype(array.dtype.newbyteorder()))
        case "parquet":
            pa.parquet.write_table(table, path, row_group_size=1000)
        case "parquet one group":
            pa.parquet.write_table(table, path, compression="zstd", data_page_size=2000)
        case "arrow":
            with pa.ipc.new_file(path, table.schema) as file:
                file.write_table(table)
        case "arrow batches":
            with pa.ipc.new_file(path, table.schema) as file:
                file.write_table(table, max_chunksize=333)
        case "feather":
            pa.feather.write_feather(table, path, chunksize=500)
        case "feather one batch":
            pa.feather.write_feather(table, path, chunksize=len(array), compression="zstd")
        case "array":
            return array
        case "every other":
            return np.repeat(array, 2)[::2]
        case "memmap":
            np.save(path.with_suffix(".npy"), array)
            return np.load(path.with_suffix(".npy"), mmap_mode="r")
        case "tensor":
            return make("torch", array)
        case "list":
            return [*np.array_split(array, 5), array[:0]]
        case "short chunks":
            return [array[i : i + 37] for i in range(0, len(array), 37)]
        case "reused memory":
            return ReusedMemory(array, [1, 400, 1003])
    return path


TABLES = ("parquet", "parquet one group", "arrow", "arrow batches", "feather", "feather one batch")
FILES = ("npy", "npy swapped", "memmap", *TABLES)
MEMORY = ("array", "every other", "tensor", "list", "short chunks", "reused memory")


def read_weights(path):
    if path.suffix == ".npy":
        return np.load(path)
    table = pa.parquet.read_table(path) if path.suffix == ".parquet" else pa.feather.read_table(path, memory_map=False)
    assert table.column_names == ["sample_weight"]
    return table.column(0).to_numpy()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_source_and_sink(family, dtype, tmp_path, small_tiles):
    c, w = losses(family, N, dtype), old_weights(N, dtype)
    kinds = [
        kind
        for kind in FILES + MEMORY
        if dtype != "bfloat16" or kind in ("array", "every other", "tensor", "list", "reused memory")
    ]
    # Sources, sinks and rules alternate with different periods.
    turn = 7 * list(FAMILIES).index(family) + 3 * list(DTYPES).index(dtype)
    asked = list(zip(reweight_cases(family), reference(family, N, dtype), strict=True))
    for i in range(turn, turn + 9):
        (rule, mu, with_old), (expected, plan) = asked[(4 * i) % len(asked)]
        kind, old_kind = kinds[i % len(kinds)], (FILES + MEMORY)[(4 * i + 2) % 15]
        end = (*SUFFIXES, "call")[(i + i // 15) % 5]
        label = f"{kind}, {old_kind}, {end}, {rule}, {mu}"
        source = make_source(kind, c, tmp_path / f"losses{i}")
        old = make_source(old_kind, w, tmp_path / f"old{i}") if with_old else None
        more = {"weights": old, "mu": mu, "threads": 1 + i % 3}
        if end == "call":
            chunks = []
            assert rrm_core.stream.reweight(source, chunks.append, **more, **rule) == plan, label
            actual = np.concatenate(chunks)
        else:
            out = tmp_path / f"new{i}.{end}"
            assert rrm_core.stream.reweight(source, out, **more, **rule) == plan, label
            actual = read_weights(out)
        assert_same_bits(actual, expected, label)
        assert rrm_core.stream.plan(source, threads=2, **rule) == plan, label


@pytest.mark.parametrize("with_old", [False, True], ids=["without old weights", "with old weights"])
@pytest.mark.parametrize(("kind", "old_kind"), [*product(FILES + MEMORY, ["list", "npy"]), ("npy", "parquet")])
def test_tiles_of_the_default_size(kind, old_kind, with_old, tmp_path):
    c, w = losses("exponential", LARGE, "float32"), old_weights(LARGE, "float32")
    more = {"mu": 0.3} if with_old else {}
    expected, plan = rrm_core.reweight(c, w if with_old else None, contamination=0.29, **more)
    out = tmp_path / "new.npy"
    if with_old:
        more["weights"] = make_source(old_kind, w, tmp_path / "old")
    assert rrm_core.stream.reweight(make_source(kind, c, tmp_path / "losses"), out, contamination=0.29, **more) == plan
    assert_same_bits(np.load(out), expected)


@pytest.mark.parametrize("n", [1, 2, 511, 512, 513, 1535, 1536, 1537, 3 * 1536])
@pytest.mark.parametrize("kind", FILES + MEMORY)
def test_sizes_around_tile_boundaries(kind, n, tmp_path, small_tiles):
    c, w = losses("exponential", n, "float32"), old_weights(n, "float32")
    expected, plan = rrm_core.reweight(c, w, contamination=0.29, mu=0.3)
    out = tmp_path / "new.npy"
    source = make_source(kind, c, tmp_path / "losses")
    assert rrm_core.stream.reweight(source, out, weights=w, mu=0.3, contamination=0.29, threads=2) == plan
    assert_same_bits(np.load(out), expected)


def test_function_receives_arrays_of_the_chunk_sizes(small_tiles):
    c, w = losses("exponential", N, "float32"), old_weights(N, "float32")
    sizes = [3000, 1, 0, 96, 1000]
    chunks = np.split(c, np.cumsum(sizes)[:-1])
    expected, _ = rrm_core.reweight(c, w, contamination=0.2, mu=0.3)
    for threads, old in product((1, 3), (w, list(np.array_split(w, 7)))):
        got = []
        rrm_core.stream.reweight(chunks, got.append, weights=old, mu=0.3, contamination=0.2, threads=threads)
        assert [len(weights) for weights in got] == sizes
        assert_same_bits(np.concatenate(got), expected)


@pytest.mark.parametrize("end", SUFFIXES)
def test_file_does_not_depend_on_memory_or_threads(end, tmp_path):
    c = losses("exponential", LARGE, "float32")
    contents = set()
    for i, (memory, threads) in enumerate([(16 << 20, 1), (64 << 20, 2), (1 << 30, 5)]):
        out = tmp_path / f"{i}.{end}"
        rrm_core.stream.reweight(c, out, contamination=0.2, memory=memory, threads=threads)
        contents.add(out.read_bytes())
    assert len(contents) == 1


@pytest.mark.parametrize("end", SUFFIXES)
def test_old_weights_can_be_replaced(end, tmp_path, small_tiles):
    c = losses("exponential", N, "float32")
    source, out, expected = make_source("npy", c, tmp_path / "losses"), tmp_path / f"w.{end}", None
    for mu in (1.0, 0.3, 0.3):
        expected, _ = rrm_core.reweight(c, expected, mu=mu, contamination=0.2)
        old = {} if mu == 1 else {"weights": out}
        rrm_core.stream.reweight(source, out, mu=mu, contamination=0.2, **old)
        assert_same_bits(read_weights(out), expected)
    assert sorted(tmp_path.iterdir()) == sorted([source, out])


def test_old_weights_default_to_ones(tmp_path):
    c = losses("exponential", N, "float32")
    rrm_core.stream.reweight(c, tmp_path / "w.npy", mu=0.3, contamination=0.2)
    assert_same_bits(np.load(tmp_path / "w.npy"), rrm_core.reweight(c, mu=0.3, contamination=0.2)[0])


def test_old_weights_are_not_read_at_mu_1(tmp_path):
    class Unread:
        def __iter__(self):
            pytest.fail("the weights were read")
            yield

    c = losses("exponential", N, "float32")
    rrm_core.stream.reweight(c, tmp_path / "w.npy", weights=Unread(), contamination=0.2)
    assert_same_bits(np.load(tmp_path / "w.npy"), rrm_core.reweight(c, contamination=0.2)[0])


def nan_as_nulls(array):
    """Return a pyarrow array with nulls for NaN; the memory below the nulls holds numbers."""
    return pa.array(np.where(np.isnan(array), array.dtype.type(0.5), array), mask=np.isnan(array))


@pytest.mark.parametrize("first", [0, 1, 8, 13])
def test_column_with_an_offset(first):
    c = losses("NaN", 100, "float32")
    for column in (pa.array(c), nan_as_nulls(c)):
        assert_same_bits(
            parquet_source.column_values(column[first:], FLOAT32), column.to_numpy(zero_copy_only=False)[first:]
        )


@pytest.mark.parametrize("kind", ["parquet", "arrow", "feather"])
def test_nulls_count_as_nan(kind, tmp_path, small_tiles):
    c, w = losses("NaN", N, "float32"), old_weights(N, "float32")
    w_with_nan = w.copy()
    w_with_nan[3::7] = np.nan
    paths = []
    for name, array in (("losses", c), ("old", w), ("old with nulls", w_with_nan)):
        table = pa.table({"value": nan_as_nulls(array)})
        assert table.column(0).null_count == np.isnan(array).sum()
        path = tmp_path / f"{name}.{kind}"
        if kind == "parquet":
            pa.parquet.write_table(table, path, row_group_size=1000)
        else:
            pa.feather.write_feather(
                table, path, chunksize=777, compression="lz4" if kind == "feather" else "uncompressed"
            )
        paths.append(path)
    out = tmp_path / "w.npy"
    rule = {"mu": 0.3, "contamination": 0.3, "nan": "prune"}
    expected, plan = rrm_core.reweight(c, w, **rule)
    assert rrm_core.stream.reweight(paths[0], out, weights=paths[1], **rule) == plan
    assert_same_bits(np.load(out), expected)
    with pytest.raises(ValueError, match=rf"{np.isnan(w_with_nan).sum():_} of {N:_} are not, the first nan at index 3"):
        rrm_core.stream.reweight(paths[0], out, weights=paths[2], **rule)
    with pytest.raises(
        ValueError, match=f"{np.isnan(c).sum():_} NaN among {N:_}, the first at index {np.isnan(c).argmax()};"
    ):
        rrm_core.stream.plan(paths[0], contamination=0.3)


@pytest.mark.parametrize(("dtype", "rounds"), [("float16", 1), ("bfloat16", 1), ("float32", 2), ("float64", 2)])
def test_progress_reports_every_pass(dtype, rounds, small_tiles):
    reports = []
    c = losses("same leading bits", N, dtype)
    rrm_core.stream.reweight(c, lambda _: None, contamination=0.2, progress=lambda *report: reports.append(report))
    names = [*(f"round {i + 1}" for i in range(rounds)), "writing"]
    assert list(dict.fromkeys(what for _, _, what in reports)) == names
    for name in names:
        course = [done for done, _, what in reports if what == name]
        assert course == sorted(course)
        assert (course[0], course[-1]) == (0, N)
    assert {total for _, total, _ in reports} == {N}


def test_progress_without_a_known_total():
    reports = []
    chunks = [losses("exponential", 100, "float32")] * 3
    rrm_core.stream.reweight(chunks, lambda _: None, gamma=1.0, progress=lambda *report: reports.append(report))
    assert (300, None, "round 1") in reports
    assert reports[-1] == (300, 300, "writing")


@pytest.mark.parametrize(("kind", "stable"), [("arrow", True), ("feather", True), ("feather one batch", False)])
def test_large_compressed_batches_are_decoded_one_at_a_time(kind, stable, tmp_path, small_tiles):
    path = make_source(kind, losses("exponential", N, "float32"), tmp_path / "losses")
    column = arrow_source.ArrowColumn("losses", path, "value", 1 << 20)
    assert (column.stable, column.random_access) == (stable, kind == "arrow")
    column.close()
