"""Files that state or decode to more than fits: refused before they are decoded, with bounded memory."""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
import zlib

import numpy as np
import pytest

from rrm_torch.data import images, memory_limit
from rrm_torch.data.idx import read_idx
from rrm_torch.data.npz import read_npz
from support.peak_memory import needs_proc, run_program

MIB = 1 << 20


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def write_zip(path, members, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def idx_header(shape, code=0x08):
    return bytes((0, 0, code, len(shape))) + struct.pack(f">{len(shape)}I", *shape)


def test_default_is_a_quarter_of_the_memory(monkeypatch):
    monkeypatch.setattr(memory_limit, "_memory", lambda: 4000)
    assert memory_limit.check_max_bytes(None) == 1000
    assert memory_limit.check_max_bytes(7) == 7
    for invalid in (0, -1, 1.5, "1", True):
        with pytest.raises(ValueError, match="max_bytes must be a whole number of bytes, at least 1"):
            memory_limit.check_max_bytes(invalid)
    monkeypatch.undo()
    assert 1 << 20 < memory_limit.check_max_bytes(None) < 1 << 50


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_idx_beyond_max_bytes(suffix, tmp_path):
    path = tmp_path / f"array{suffix}"
    content = idx_header((10, 100)) + bytes(1000)
    path.write_bytes(gzip.compress(content) if suffix else content)
    assert read_idx(path, 2, max_bytes=1000).shape == (10, 100)
    with pytest.raises(ValueError, match=r"array.* would take 1,000 bytes, of 999 that are left of max_bytes; pass"):
        read_idx(path, 2, max_bytes=999)


def test_idx_files_of_a_folder_count_together(tmp_path):
    arrays = {"train-images-idx3": (4, 2, 2), "train-labels-idx1": (4,), "t10k-images-idx3": (4, 2, 2)}
    arrays["t10k-labels-idx1"] = (4,)
    for name, shape in arrays.items():
        array = np.arange(np.prod(shape), dtype=np.uint8) % 3
        (tmp_path / f"{name}-ubyte").write_bytes(idx_header(shape) + array.tobytes())
    assert images.load(tmp_path, max_bytes=40).n_classes == 3
    with pytest.raises(ValueError, match="t10k-labels-idx1-ubyte would take 4 bytes, of 3 that are left"):
        images.load(tmp_path, max_bytes=39)


def test_npz_arrays_count_together(tmp_path):
    path = tmp_path / "data.npz"
    np.savez_compressed(path, a=np.zeros(100, np.uint8), b=np.zeros(100, np.uint8), other=np.zeros(10_000))
    arrays, names = read_npz(path, ("a", "b"), 200)
    assert (set(arrays), set(names)) == ({"a", "b"}, {"a", "b", "other"})
    with pytest.raises(ValueError, match=r"b\.npy would take 100 bytes, of 99 that are left of max_bytes"):
        read_npz(path, ("a", "b"), 199)


BAD_MEMBERS = {
    "header states more": (npy(np.zeros(8)).replace(b"(8,)", b"(9,)"), "must have 72 bytes for its shape"),
    "header states less": (npy(np.zeros(8)).replace(b"(8,)", b"(7,)"), "must have 56 bytes for its shape"),
    "header states far more": (
        npy(np.zeros(8)).replace(b"(8,), }            ", b"(1000000000000,), }"),
        "would take 8,000,000,000,000 bytes",
    ),
    "no header": (b"text", "EOF"),
    "pickle": (npy(np.zeros(8)).replace(b"<f8", b"|O8"), "consists of pickled objects, which are never loaded"),
    "type without bytes": (npy(np.zeros(8)).replace(b"<f8'", b"|V0'")[:-64], "has a type without bytes"),
}


@pytest.mark.parametrize("case", BAD_MEMBERS)
def test_members_that_lie(case, tmp_path):
    content, message = BAD_MEMBERS[case]
    path = write_zip(tmp_path / "data.npz", {"a.npy": content})
    with pytest.raises(ValueError, match=rf"data\.npz can't be read: .*{message}"):
        read_npz(path, ("a",))


def test_npz_with_other_compressions(tmp_path):
    for compression in (zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2):
        path = write_zip(tmp_path / "data.npz", {"a.npy": npy(np.zeros(8))}, compression)
        with pytest.raises(ValueError, match=r"a\.npy is compressed in a way that numpy\.savez doesn't use"):
            read_npz(path, ("a",))


def test_npz_directory_that_lies(tmp_path):
    content = bytearray(write_zip(tmp_path / "data.npz", {"a.npy": npy(np.zeros(8))}).read_bytes())
    directory = content.index(b"PK\1\2")
    for stated in (0, 100, 191, 193, 2**32 - 2):
        struct.pack_into("<I", content, directory + 24, stated)
        (tmp_path / "data.npz").write_bytes(content)
        with pytest.raises(ValueError, match=r"data\.npz can't be read: "):
            read_npz(tmp_path / "data.npz", ("a",))


MEASURE = """
import sys
import rrm_torch
from rrm_torch.data import images
from rrm_torch.data.idx import read_idx
from rrm_torch.data.npz import read_npz
from support.peak_memory import peak, reset_peak
for path in sys.argv[2:]:
    before = reset_peak()
    try:
        images.load_npz(path, int(sys.argv[1])) if path.endswith(".npz") else read_idx(path, 1, int(sys.argv[1]))
    except ValueError as error:
        print(peak() - before, error)
"""


def deflated_zeros(n_bytes, start=b""):
    """Return a gzip file of some bytes and then zeros."""
    compress = zlib.compressobj(9, zlib.DEFLATED, 31)
    pieces = [compress.compress(start)]
    pieces += [compress.compress(bytes(MIB)) for _ in range(n_bytes // MIB)]
    return b"".join([*pieces, compress.flush()])


@needs_proc
def test_bombs_take_little_memory(tmp_path):
    n = 64 * MIB
    paths = [tmp_path / "bomb.npz", tmp_path / "stated.gz", tmp_path / "beyond.gz"]
    with zipfile.ZipFile(paths[0], "w", zipfile.ZIP_DEFLATED) as archive, archive.open("x_train.npy", "w") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": (n,)})
        for _ in range(n // MIB):
            file.write(bytes(MIB))
    paths[1].write_bytes(deflated_zeros(n, idx_header((n,))))
    paths[2].write_bytes(deflated_zeros(n, idx_header((1000,))))
    output = run_program(MEASURE, 32 * MIB, *paths)
    for path, line in zip(paths, output.splitlines(), strict=True):
        assert path.stat().st_size < MIB
        growth, message = line.split(maxsplit=1)
        assert int(growth) < 24 * MIB
        assert str(path) in message
