"""Arrow files: the file and the streaming format, empty batches, omitted fields, columns of other types beside."""

from __future__ import annotations

import os
import struct

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pytest

import rrm_core
from rrm_core.stream import arrow_source
from support.families import assert_same_bits

N = 1000
C = np.random.default_rng(0).exponential(size=N)
W = np.random.default_rng(1).exponential(size=N)
OK = {"contamination": 0.2}
CUTS = {
    "first": [0, N],
    "middle": [500, 0, 500],
    "last": [N, 0],
    "everywhere": [0, 0, 1, 0, 0, 0, N - 8, 7, 0, 0],
    "sizes that are no multiples of eight": [13, 3, 500, 0, N - 516],
}
COMPRESSIONS = [None, "lz4", "zstd"]
FORMATS = {"file": pa.ipc.new_file, "stream": pa.ipc.new_stream}

LISTS = [[1, 2], None, [], [3]]
OTHER_COLUMNS = {
    "null": pa.nulls(4),
    "bool": pa.array([True, None, False, True]),
    "string": pa.array(["a", None, "", "long" * 9]),
    "large_string": pa.array(["a", None, "", "b"], pa.large_string()),
    "string_view": pa.array(["a", None, "", "a string that does not fit into a view"], pa.string_view()),
    "binary_view": pa.array([b"x" * 30, b"y" * 40, None, b""], pa.binary_view()),
    "decimal": pa.array([1, 2, None, 4], pa.decimal128(9, 2)),
    "fixed_size_binary": pa.array([b"ab", None, b"cd", b"ef"], pa.binary(2)),
    "timestamp": pa.array([1, None, 3, 4], pa.timestamp("ns", "UTC")),
    "list": pa.array(LISTS),
    "large_list": pa.array(LISTS, pa.large_list(pa.int64())),
    "list_view": pa.array(LISTS, pa.list_view(pa.int64())),
    "fixed_size_list": pa.array([[1, 2], None, [5, 6], [7, 8]], pa.list_(pa.int64(), 2)),
    "map": pa.array([[("a", 1)], None, [], [("b", 2)]], pa.map_(pa.string(), pa.int64())),
    "struct": pa.array([{"a": 1.0, "b": "x"}, None, {"a": 2.0, "b": None}, {"a": None, "b": "y"}]),
    "list of views": pa.array([["a"], ["b" * 40], None, []], pa.list_(pa.string_view())),
    "dictionary": pa.array(["a", "b", None, "a"]).dictionary_encode(),
    "dictionary of lists": pa.DictionaryArray.from_arrays(pa.array([0, 0, None, 1]), pa.array([[1, 2], [3]])),
    "sparse union": pa.UnionArray.from_sparse(
        pa.array([0, 1, 0, 1], pa.int8()), [pa.array([1, 2, 3, 4]), pa.array(["a", "b", "c", "d"])]
    ),
    "dense union": pa.UnionArray.from_dense(
        pa.array([0, 1, 0, 1], pa.int8()),
        pa.array([0, 0, 1, 1], pa.int32()),
        [pa.array([1, 2]), pa.array(["a", "b"])],
    ),
    "run_end_encoded": pa.RunEndEncodedArray.from_arrays(pa.array([1, 4], pa.int32()), pa.array(["x", None])),
}


def write(path, batches, schema, format="file", **options):
    with FORMATS[format](path, schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return path


def cut(array, sizes, name="loss"):
    """Return record batches of these sizes."""
    starts = np.cumsum([0, *sizes[:-1]])
    return [pa.record_batch({name: array[start : start + n]}) for start, n in zip(starts, sizes, strict=True)]


def weights_from(losses, **more):
    chunks = []
    plan = rrm_core.stream.reweight(losses, chunks.append, **{**OK, **more})
    return np.concatenate(chunks), plan


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_empty_batches(dtype, compression, format, tmp_path):
    c = C.astype(dtype)
    w = W.astype(rrm_core.reweight(c, **OK)[0].dtype)
    for label, sizes in CUTS.items():
        losses = write(
            tmp_path / "l.arrow", batches := cut(c, sizes), batches[0].schema, format, compression=compression
        )
        for mu, old in ((1.0, None), (0.3, w)):
            expected, plan = rrm_core.reweight(c, old, mu=mu, **OK)
            actual, actual_plan = weights_from(losses, weights=old, mu=mu, threads=2)
            assert actual_plan == plan
            assert_same_bits(actual, expected, label)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_weights_in_other_batches(compression, format, tmp_path):
    expected, _ = rrm_core.reweight(C, W, mu=0.3, **OK)
    schema = pa.schema([("weight", pa.float64())])
    for loss_sizes in CUTS.values():
        losses = write(
            tmp_path / "l.arrow", batches := cut(C, loss_sizes), batches[0].schema, format, compression=compression
        )
        for weight_sizes in CUTS.values():
            old = write(tmp_path / "w.arrow", cut(W, weight_sizes, "weight"), schema, format, compression=compression)
            actual, _ = weights_from(losses, weights=old, mu=0.3)
            assert_same_bits(actual, expected)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_files_without_rows(compression, format, tmp_path):
    empty = pa.record_batch({"loss": C[:0]})
    for batches in ([], [empty], [empty, empty]):
        path = write(tmp_path / "l.arrow", batches, empty.schema, format, compression=compression)
        with pytest.raises(ValueError, match="no losses were counted; at least one sample is needed"):
            rrm_core.stream.plan(path, **OK)
        with pytest.raises(ValueError, match="weights must have one entry per loss, got 0 for 1_000 losses"):
            rrm_core.stream.reweight(C, lambda _: None, weights=path, mu=0.3, **OK)


@pytest.mark.parametrize("version", [pa.ipc.MetadataVersion.V4, pa.ipc.MetadataVersion.V5], ids=["V4", "V5"])
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_columns_of_other_types(compression, format, version, tmp_path):
    rows = np.array([1.5, np.nan, 2.5, 3.5], np.float32)
    loss = pa.array(rows, from_pandas=True)
    for label, other in OTHER_COLUMNS.items():
        batch = pa.record_batch({"before": other, "loss": loss, "after": other})
        path = write(
            tmp_path / "l.arrow",
            [batch, batch.slice(0, 0), batch.slice(1, 2), batch],
            batch.schema,
            format,
            compression=compression,
            metadata_version=version,
            use_legacy_format=version == pa.ipc.MetadataVersion.V4,
        )
        want = np.concatenate([rows, rows[1:3], rows])
        actual, _ = weights_from(path, column="loss", nan="prune", threads=1)
        assert_same_bits(actual, rrm_core.reweight(want, nan="prune", **OK)[0], label)


def test_all_columns_in_one_table(tmp_path):
    rows = np.array([1.5, 0.5, 2.5, 3.5])
    batch = pa.record_batch({**OTHER_COLUMNS, "loss": rows})
    path = write(tmp_path / "l.arrow", [batch] * 3, batch.schema)
    want = np.tile(rows, 3)
    assert rrm_core.stream.plan(path, column="loss", **OK) == rrm_core.plan(want, **OK)
    with pytest.raises(ValueError, match=r"has no column 'lost'; there are 'null' \(null\), .* and 2 more$"):
        rrm_core.stream.plan(path, column="lost", **OK)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_sliced_columns_and_null_counts(compression, format, tmp_path):
    values = pa.array(C, mask=np.arange(N) % 7 == 0)  # the numbers below the nulls are not NaN
    no_nulls_but_a_bitmap = pa.Array.from_buffers(
        pa.float64(), N, [pa.py_buffer(b"\xff" * (N // 8)), pa.py_buffer(C.tobytes())], null_count=-1
    )
    schema = pa.schema([("loss", pa.float64())])
    slices = [values[3:11], values[13:13], values[501:977], no_nulls_but_a_bitmap[5:800], pa.nulls(9, pa.float64())]
    want = np.concatenate([part.to_numpy(zero_copy_only=False) for part in slices])
    path = write(
        tmp_path / "l.arrow",
        [pa.record_batch([part], schema=schema) for part in slices],
        schema,
        format,
        compression=compression,
    )
    actual, _ = weights_from(path, nan="prune")
    assert_same_bits(actual, rrm_core.reweight(want, nan="prune", **OK)[0])


@pytest.mark.parametrize("n_nulls", [-2, -(2**60), N + 1])
def test_impossible_null_count(n_nulls, tmp_path):
    path = write(tmp_path / "l.arrow", cut(C, [N]), pa.schema([("loss", pa.float64())]), "stream")
    content = path.read_bytes()
    assert content.count(struct.pack("<qq", N, 0)) == 1
    path.write_bytes(content.replace(struct.pack("<qq", N, 0), struct.pack("<qq", N, n_nulls)))
    with pytest.raises(ValueError, match=f"record batch 0 has {N} rows, but {n_nulls} nulls in the column"):
        rrm_core.stream.plan(path, **OK)


@pytest.mark.parametrize("format", FORMATS)
def test_nulls_that_were_not_counted(format, tmp_path):
    values = pa.array(C, mask=np.arange(N) % 7 == 0)  # the numbers below the nulls are not NaN
    batch = pa.record_batch({"loss": values})
    path = write(tmp_path / "l.arrow", [batch], batch.schema, format)
    content = path.read_bytes()
    node = struct.pack("<qq", N, values.null_count)
    assert content.count(node) == 1
    path.write_bytes(content.replace(node, struct.pack("<qq", N, -1)))
    want = values.to_numpy(zero_copy_only=False)
    assert rrm_core.stream.plan(path, nan="prune", **OK) == rrm_core.plan(want, nan="prune", **OK)


def write_lz4(path):
    """Write one compressed batch; return the content of the file and where the column states its decoded size."""
    write(path, cut(C, [N]), pa.schema([("loss", pa.float64())]), compression="lz4")
    content = path.read_bytes()
    return content, content.index((8 * N).to_bytes(8, "little") + b"\x04\x22\x4d\x18")


@pytest.mark.parametrize("size", [0, 8 * N - 8, (4 << 20) + 8, 2**62, -2])
def test_compressed_batch_that_states_another_size(size, tmp_path):
    path = tmp_path / "l.arrow"
    content, start = write_lz4(path)
    path.write_bytes(content[:start] + struct.pack("<q", size) + content[start + 8 :])
    message = f"8_000 bytes are expected, its buffer would have {size:_}, and 4_194_304 are available"
    with pytest.raises(ValueError, match=message):
        rrm_core.stream.plan(path, memory=16 << 20, **OK)


def test_compressed_batch_that_is_stored_as_it_is(tmp_path):
    path = tmp_path / "l.arrow"
    content, start = write_lz4(path)
    stored = (-1).to_bytes(8, "little", signed=True) + C.tobytes()
    path.write_bytes(content[:start] + stored + content[start + len(stored) :])
    assert rrm_core.stream.plan(path, **OK) == rrm_core.plan(C, **OK)


def test_stream_without_its_end_and_with_dictionaries(tmp_path):
    labels = pa.array(["a", "b"] * (N // 2)).dictionary_encode()
    table = pa.table({"label": labels, "loss": C})
    path = tmp_path / "l.arrow"
    with pa.ipc.new_stream(path, table.schema) as writer:
        writer.write_table(table, max_chunksize=100)
    content = path.read_bytes()
    assert content.endswith(b"\xff\xff\xff\xff\0\0\0\0")
    path.write_bytes(content[:-8])
    assert rrm_core.stream.plan(path, **OK) == rrm_core.plan(C, **OK)
    path.write_bytes(content[:-9])
    with pytest.raises(ValueError, match="is not a complete Arrow file: the body of the message at byte"):
        rrm_core.stream.plan(path, **OK)


def test_stream_is_read_at_random(tmp_path):
    path = write(tmp_path / "l.arrow", cut(C, [400, 600]), pa.schema([("loss", pa.float64())]), "stream")
    source = arrow_source.ArrowColumn("losses", path, None, 1 << 20)
    assert source.random_access
    source.close()


def test_stream_that_changes_is_noticed(tmp_path):
    path = write(tmp_path / "l.arrow", cut(C, [400, 600]), pa.schema([("loss", pa.float64())]), "stream")

    def change(done, total, what):
        if what == "round 2":
            os.utime(path, (1, 1))

    with pytest.raises(RuntimeError, match="changed while it was read"):
        rrm_core.stream.plan(path, progress=change, **OK)


def test_big_endian_file(tmp_path):
    path = write(tmp_path / "l.arrow", cut(C.byteswap(), [N]), pa.schema([("loss", pa.float64())]), "stream")
    change_endianness(path, 1)
    assert rrm_core.stream.plan(path, **OK) == rrm_core.plan(C, **OK)


@pytest.mark.parametrize("value", [2, 4])
def test_unknown_endianness(value, tmp_path):
    path = write(tmp_path / "l.arrow", cut(C, [N]), pa.schema([("loss", pa.float64())]), "stream")
    change_endianness(path, value)
    with pytest.raises(ValueError, match=f"its endianness is {value}, which is neither 0"):
        rrm_core.stream.plan(path, **OK)


def change_endianness(path, value):
    """Set the endianness in the schema of a stream."""
    content = bytearray(path.read_bytes())
    message = memoryview(content)[8 : 8 + struct.unpack_from("<i", content, 4)[0]]
    root = struct.unpack_from("<I", message, 0)[0]
    header = root + field_offset(message, root, 2)
    schema = header + struct.unpack_from("<I", message, header)[0]
    assert not field_offset(message, schema, 0), "the default is omitted"
    vtable = schema - struct.unpack_from("<i", message, schema)[0]
    # The table has no room: refer to the same number of another field.
    place = bytes(message).index(struct.pack("<h", value), schema)
    struct.pack_into("<H", message, vtable + 4, place - schema)
    path.write_bytes(content)


def field_offset(message, table, number):
    vtable = table - struct.unpack_from("<i", message, table)[0]
    return struct.unpack_from("<H", message, vtable + 4 + 2 * number)[0]
