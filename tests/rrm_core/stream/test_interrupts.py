"""Ctrl-C at any instruction of a reweight: the output is the old file or the new one, and the message is true."""

from __future__ import annotations

import threading

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

import rrm_core
from rrm_core import cli
from support.interrupts import Interrupt, interrupted

# Interrupted before an opened file has a name, Python closes it with a warning.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")

SAMPLES = 25
# Of the whole call; and of its end, where the output is put in place.
PARTS = [None, 1000]
LOSSES = np.random.default_rng(0).exponential(size=3000).astype(np.float32)
RULE = {"contamination": 0.2}
NEW = rrm_core.reweight(LOSSES, **RULE)[0]
OLD = np.ones(7, np.float32)


def read(path):
    if path.suffix == ".npy":
        return np.load(path)
    with pa.OSFile(str(path)) as file:
        table = pa.parquet.read_table(file) if path.suffix == ".parquet" else pa.ipc.open_file(file).read_all()
        return table.column(0).to_numpy()


def write_old(path):
    if path.suffix == ".npy":
        np.save(path, OLD)
    elif path.suffix == ".parquet":
        pa.parquet.write_table(pa.table({"sample_weight": OLD}), path)
    else:
        table = pa.table({"sample_weight": OLD})
        with pa.ipc.new_file(path, table.schema) as file:
            file.write_table(table)


def is_new(path):
    """Return whether the file is the new one; fail if it is neither that nor the old one."""
    weights = read(path)
    if np.array_equal(weights, NEW):
        return True
    assert np.array_equal(weights, OLD)
    return False


@pytest.fixture(params=["npy", "parquet", "arrow"])
def out(request, tmp_path):
    np.save(tmp_path / "losses.npy", LOSSES)
    return tmp_path / f"w.{request.param}"


def assert_clean(out):
    assert sorted(path.name for path in out.parent.iterdir()) == sorted(["losses.npy", out.name])
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("rrm_core.stream")]


@pytest.mark.parametrize("last", PARTS)
def test_interrupted_reweight_leaves_the_old_file_or_the_new_one(last, out):
    def reweight(_):
        rrm_core.stream.reweight(out.with_name("losses.npy"), out, threads=1, **RULE)

    for _ in interrupted(lambda: write_old(out), reweight, samples=SAMPLES, last=last):
        is_new(out)
        assert_clean(out)


@pytest.mark.parametrize("last", PARTS)
def test_interrupted_command_says_what_became_of_the_output(last, out, capsys):
    command = ["reweight", str(out.with_name("losses.npy")), "--contamination", "0.2", "--threads", "1", "-o", str(out)]

    def reweight(_):
        if cli.main(command) == 130:
            raise Interrupt

    said = set()
    for point, _ in interrupted(lambda: write_old(out), reweight, samples=SAMPLES, last=last):
        replaced = is_new(out)
        assert_clean(out)
        error = capsys.readouterr().err.removeprefix("python -m rrm_core reweight: error: ")
        if error.startswith("interrupted "):
            assert error == f"interrupted {'after' if replaced else 'before'} {out} was written\n", point
            said.add(replaced)
        else:
            # Outside of what writes, nothing is claimed.
            assert error in ("", "interrupted\n", "python -m rrm_core: error: interrupted\n"), point
    assert said >= ({False} if last is None else {True})
