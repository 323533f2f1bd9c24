"""Compilation with Numba where its cache on disk cannot be used."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import numba
import pytest
from numba.core import caching

from rrm_core.backends.numba_compile import compiled


def add(x, y):
    return x + y


def assert_compiles():
    assert compiled()(add)(1, 2) == 3


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """Return the folder of an empty cache."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    return tmp_path


def cache_files(folder, suffix):
    return [path for path in folder.rglob("*") if path.suffix == suffix]


def test_compiles_once_for_all_processes(cache):
    assert_compiles()
    assert len(cache_files(cache, ".nbi")) == len(cache_files(cache, ".nbc")) == 1
    function = compiled()(add)
    assert function(1, 2) == 3
    assert sum(function.stats.cache_hits.values()) == 1


def test_compiles_without_a_folder_for_the_cache(monkeypatch):
    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [])
    assert_compiles()


def test_compiles_without_a_source_file(monkeypatch):
    monkeypatch.setattr(add, "__code__", add.__code__.replace(co_filename="/nowhere/add.py"))
    assert_compiles()


def test_kernels_load_without_a_folder_for_the_cache():
    program = (
        "from numba.core import caching; caching.CacheImpl._locator_classes = [];"
        "import sys; sys.modules['rrm_core._cpu'] = None;"
        "import rrm_core; print(rrm_core.available_backends())"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (run.stdout, run.stderr) == ("('numba', 'numpy', 'array_api')\n", "")


@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
@pytest.mark.parametrize("content", [b"", b"\x80\x04\x95", b"not a pickle"])
def test_damaged_cache_is_replaced(cache, suffix, content):
    assert_compiles()
    (file,) = cache_files(cache, suffix)
    file.write_bytes(content)
    assert_compiles()
    function = compiled()(add)
    assert function(1, 2) == 3
    assert sum(function.stats.cache_hits.values()) == 1


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EACCES])
def test_compiles_if_the_cache_cannot_be_written(cache, monkeypatch, code):
    def fail(self, path):
        raise OSError(code, os.strerror(code), path)

    monkeypatch.setattr(caching.IndexDataCacheFile, "_open_for_write", fail)
    assert_compiles()
    assert cache_files(cache, ".nbc") == []


def test_compiles_if_the_cache_cannot_be_read(cache, monkeypatch):
    assert_compiles()

    def fail(self, *arguments):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(caching.IndexDataCacheFile, "_load_index", fail)
    assert_compiles()


@pytest.mark.parametrize("interrupted_call", [1, 2], ids=["load", "save"])
def test_interrupt_while_the_cache_is_used_is_raised(interrupted_call, cache, monkeypatch):
    load_index = caching.IndexDataCacheFile._load_index
    n_calls = 0

    def interrupt(self):
        nonlocal n_calls
        n_calls += 1
        if n_calls == interrupted_call:
            raise KeyboardInterrupt
        return load_index(self)

    monkeypatch.setattr(caching.IndexDataCacheFile, "_load_index", interrupt)
    with pytest.raises(KeyboardInterrupt):
        assert_compiles()
    assert n_calls == interrupted_call
