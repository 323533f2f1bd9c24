"""What goes wrong half-way: the former weights are there as a whole, and what was begun is gone."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

import rrm_core
from rrm_core._atomic_write import atomic_write
from rrm_core.stream import arrow, npy
from support.families import assert_same_bits

N = 30_000
C = np.random.default_rng(0).exponential(size=N).astype(np.float32)
W = np.random.default_rng(1).exponential(size=N).astype(np.float32)
OK = {"contamination": 0.2}
ENDS = ("npy", "parquet", "arrow")


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    np.save(folder / "losses.npy", C)
    return folder / "losses.npy"


@pytest.fixture(params=ENDS)
def former(request, tmp_path):
    """Return a file of weights that shall stay as it is."""
    folder = tmp_path / "target"
    folder.mkdir()
    path = folder / f"former.{request.param}"
    path.write_bytes(b"former")
    yield path
    assert path.read_bytes() == b"former"
    assert list(folder.iterdir()) == [path]
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("rrm_core.stream")]


def changing(source, what, change):
    """Return a function for `progress` that changes the source once a pass has begun."""
    todo = [change]

    def progress(done, total, name):
        if name == what and todo:
            todo.pop()(source)

    return progress


# The disk.


class Full:
    """Something that is done a few times, and then fails as on a full disk."""

    def __init__(self, done, times):
        self.done, self.times = done, times

    def __call__(self, *arguments):
        self.times -= 1
        if self.times < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self.done(*arguments)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("times", [0, 1, 5])
def test_a_write_that_fails(times, threads, source, former, monkeypatch, small_pieces):
    def atomic_write_until_full(path, **options):
        @contextmanager
        def opened():
            with atomic_write(path, **options) as file:
                yield SimpleNamespace(write=Full(file.write, times), tell=file.tell, flush=file.flush, closed=False)

        return opened()

    if former.suffix == ".npy":
        monkeypatch.setattr(npy, "write_at", Full(npy.write_at, times))
    else:
        monkeypatch.setattr(arrow, "atomic_write", atomic_write_until_full)
    with pytest.raises(
        OSError, match=f"No space left on device; {former} could not be written, and is as it was"
    ) as no:
        rrm_core.stream.reweight(source, former, threads=threads, **OK)
    assert no.value.errno == errno.ENOSPC


@pytest.mark.parametrize("module", ["the file", "the name"])
def test_the_end_of_writing_fails(module, source, former, monkeypatch):
    full = Full(None, 0)
    if module == "the file":
        monkeypatch.setattr(os, "fsync", full)
    else:
        monkeypatch.setattr(type(former), "replace", lambda *_: full())
    with pytest.raises(OSError, match="No space left on device"):
        rrm_core.stream.reweight(source, former, **OK)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_disk_that_is_full(source, former):
    former.with_name(former.name + ".tmp").symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"No space left on device; .* could not be written, and is as it was"):
        rrm_core.stream.reweight(source, former, **OK)


LIMITED = """
import resource, sys, rrm_core
_, most = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), most))
try:
    rrm_core.stream.reweight(sys.argv[1], sys.argv[2], contamination=0.2, mu=0.3, weights=sys.argv[4])
except OSError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no limits of a process")
def test_a_file_that_may_not_grow(source, former):
    weights = source.with_name("weights.npy")
    np.save(weights, W)
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", LIMITED, str(source), str(former), str(N), str(weights)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == f"[Errno 27] File too large; {former} could not be written, and is as it was"
    assert run.stderr == ""


# Losses that change.


def touch(path):
    os.utime(path, ns=(1, 1))


def rewrite(path):
    """Change a number, and nothing that a look at the folder would tell."""
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(20_000)
        file.write(b"\x01")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def swap(path):
    other = path.with_name("other.npy")
    np.save(other, C[::-1])
    other.replace(path)


def shorten(path):
    os.truncate(path, 50_000)


CHANGES = {
    "touched": (touch, "its size, time of modification or inode is another"),
    "rewritten": (rewrite, "changed"),
    "another": (swap, "its size, time of modification or inode is another"),
    "shorter": (shorten, "became shorter while it was read: it ended at byte 50_000"),
    "gone": (os.unlink, "was removed while it was read"),
}


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("what", ["round 1", "round 2", "writing"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changes(change, what, threads, source, former, small_pieces):
    changed, message = CHANGES[change]
    progress = changing(source, what, changed)
    more = {"threads": threads, "progress": progress} | OK
    if change == "rewritten" and what == "round 1":
        rrm_core.stream.plan(source, **more)  # before it was read: nobody can know
        rrm_core.stream.plan(source, **OK)
        return
    with pytest.raises(RuntimeError, match=message) as caught:
        rrm_core.stream.reweight(source, former, **more)
    assert str(caught.value).startswith(f"losses ({source})")


@pytest.mark.parametrize("what", ["round 1", "round 2"])
def test_a_file_that_changes_while_it_is_planned(what, source):
    with pytest.raises(RuntimeError, match=r"changed while it was read"):
        rrm_core.stream.plan(source, progress=changing(source, what, touch), **OK)


@pytest.mark.parametrize("what", ["round 2", "writing"])
@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_a_table_that_changes(kind, what, former, tmp_path):
    path = tmp_path / f"losses.{kind}"
    table = pa.table({"loss": C})
    if kind == "parquet":
        pa.parquet.write_table(table, path)
    else:
        with pa.ipc.new_file(path, table.schema) as file:
            file.write_table(table)
    with pytest.raises(RuntimeError, match="changed while it was read"):
        rrm_core.stream.reweight(path, former, progress=changing(path, what, touch), **OK)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("change", [touch, shorten], ids=lambda change: change.__name__)
def test_weights_that_change(change, threads, source, former, small_pieces):
    weights = source.with_name("weights.npy")
    np.save(weights, W)
    with pytest.raises(RuntimeError, match=r"^weights .*(changed|became shorter) while it was read"):
        rrm_core.stream.reweight(
            source,
            former,
            weights=weights,
            mu=0.3,
            threads=threads,
            progress=changing(weights, "writing", change),
            **OK,
        )


class Moody:
    """Chunks that are others from some pass on."""

    def __init__(self, first, then, passes):
        self.first, self.then, self.left = first, then, passes + 1  # somebody looks whether it begins anew

    def __iter__(self):
        self.left -= 1
        return iter(self.first if self.left >= 0 else self.then)


MOODS = {
    "one number": [np.concatenate([C[:-1], C[:1]])],
    "fewer": [C[:-1]],
    "more": [C, C[:1]],
    "more zeros": [C, np.zeros(1, np.float32)],
    "none": [],
    "another order of parts": [C[100:], C[:100], C[:1]],
}


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("passes", [1, 2])
@pytest.mark.parametrize("mood", MOODS)
def test_chunks_that_change(mood, passes, threads, former):
    with pytest.raises(RuntimeError, match=r"^losses changed"):
        rrm_core.stream.reweight(Moody([C], MOODS[mood], passes), former, threads=threads, **OK)


def test_chunks_that_change_their_type(former):
    with pytest.raises(RuntimeError, match=r"^losses changed between planning and writing, from float32 to float64"):
        rrm_core.stream.reweight(Moody([C], [C.astype(float)], 2), former, **OK)
    with pytest.raises(TypeError, match="losses must be float32, as those before, got float64"):
        rrm_core.stream.reweight(Moody([C], [C.astype(float)], 1), former, **OK)


def test_an_array_that_changes(former):
    c = C.copy()

    def change(c):
        c[7] += 1

    with pytest.raises(RuntimeError, match=r"^losses changed between planning and writing"):
        rrm_core.stream.reweight(c, former, progress=changing(c, "writing", change), **OK)


# The caller.


def test_an_error_of_the_caller_comes_through(source, former, small_pieces):
    class MineError(Exception):
        pass

    def progress(done, total, what):
        if (what, done > N // 2) == ("writing", True):
            raise MineError

    class Chunks:
        passes = 0

        def __iter__(self):
            self.passes += 1
            yield C
            if self.passes == 3:
                raise MineError

    with pytest.raises(MineError):
        rrm_core.stream.reweight(source, former, threads=3, progress=progress, **OK)
    with pytest.raises(MineError):
        rrm_core.stream.reweight(Chunks(), former, threads=3, **OK)


def test_an_error_of_the_function_comes_through(source):
    with pytest.raises(ZeroDivisionError):
        rrm_core.stream.reweight(source, lambda _: 1 / 0, **OK)


KILLED = """
import os, signal, sys, time, rrm_core
from rrm_core.stream import passes
passes.PIECE, passes.RANGE, passes.BLOCK = 2048, 4096, 2048
def progress(done, total, what):
    if what == "writing" and done > total // 2:
        os.kill(os.getpid(), getattr(signal, sys.argv[3]))
rrm_core.stream.reweight(sys.argv[1], sys.argv[2], contamination=0.2, threads=2, progress=progress)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no such signal")
@pytest.mark.parametrize("end", ENDS)
def test_killed_while_writing(end, source, tmp_path):
    out = tmp_path / f"w.{end}"
    out.write_bytes(b"former")
    run = subprocess.run([sys.executable, "-c", KILLED, str(source), str(out), "SIGKILL"], check=False)
    assert run.returncode == -signal.SIGKILL
    assert out.read_bytes() == b"former"
    left = tmp_path / f"w.{end}.tmp"
    assert left.exists()
    rrm_core.stream.reweight(source, out, **OK)  # which begins anew
    assert not left.exists()
    if end == "npy":
        assert_same_bits(np.load(out), rrm_core.reweight(C, **OK)[0])


def test_interrupted_while_writing(source, former):
    program = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)" + KILLED
    run = subprocess.run(
        [sys.executable, "-c", program, str(source), str(former), "SIGINT"], check=False, capture_output=True, text=True
    )
    assert run.stderr.splitlines()[-1] == "KeyboardInterrupt"
    assert "Exception ignored" not in run.stderr
