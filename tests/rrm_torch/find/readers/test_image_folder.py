"""Folders of images, one folder per class."""

from __future__ import annotations

import os

import pytest
from PIL import Image

from rrm_torch.find.readers.labelled_data import ReadOptions
from rrm_torch.find.readers.sources import read_labelled


def write_images(folder, names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (2, 2)).save(path)


CATS_AND_DOGS = ("cat/1.png", "cat/2.JPG", "dog/old/3.webp", "dog/4.gif", "dog/5.bmp", "dog/6.tif", "dog/7.jpeg")


def test_the_first_folder_is_the_class(tmp_path):
    write_images(tmp_path, CATS_AND_DOGS)
    data = read_labelled(tmp_path)
    assert (data.name, data.kind, data.classes) == (tmp_path.name, "images", ("cat", "dog"))
    assert data.ids.tolist() == [
        "cat/1.png",
        "cat/2.JPG",
        "dog/4.gif",
        "dog/5.bmp",
        "dog/6.tif",
        "dog/7.jpeg",
        "dog/old/3.webp",
    ]
    assert data.labels.tolist() == [0, 0, 1, 1, 1, 1, 1]
    assert data.samples == [tmp_path / name for name in data.ids]
    assert (data.notes, data.left_out) == ([], [])


def test_folders_of_numbers_are_sorted_by_value(tmp_path):
    write_images(tmp_path, [f"{label}/{i}.png" for label in range(9, 12) for i in range(2)])
    assert read_labelled(tmp_path).classes == ("9", "10", "11")


def test_other_files_are_ignored_with_a_note(tmp_path):
    write_images(tmp_path, (*CATS_AND_DOGS, "outside.png", "cat/.hidden.png", ".thumbnails/cat/1.png"))
    (tmp_path / "empty").mkdir()
    (tmp_path / "cat" / "notes.txt").write_text("x", encoding="utf-8")
    (tmp_path / "cat" / "README").write_text("x", encoding="utf-8")
    (tmp_path / "linked").symlink_to(tmp_path / "cat", target_is_directory=True)
    (tmp_path / "cat" / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "cat" / "dangling.png").symlink_to(tmp_path / "none.png")
    os.mkfifo(tmp_path / "cat" / "pipe.png")
    data = read_labelled(tmp_path)
    assert len(data.samples) == len(CATS_AND_DOGS)
    assert data.notes == [
        "Files that aren't images are ignored: 1 .txt, 1 without a suffix.",
        "Links to missing files, and what else is no file, are ignored: cat/dangling.png, cat/pipe.png.",
        "Hidden files and folders are ignored: 2.",
        "Links to folders aren't followed: linked, loop.",
        "Images outside the folders of the classes are ignored: 1.",
        "Folders without images are no classes: empty.",
    ]


def test_links_to_files_are_read(tmp_path):
    write_images(tmp_path, [*CATS_AND_DOGS, "pool/a.png"])
    (tmp_path / "pool" / "b.png").symlink_to(tmp_path / "cat" / "1.png")
    assert read_labelled(tmp_path).classes == ("cat", "dog", "pool")


def test_folders_named_like_splits_are_no_classes(tmp_path):
    folders = ("Train/a", "Train/b", "val/a", "val/b")
    write_images(tmp_path, [f"{folder}/{i}.png" for folder in folders for i in range(2)])
    write_images(tmp_path, ["val/outside.png"])
    (tmp_path / "docs").mkdir()
    data = read_labelled(tmp_path)
    assert data.classes == ("a", "b")
    assert data.ids.tolist()[:3] == ["Train/a/0.png", "Train/a/1.png", "Train/b/0.png"]
    assert data.notes == [
        "The folders Train, val are splits; the classes are the folders in them.",
        "Images outside the folders of the classes are ignored: 1.",
    ]
    assert len(data.samples) == 8
    only = read_labelled(tmp_path, ReadOptions(split="val"))
    assert only.ids.tolist() == ["val/a/0.png", "val/a/1.png", "val/b/0.png", "val/b/1.png"]
    with pytest.raises(ValueError, match="must have the split 'test', got Train, val"):
        read_labelled(tmp_path, ReadOptions(split="test"))


def test_split_of_a_folder_of_classes(tmp_path):
    write_images(tmp_path, CATS_AND_DOGS)
    with pytest.raises(ValueError, match="has no splits, got split 'train'; its folders are classes"):
        read_labelled(tmp_path, ReadOptions(split="train"))


def test_file_names_that_are_not_utf_8_can_be_written(tmp_path):
    write_images(tmp_path, CATS_AND_DOGS)
    name = os.fsencode(tmp_path / "cat") + b"/caf\xe9.png"
    (tmp_path / "cat" / "1.png").rename(os.fsdecode(name))
    data = read_labelled(tmp_path)
    assert data.ids.tolist()[1] == "cat/caf\N{REPLACEMENT CHARACTER}.png"
    assert data.samples[1].is_file()


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "has no images in folders, one folder for each class .*; it has no files"),
        (["1.png"], "has no images in folders, .*; it has 1 images outside of such folders"),
        (["cat/1.png", "cat/2.png"], "must have at least 2 classes, got only 'cat'"),
        (["train/1.png", "test/2.png"], "has no images in folders"),
    ],
)
def test_folders_without_classes_of_images(names, message, tmp_path):
    write_images(tmp_path, names)
    with pytest.raises(ValueError, match=message):
        read_labelled(tmp_path)


def test_folder_of_other_files(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.txt").write_text("x", encoding="utf-8")
    with pytest.raises(ValueError, match="it has other files only"):
        read_labelled(tmp_path)
