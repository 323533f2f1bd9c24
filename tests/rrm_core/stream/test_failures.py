"""Failures during a call: the previous weights stay, and the temporary file is removed."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

import rrm_core
from rrm_core._atomic_write import atomic_write
from rrm_core.stream import arrow_sink, npy
from support.families import assert_same_bits

N = 30_000
C = np.random.default_rng(0).exponential(size=N).astype(np.float32)
W = np.random.default_rng(1).exponential(size=N).astype(np.float32)
OK = {"contamination": 0.2}
SUFFIXES = ("npy", "parquet", "arrow")


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    np.save(folder / "losses.npy", C)
    return folder / "losses.npy"


@pytest.fixture(params=SUFFIXES)
def previous(request, tmp_path):
    """Return a file of weights; at the end of the test it must be unchanged."""
    folder = tmp_path / "target"
    folder.mkdir()
    path = folder / f"previous.{request.param}"
    path.write_bytes(b"previous")
    yield path
    assert path.read_bytes() == b"previous"
    assert list(folder.iterdir()) == [path]
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("rrm_core.stream")]


def change_at(source, what, change):
    """Return a `progress` callback that changes the source once, at the start of a pass."""
    todo = [change]

    def progress(done, total, name):
        if name == what and todo:
            todo.pop()(source)

    return progress


# A full disk


class FailsWhenFull:
    """A function that works a few times, and then fails as on a full disk."""

    def __init__(self, function, times):
        self.function = function
        self.times = times

    def __call__(self, *arguments):
        self.times -= 1
        if self.times < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self.function(*arguments)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("times", [0, 1, 5])
def test_failing_write_keeps_the_previous_file(times, threads, source, previous, monkeypatch, small_tiles):
    def atomic_write_until_full(path, **options):
        @contextmanager
        def opened():
            with atomic_write(path, **options) as file:
                yield SimpleNamespace(
                    write=FailsWhenFull(file.write, times), tell=file.tell, flush=file.flush, closed=False
                )

        return opened()

    if previous.suffix == ".npy":
        monkeypatch.setattr(npy, "pwrite_full", FailsWhenFull(npy.pwrite_full, times))
    else:
        monkeypatch.setattr(arrow_sink, "atomic_write", atomic_write_until_full)
    with pytest.raises(OSError, match=f"No space left on device; {previous} was not written") as raised:
        rrm_core.stream.reweight(source, previous, threads=threads, **OK)
    assert raised.value.errno == errno.ENOSPC


@pytest.mark.parametrize("step", ["fsync", "rename"])
def test_failing_commit_keeps_the_previous_file(step, source, previous, monkeypatch):
    full = FailsWhenFull(None, 0)
    if step == "fsync":
        monkeypatch.setattr(os, "fsync", full)
    else:
        monkeypatch.setattr(type(previous), "replace", lambda *_: full())
    with pytest.raises(OSError, match="No space left on device"):
        rrm_core.stream.reweight(source, previous, **OK)


SIZE_LIMITED_PROGRAM = """
import resource, sys, rrm_core
_, most = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), most))
try:
    rrm_core.stream.reweight(sys.argv[1], sys.argv[2], contamination=0.2, mu=0.3, weights=sys.argv[4])
except OSError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no process limits")
def test_file_size_limit_keeps_the_previous_file(source, previous):
    weights = source.with_name("weights.npy")
    np.save(weights, W)
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", SIZE_LIMITED_PROGRAM, str(source), str(previous), str(N), str(weights)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == f"[Errno 27] File too large; {previous} was not written"
    assert run.stderr == ""


# Losses that change


def touch(path):
    os.utime(path, ns=(1, 1))


def rewrite(path):
    """Change one number, but neither the size nor the modification time."""
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
    "touched": (touch, "its size, modification time or inode differs"),
    "rewritten": (rewrite, "changed"),
    "replaced": (swap, "its size, modification time or inode differs"),
    "truncated": (shorten, "became shorter while it was read: it ended at byte 50_000"),
    "removed": (os.unlink, "was removed while it was read"),
}


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("what", ["round 1", "round 2", "writing"])
@pytest.mark.parametrize("change", CHANGES)
def test_changed_file_is_detected_by_reweight(change, what, threads, source, previous, small_tiles):
    changed, message = CHANGES[change]
    progress = change_at(source, what, changed)
    more = {"threads": threads, "progress": progress} | OK
    if change == "rewritten" and what == "round 1":
        rrm_core.stream.plan(source, **more)  # changed before it was read: cannot be detected
        rrm_core.stream.plan(source, **OK)
        return
    with pytest.raises(RuntimeError, match=message) as caught:
        rrm_core.stream.reweight(source, previous, **more)
    assert str(caught.value).startswith(f"losses ({source})")


@pytest.mark.parametrize("what", ["round 1", "round 2"])
def test_changed_file_is_detected_by_plan(what, source):
    with pytest.raises(RuntimeError, match=r"changed while it was read"):
        rrm_core.stream.plan(source, progress=change_at(source, what, touch), **OK)


@pytest.mark.parametrize("what", ["round 2", "writing"])
@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_changed_table_is_detected(kind, what, previous, tmp_path):
    path = tmp_path / f"losses.{kind}"
    table = pa.table({"loss": C})
    if kind == "parquet":
        pa.parquet.write_table(table, path)
    else:
        with pa.ipc.new_file(path, table.schema) as file:
            file.write_table(table)
    with pytest.raises(RuntimeError, match="changed while it was read"):
        rrm_core.stream.reweight(path, previous, progress=change_at(path, what, touch), **OK)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("change", [touch, shorten], ids=lambda change: change.__name__)
def test_changed_weights_are_detected(change, threads, source, previous, small_tiles):
    weights = source.with_name("weights.npy")
    np.save(weights, W)
    with pytest.raises(RuntimeError, match=r"^weights .*(changed|became shorter) while it was read"):
        rrm_core.stream.reweight(
            source,
            previous,
            weights=weights,
            mu=0.3,
            threads=threads,
            progress=change_at(weights, "writing", change),
            **OK,
        )


class ChangingChunks:
    """Chunks that are replaced by others after some passes."""

    def __init__(self, first, then, passes):
        self.first = first
        self.then = then
        # One more for the check that it can be iterated repeatedly.
        self.left = passes + 1

    def __iter__(self):
        self.left -= 1
        return iter(self.first if self.left >= 0 else self.then)


CHANGED_CHUNKS = {
    "one number": [np.concatenate([C[:-1], C[:1]])],
    "fewer": [C[:-1]],
    "more": [C, C[:1]],
    "more zeros": [C, np.zeros(1, np.float32)],
    "none": [],
    "another order of parts": [C[100:], C[:100], C[:1]],
}


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("passes", [1, 2])
@pytest.mark.parametrize("case", CHANGED_CHUNKS)
def test_changed_chunks_are_detected(case, passes, threads, previous):
    with pytest.raises(RuntimeError, match=r"^losses changed"):
        rrm_core.stream.reweight(ChangingChunks([C], CHANGED_CHUNKS[case], passes), previous, threads=threads, **OK)


def test_chunks_of_changed_type_are_detected(previous):
    with pytest.raises(RuntimeError, match=r"^losses changed between planning and writing, from float32 to float64"):
        rrm_core.stream.reweight(ChangingChunks([C], [C.astype(float)], 2), previous, **OK)
    with pytest.raises(TypeError, match="losses must be float32, as those before, got float64"):
        rrm_core.stream.reweight(ChangingChunks([C], [C.astype(float)], 1), previous, **OK)


def test_changed_array_is_detected(previous):
    c = C.copy()

    def change(c):
        c[7] += 1

    with pytest.raises(RuntimeError, match=r"^losses changed between planning and writing"):
        rrm_core.stream.reweight(c, previous, progress=change_at(c, "writing", change), **OK)


# Errors and signals in the caller's code


def test_errors_of_progress_and_chunks_propagate(source, previous, small_tiles):
    class UserError(Exception):
        pass

    def progress(done, total, what):
        if (what, done > N // 2) == ("writing", True):
            raise UserError

    class Chunks:
        passes = 0

        def __iter__(self):
            self.passes += 1
            yield C
            if self.passes == 3:
                raise UserError

    with pytest.raises(UserError):
        rrm_core.stream.reweight(source, previous, threads=3, progress=progress, **OK)
    with pytest.raises(UserError):
        rrm_core.stream.reweight(Chunks(), previous, threads=3, **OK)


def test_errors_of_the_output_function_propagate(source):
    with pytest.raises(ZeroDivisionError):
        rrm_core.stream.reweight(source, lambda _: 1 / 0, **OK)


KILLED_PROGRAM = """
import os, signal, sys, time, rrm_core
from rrm_core.stream import pipeline
pipeline.TILE_BYTES, pipeline.LAZY_JOB_BYTES, pipeline.JOB_BYTES = 2048, 4096, 2048
def progress(done, total, what):
    if what == "writing" and done > total // 2:
        os.kill(os.getpid(), getattr(signal, sys.argv[3]))
rrm_core.stream.reweight(sys.argv[1], sys.argv[2], contamination=0.2, threads=2, progress=progress)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL")
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_killed_while_writing_keeps_the_previous_file(suffix, source, tmp_path):
    out = tmp_path / f"w.{suffix}"
    out.write_bytes(b"previous")
    run = subprocess.run([sys.executable, "-c", KILLED_PROGRAM, str(source), str(out), "SIGKILL"], check=False)
    assert run.returncode == -signal.SIGKILL
    assert out.read_bytes() == b"previous"
    assert len(list(tmp_path.glob(f"w.{suffix}.*.tmp"))) == 1
    rrm_core.stream.reweight(source, out, **OK)  # starts over
    if suffix == "npy":
        assert_same_bits(np.load(out), rrm_core.reweight(C, **OK)[0])


def test_interrupted_while_writing_keeps_the_previous_file(source, previous):
    program = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)" + KILLED_PROGRAM
    run = subprocess.run(
        [sys.executable, "-c", program, str(source), str(previous), "SIGINT"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert run.stderr.splitlines()[-1] == "KeyboardInterrupt"
    assert "Exception ignored" not in run.stderr
