from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest

from rrm_torch.data.path_list import PathList

NAMES = ["a.jpg", "b/ü.png", "", os.fsdecode(b"\xff.jpg"), "last"]


def test_paths_are_those_of_the_list():
    paths = PathList(NAMES)
    assert list(paths) == NAMES
    assert len(paths) == 5
    assert [paths[index] for index in (-1, -5)] == ["last", "a.jpg"]
    assert paths[1:4:2] == NAMES[1:4:2]
    assert list(pickle.loads(pickle.dumps(paths))) == NAMES


def test_folder_precedes_each_path():
    paths = PathList(["a.jpg", Path("b", "c.jpg")], Path("images"))
    assert [Path(path) for path in paths] == [Path("images", "a.jpg"), Path("images", "b", "c.jpg")]


def test_paths_take_eight_bytes_beyond_their_characters():
    names = [f"images/{number:09}.jpg" for number in range(10_000)]
    paths = PathList(names, "/a/long/folder/that/is/stored/once")
    assert paths.nbytes == 10_000 * (len(names[0]) + 8)
    assert len(pickle.dumps(paths)) < paths.nbytes + 1_000


def test_empty_list():
    assert list(PathList([])) == []


@pytest.mark.parametrize("index", [5, -6])
def test_index_out_of_range_raises(index):
    with pytest.raises(IndexError, match=rf"index must lie in \[-5, 5\), got {index}"):
        PathList(NAMES)[index]


@pytest.mark.parametrize("path", ["a.jpg", b"a.jpg", Path("a.jpg")])
def test_single_path_raises_with_remedy(path):
    with pytest.raises(TypeError, match=r"paths must be a list of paths, got the single path .*; put it into a list"):
        PathList(path)
