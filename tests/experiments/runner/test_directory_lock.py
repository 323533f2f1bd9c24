"""The lock on a directory."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from experiments.runner import directory_lock
from experiments.runner.directory_lock import is_running, lock_directory


def test_lock_waits_for_workers_of_a_dead_parent(folder, monkeypatch):
    monkeypatch.setattr(directory_lock, "LOCK_TIMEOUT", 0.1)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    with lock_directory(folder):
        (folder / "lock").write_text(str(gone.pid))
        start = time.monotonic()
        with pytest.raises(ValueError, match="at work"), lock_directory(folder):
            pass
        assert time.monotonic() - start > 0.1
    with lock_directory(folder):
        assert (folder / "lock").read_text() == str(os.getpid())
        assert is_running("1")  # someone else's
