"""Folders for the tiny experiment."""

from __future__ import annotations

import pytest


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "tiny.npz").touch()
    return folder


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "work"
    path.mkdir()
    return path
