"""Damaged headers of .npy files: a ValueError with the file's name, and one line on the command line."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest

import rrm_core
from rrm_core import cli
from rrm_core._npy_header import read_npy_header

GOOD = "{'descr': '<f4', 'fortran_order': False, 'shape': (4,), }"
HEADERS = {
    "nested parentheses": "{'descr': '<f4', 'fortran_order': False, 'shape': (" + "(" * 50,
    "many nested parentheses": "(" * 900 + ")" * 900,
    "deep expression": "-" * 9000 + "1",
    "deep lists": "[" * 95 + "]" * 95,
    "too long": GOOD + " " * 20_000,
    "end within a string": "{'descr': '<f4",
    "null byte": "{'descr': '\0'}",
    "dedent": "{\n 'a': 1\n}\n  b",
    "no dict": "3",
    "another key": GOOD.replace("descr", "desc"),
    "unknown type": GOOD.replace("<f4", "<q9"),
    "type of None": GOOD.replace("'<f4'", "None"),
    "nested type": GOOD.replace("'<f4'", "[('a', [('b', " * 30),
    "huge subarray": GOOD.replace("'<f4'", "('<f4', (2147483647, 2147483647))"),
    "negative shape": GOOD.replace("4,", "-4,"),
    "shape of truth values": GOOD.replace("4,", "True,"),
    "shape of texts": GOOD.replace("4,", "'4',"),
    "shape of many digits": GOOD.replace("4,", "9" * 5000 + ","),
    "shape beyond memory": GOOD.replace("4,", "4611686018427387904,"),
    "shape beyond 64 bits": GOOD.replace("4,", "1" + "0" * 40 + ","),
    "order that is none": GOOD.replace("False", "2"),
    "Latin-1": GOOD.replace("f4", "f\xe94"),
    "long integer of Python 2": GOOD.replace("4,", "4L,"),
    "empty": "",
}


def npy(header, version=(1, 0), data=bytes(16)):
    text = header.encode("latin-1")
    length = len(text).to_bytes(2 if version == (1, 0) else 4, "little")
    return b"\x93NUMPY" + bytes(version) + length + text + data


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0), (9, 9)])
@pytest.mark.parametrize("case", HEADERS)
def test_damaged_header(case, version, tmp_path, capsys):
    path = tmp_path / "losses.npy"
    path.write_bytes(npy(HEADERS[case], version))
    if (case, version) in [("long integer of Python 2", (1, 0)), ("long integer of Python 2", (2, 0))]:
        assert rrm_core.stream.plan(path, contamination=0.2).n == 4
        return
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises((ValueError, TypeError)) as caught:
            rrm_core.stream.plan(path, contamination=0.2)
    assert str(path) in str(caught.value)
    assert cli.main(["plan", str(path), "--contamination", "0.2"]) == 2
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    assert len(printed) < 1000


def test_every_truncation_of_a_file(tmp_path):
    content = npy(GOOD)
    path = tmp_path / "losses.npy"
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"is not a \.npy file that holds losses or weights|is truncated"):
            rrm_core.stream.plan(path, contamination=0.2)


def test_header():
    for array in (np.zeros((2, 3), "f4", order="F"), np.array(1.5), np.zeros(3, [("a", "f4", (2,))])):
        file = io.BytesIO()
        np.save(file, array)
        file.seek(0)
        header = read_npy_header(file)
        assert (header.shape, header.dtype, header.n_bytes) == (array.shape, array.dtype, array.nbytes)
        assert file.read() == array.tobytes("A")
