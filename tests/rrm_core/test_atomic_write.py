"""Replacing a file: the old one or the new one, whole; links, permissions and other files of the user are kept."""

from __future__ import annotations

import errno
import os
import stat
import sys
import threading
from pathlib import Path

import pytest

from rrm_core import _atomic_write
from rrm_core._atomic_write import atomic_write, record_written, resolve_output
from support.interrupts import interrupted

posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has other files and permissions")
OLD, NEW = b"old", b"new" * 5000  # longer than the buffer of a file


def write(path, content=NEW):
    with atomic_write(path) as file:
        file.write(content)


def permissions(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def umask():
    """Set the umask; return a function that sets another one."""
    previous = os.umask(0o022)
    yield os.umask
    os.umask(previous)


# Links


@posix
@pytest.mark.parametrize("exists", [True, False])
@pytest.mark.parametrize("link", ["relative", "absolute", "chain", "through a linked folder"])
def test_link_stays_and_its_target_is_written(link, exists, tmp_path):
    disk = tmp_path / "disk" / "deep"
    disk.mkdir(parents=True)
    target = disk / "target"
    if exists:
        target.write_bytes(OLD)
    out = tmp_path / "out"
    if link == "relative":
        out.symlink_to("disk/deep/target")
    elif link == "absolute":
        out.symlink_to(target)
    elif link == "chain":
        (tmp_path / "disk" / "second").symlink_to("deep/../deep/target")
        out.symlink_to("disk/second")
    else:
        # The parent of the linked folder is `disk`, not `tmp_path`.
        (tmp_path / "folder").symlink_to("disk/deep")
        (disk / "link").symlink_to("../deep/target")
        out = tmp_path / "folder" / "link"
    links = [path for path in tmp_path.rglob("*") if path.is_symlink()]
    write(out)
    assert all(path.is_symlink() for path in links)
    assert target.read_bytes() == NEW
    assert not target.is_symlink()
    assert [path.name for path in disk.iterdir() if not path.is_symlink()] == ["target"]


@posix
def test_loop_of_links_raises(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="Too many levels of symbolic links") as raised:
        write(tmp_path / "a")
    assert raised.value.errno == errno.ELOOP
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


@posix
def test_link_into_a_missing_folder_raises(tmp_path):
    (tmp_path / "out").symlink_to("missing/out")
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*missing for out; create it first"):
        write(tmp_path / "out")
    assert (tmp_path / "out").is_symlink()


# Files that a rename would destroy


@posix
@pytest.mark.parametrize("link", [False, True])
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_special_file_is_refused(kind, link, tmp_path):
    path = tmp_path / "special"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/null")
    if link:
        (tmp_path / "link").symlink_to("special")
        path = tmp_path / "link"
    before = path.stat()
    with pytest.raises(OSError, match="not a regular file, such as a device or a pipe; name another file"):
        write(path)
    assert os.path.samestat(before, path.stat())


def test_folder_is_refused(tmp_path):
    with pytest.raises(IsADirectoryError, match=r"^out: .* is a folder; name a file in it"):
        resolve_output(tmp_path, "out")


# The temporary file


@posix
def test_other_files_are_never_followed_or_replaced(tmp_path, monkeypatch):
    (tmp_path / "precious").write_bytes(b"precious")
    names = ["out.tmp", f"out.{'00' * 8}.tmp", f"out.{'01' * 8}.tmp"]
    for name, make in zip(names, ("link", "file", "link"), strict=True):
        if make == "file":
            (tmp_path / name).write_bytes(b"of the user")
        else:
            (tmp_path / name).symlink_to("precious")
    numbers = iter([b"\0" * 8, b"\1" * 8, b"\2" * 8])
    monkeypatch.setattr(os, "urandom", lambda _: next(numbers))
    write(tmp_path / "out")
    assert (tmp_path / "precious").read_bytes() == b"precious"
    assert (tmp_path / names[1]).read_bytes() == b"of the user"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["out", "precious", *names])


LONG_NAMES = ["n" * 255, "é" * 127, "x" * 233, "z" * 100, "z" * 101, os.fsdecode(b"\xe9" * 255)]


@pytest.mark.parametrize("name", LONG_NAMES, ids=lambda name: f"{name[0]!a}{len(name)}")
def test_long_and_undecodable_names(name, tmp_path):
    path = tmp_path / name
    try:
        path.write_bytes(OLD)
    except OSError:
        pytest.skip("this file system has no such names")
    write(path)
    assert path.read_bytes() == NEW
    assert list(tmp_path.iterdir()) == [path]


def test_temporary_file_is_beside_the_output_and_named_after_it(tmp_path):
    with atomic_write(tmp_path / "out") as file:
        file.write(NEW)
        assert [path.name[:4] for path in tmp_path.iterdir()] == ["out."]
        assert [path.suffix for path in tmp_path.iterdir()] == [".tmp"]


@pytest.mark.parametrize("order", ["first started", "last started"])
def test_last_of_two_writers_wins(order, tmp_path):
    path = tmp_path / "out"
    first, second = atomic_write(path), atomic_write(path)
    for number, writer in enumerate((first, second)):
        writer.__enter__().write(b"%d" % number * 20_000)
    turns = [second, first] if order == "first started" else [first, second]
    for writer in turns:
        writer.__exit__(None, None, None)
        assert path.read_bytes() == b"%d" % (writer is second) * 20_000
    assert list(tmp_path.iterdir()) == [path]


# Permissions


@posix
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o604, 0o666, 0o400, 0o755])
def test_permissions_of_the_old_file_are_kept_at_every_moment(mode, tmp_path, umask):
    path = tmp_path / "out"
    path.write_bytes(OLD)
    path.chmod(mode)
    umask(0)
    with atomic_write(path) as file:
        file.write(NEW)
        (temporary,) = set(tmp_path.iterdir()) - {path}
        assert permissions(temporary) == 0o600
        assert permissions(path) == mode
    assert permissions(path) == mode
    assert path.read_bytes() == NEW


@posix
def test_permissions_changed_while_writing_are_kept(tmp_path, umask):
    path = tmp_path / "out"
    with atomic_write(path) as file:
        file.write(NEW)
        path.write_bytes(OLD)
        path.chmod(0o600)
    assert permissions(path) == 0o600
    with atomic_write(path) as file:
        path.unlink()
    assert permissions(path) == 0o600


@posix
@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002, 0])
def test_new_file_follows_the_umask(mask, tmp_path, umask):
    umask(mask)
    write(tmp_path / "out")
    assert permissions(tmp_path / "out") == 0o666 & ~mask


@posix
def test_umask_is_never_changed(tmp_path, umask, monkeypatch):
    monkeypatch.setattr(os, "umask", lambda _: pytest.fail("another thread would create a file with this umask"))
    write(tmp_path / "out")


@posix
@pytest.mark.skipif(sys.platform != "win32" and os.geteuid() != 0, reason="only root may change the owner")
def test_owner_and_group_of_the_old_file_are_kept(tmp_path):
    path = tmp_path / "out"
    path.write_bytes(OLD)
    os.chown(path, 12345, 23456)
    path.chmod(0o640)
    write(path)
    assert (path.stat().st_uid, path.stat().st_gid, permissions(path)) == (12345, 23456, 0o640)


@posix
@pytest.mark.parametrize(("mode", "kept"), [(0o640, 0o600), (0o664, 0o644), (0o660, 0o600)])
def test_permissions_of_a_group_are_not_given_to_another_one(mode, kept, tmp_path, monkeypatch):
    path = tmp_path / "out"
    path.write_bytes(OLD)
    path.chmod(mode)

    def refuse(*_):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "fchown", refuse)
    write(path)
    assert permissions(path) == kept
    assert path.read_bytes() == NEW


# Errors and interrupts


@pytest.mark.parametrize("step", ["fsync", "replace", "open"])
def test_failing_step_names_the_output_and_keeps_it(step, tmp_path, monkeypatch):
    path = tmp_path / "out"
    path.write_bytes(OLD)

    def fail(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match=f"No space left on device; {path} was not written") as raised:
        write(path)
    monkeypatch.undo()
    assert raised.value.errno == errno.ENOSPC
    assert path.read_bytes() == OLD
    assert list(tmp_path.iterdir()) == [path]


def test_folder_that_cannot_be_flushed_is_no_error(tmp_path, monkeypatch):
    real = os.fsync

    def fsync(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    write(tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == NEW


@pytest.mark.parametrize("old", [OLD, None])
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit, ValueError])
def test_exception_keeps_the_old_file(error, old, tmp_path):
    path = tmp_path / "out"
    if old is not None:
        path.write_bytes(old)

    def write_half():
        with atomic_write(path) as file:
            file.write(NEW)
            raise error

    with record_written() as written, pytest.raises(error):
        write_half()
    assert not written
    assert [entry.read_bytes() for entry in tmp_path.iterdir()] == [old] * (old is not None)


# Interrupted before the opened file has a name, Python closes it with a warning.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("old", [OLD, None])
def test_interrupt_at_any_instruction_leaves_the_old_file_or_the_new_one(old, tmp_path):
    path = tmp_path / "out"
    recorded = []

    def make():
        path.unlink(missing_ok=True)
        if old is not None:
            path.write_bytes(old)

    def call(_):
        recorded.clear()
        with record_written() as written:
            recorded.append(written)
            write(path)

    outcomes = set()
    for point, _ in interrupted(make, call):
        content = path.read_bytes() if path.exists() else None
        assert content in (old, NEW), point
        assert {entry.name for entry in tmp_path.iterdir()} <= {"out"}, point
        claims = bool(recorded) and path in recorded[0]
        assert claims == (content == NEW), point
        outcomes.add(content)
    assert outcomes == {old, NEW}


def test_interrupt_right_after_the_rename_is_recorded(tmp_path, monkeypatch):
    real = Path.replace

    def replace(self, target):
        real(self, target)
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", replace)
    with record_written() as written, pytest.raises(KeyboardInterrupt):
        write(tmp_path / "out")
    assert written == {tmp_path / "out"}
    assert (tmp_path / "out").read_bytes() == NEW


def test_second_interrupt_while_closing_still_removes_the_temporary_file(tmp_path, monkeypatch):
    class SlowToClose:
        def __init__(self, file):
            self.file = file

        def fileno(self):
            return self.file.fileno()

        def close(self):
            self.file.close()
            raise KeyboardInterrupt

    real = open
    monkeypatch.setattr(
        _atomic_write, "open", lambda *arguments, **options: SlowToClose(real(*arguments, **options)), raising=False
    )
    with pytest.raises(KeyboardInterrupt), atomic_write(tmp_path / "out"):
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


def test_written_files_are_recorded_by_thread(tmp_path):
    with record_written() as outer:
        write(tmp_path / "a")
        with record_written() as inner:
            write(tmp_path / "b")
        thread = threading.Thread(target=write, args=(tmp_path / "c",))
        thread.start()
        thread.join()
    write(tmp_path / "d")
    assert (outer, inner) == ({tmp_path / "a"}, {tmp_path / "b"})
