"""Provenance of a result."""

from __future__ import annotations

import subprocess
from pathlib import Path

from experiments.runner import environment


def git(folder, *arguments):
    identity = ("-c", "user.name=a", "-c", "user.email=a@b")
    command = ["git", *identity, *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def test_commit(tmp_path):
    assert environment.commit(tmp_path) is None
    git(tmp_path, "init", "--quiet")
    assert environment.commit(tmp_path) is None  # there is none yet
    (tmp_path / "rrm_core").mkdir()
    (tmp_path / "rrm_core" / "a.py").touch()
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "x")
    head = git(tmp_path, "rev-parse", "HEAD")
    assert environment.commit(tmp_path) == head
    (tmp_path / "notes").touch()
    assert environment.commit(tmp_path) == head
    assert environment.commit(tmp_path / "rrm_core") is None  # someone else's checkout
    (tmp_path / "rrm_core" / "b.py").touch()
    assert environment.commit(tmp_path) == head + "-dirty"


def test_machine_without_cpuinfo(monkeypatch):
    read_text = Path.read_text

    def missing(path, *arguments, **options):
        if path.name == "cpuinfo":
            raise FileNotFoundError
        return read_text(path, *arguments, **options)

    monkeypatch.setattr(Path, "read_text", missing)
    assert environment.machine()["processor"]
    assert set(environment.versions(("rrm-core", "not-there"))) == {"python", "rrm-core"}
