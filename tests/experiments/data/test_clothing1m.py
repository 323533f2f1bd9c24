from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from experiments.data import image_lists
from experiments.data.clothing1m import load_clothing1m
from rrm_torch.data.image_files import ImageFiles
from support.image_data import has_colours, save_image, write_lines

CLASSES = [f"Class {number}" for number in range(14)]


def key(number):
    return f"images/{number % 10}/{number % 3:02}/{number:010},{number * 7:09}.jpg"


NOISY = {key(number): number % 14 for number in range(20)}
CLEAN = {key(number): 13 - number % 14 for number in range(15, 24)}
PARTS = {"clean_train": range(15, 18), "clean_val": (20, 18), "clean_test": (23, 22, 21)}


def save_lists(folder, **changes):
    """Write the distributed text files; `changes` replaces the lines of one, and None leaves it out."""
    files = {
        "category_names_eng": CLASSES,
        "noisy_label_kv": [f"{name} {label}" for name, label in NOISY.items()],
        "clean_label_kv": [f"{name} {label}" for name, label in CLEAN.items()],
        "noisy_train_key_list": [key(number) for number in range(14, -1, -1)],
        **{f"{part}_key_list": [key(number) for number in numbers] for part, numbers in PARTS.items()},
    }
    for name, lines in (files | changes).items():
        if lines is not None:
            write_lines(folder / f"{name}.txt", lines)


def save_clothing1m(folder, **changes):
    save_lists(folder, **changes)
    for number in range(24):
        save_image(folder / key(number), number)
    return folder


def test_parts_in_the_order_of_the_keys(tmp_path):
    data = load_clothing1m(str(save_clothing1m(tmp_path)))
    assert data.classes == tuple(CLASSES)
    for files, numbers, labels in (
        (data.train, range(14, -1, -1), NOISY),
        (data.clean_train, PARTS["clean_train"], CLEAN),
        (data.val, PARTS["clean_val"], CLEAN),
        (data.test, PARTS["clean_test"], CLEAN),
    ):
        assert len(files) == len(numbers)
        assert [Path(path) for path in files.paths] == [tmp_path / key(number) for number in numbers]
        assert files.labels.dtype == torch.int64
        assert files.labels.tolist() == [labels[key(number)] for number in numbers]
    assert has_colours(ImageFiles(data.test.paths, 8)[[0, 2]], [23, 21])


def test_lists_in_a_folder_of_annotations(tmp_path):
    save_clothing1m(tmp_path)
    for path in list(tmp_path.glob("*.txt")):
        (tmp_path / "annotations").mkdir(exist_ok=True)
        path.rename(tmp_path / "annotations" / path.name)
    assert len(load_clothing1m(tmp_path).train) == 15


def test_lines_with_carriage_returns(tmp_path):
    save_clothing1m(tmp_path)
    for path in tmp_path.glob("*.txt"):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n") + b"\r\n")
    assert load_clothing1m(tmp_path).classes == tuple(CLASSES)


@pytest.mark.parametrize(
    ("name", "lines", "message"),
    [
        ("noisy_label_kv", [f"{key(0)} 1", f"{key(1)} 14"], r"labels must lie in \[0, 14\), .* got '14' in line 2"),
        ("noisy_label_kv", [f"{key(0)} -1"], r"labels must lie in \[0, 14\), .* got '-1' in line 1"),
        ("clean_label_kv", [f"{key(0)} 2.0"], r"labels must lie in \[0, 14\), .* got '2.0' in line 1"),
        ("clean_label_kv", [f"{key(0)} 1", key(1)], "the number of columns must be 2, got 1 in line 2"),
        ("noisy_label_kv", [f"{key(0)} 1 2"], "the number of columns must be 2, got 3 in line 1"),
        ("noisy_label_kv", [f"{key(0)} 1", "", f"{key(1)} 1"], "the number of columns must be 2, got 0 in line 2"),
        (
            "noisy_label_kv",
            [f"{key(0)} 1", f"{key(0)} 2"],
            "'images/0/00/.*' must have one label, got 1 in line 1 and 2",
        ),
        ("noisy_train_key_list", [key(0), key(20)], r"key of noisy_label_kv\.txt, got '.*0000000020,.*' in line 2"),
        ("clean_val_key_list", [key(0)], r"key of clean_label_kv\.txt, got '.*0000000000,.*' in line 1"),
        ("clean_test_key_list", [], "has no lines; extract it again"),
        ("category_names_eng", CLASSES[1:], "must have 14 lines, one for each class, got 13"),
    ],
)
def test_bad_lines(tmp_path, name, lines, message):
    folder = save_clothing1m(tmp_path, **{name: lines})
    with pytest.raises(ValueError, match=message) as raised:
        load_clothing1m(folder)
    assert str(raised.value).startswith(str(folder / f"{name}.txt"))


def test_label_that_is_repeated_counts_once(tmp_path):
    lines = [f"{name} {label}" for name, label in NOISY.items()]
    assert len(load_clothing1m(save_clothing1m(tmp_path, noisy_label_kv=lines + lines[:2])).train) == 15


def test_text_that_is_not_utf8(tmp_path):
    (save_clothing1m(tmp_path) / "category_names_eng.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"category_names_eng\.txt must be text in UTF-8"):
        load_clothing1m(tmp_path)


@pytest.mark.parametrize(
    ("number", "name"), [(4, "noisy_train"), (16, "clean_train"), (18, "clean_val"), (23, "clean_test")]
)
def test_missing_image(tmp_path, number, name):
    save_clothing1m(tmp_path)
    (tmp_path / key(number)).unlink()
    with pytest.raises(
        ValueError, match=rf"{name}_key_list\.txt lists images that .* doesn't hold: 1, of .* first is '{key(number)}'"
    ):
        load_clothing1m(tmp_path)


def test_missing_folder_of_images(tmp_path):
    save_lists(tmp_path)
    with pytest.raises(ValueError, match=rf"noisy_train_key_list\.txt lists images .*: 15, .* first is '{key(14)}'"):
        load_clothing1m(tmp_path)


@pytest.mark.parametrize(
    "name",
    ["category_names_eng", "clean_label_kv", "noisy_train_key_list", "clean_val_key_list", "clean_test_key_list"],
)
def test_missing_list(tmp_path, name):
    with pytest.raises(FileNotFoundError, match=rf"{name}\.txt isn't an existing file; it comes with Clothing1M"):
        load_clothing1m(save_clothing1m(tmp_path, **{name: None}))


def test_folder_of_something_else(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"must hold noisy_label_kv\.txt, or the folders train, val and test"):
        load_clothing1m(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"nowhere' isn't an existing folder; it must be that of Clothing1M"):
        load_clothing1m(tmp_path / "nowhere")


def test_long_lists_are_read_once_and_each_folder_is_listed_once(tmp_path, monkeypatch):
    n = 60_000
    names = [f"images/{number % 10}/{number % 7:02}/{number}.jpg" for number in range(n)]
    lines = [f"{name} {number % 14}" for number, name in enumerate(names)]
    keys = {f"clean_{part}_key_list": names[start::3] for start, part in enumerate(("train", "val", "test"))}
    save_lists(tmp_path, noisy_label_kv=lines, clean_label_kv=lines, noisy_train_key_list=names[::-1], **keys)
    folders = {}
    for name in names:
        folders.setdefault(os.fspath(tmp_path / name.rpartition("/")[0]), []).append(name.rpartition("/")[2])
    listed = []
    read = []

    def list_folder(folder):
        listed.append(os.fspath(folder))
        return folders[listed[-1]]

    def read_text(path, **options):
        read.append(path.name)
        return read_file(path, **options)

    read_file = Path.read_text
    monkeypatch.setattr(image_lists.os, "listdir", list_folder)
    monkeypatch.setattr(Path, "read_text", read_text)
    data = load_clothing1m(tmp_path)
    assert sorted(listed) == sorted(folders)
    assert len(read) == len(set(read)) == 7
    assert data.train.labels.tolist() == [number % 14 for number in range(n - 1, -1, -1)]
    assert data.train.paths.nbytes == sum(map(len, names)) + 8 * n


# Folders of classes


def save_folders(folder, names, classes=CLASSES):
    for part, name in enumerate(names):
        for label, class_name in enumerate(classes):
            for number in range(1 + part):
                save_image(folder / name / class_name / f"{number}.jpg", label)
    return folder


@pytest.mark.parametrize("names", [("train", "val", "test"), ("noisy_train", "clean_val", "clean_test")], ids=str)
@pytest.mark.parametrize("classes", [sorted(CLASSES), [str(number) for number in range(14)]], ids=["names", "numbers"])
def test_folders_of_classes(tmp_path, names, classes):
    save_folders(tmp_path, names, classes)
    (tmp_path / names[0] / classes[0] / "notes.txt").write_text("no image")
    (tmp_path / names[0] / classes[0] / ".hidden.jpg").write_text("no image")
    data = load_clothing1m(tmp_path)
    assert data.classes == tuple(classes)
    assert data.clean_train is None
    for files, n in ((data.train, 1), (data.val, 2), (data.test, 3)):
        assert files.labels.tolist() == [label for label in range(14) for _ in range(n)]
        assert has_colours(ImageFiles(files.paths, 8)[:], files.labels.tolist())


def test_folders_with_clean_training_images(tmp_path):
    data = load_clothing1m(save_folders(tmp_path, ("train", "val", "test", "clean_train")))
    assert data.clean_train.labels.bincount().tolist() == [4] * 14


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda folder: (folder / "val").rename(folder / "other"), FileNotFoundError, "val isn't an existing folder"),
        (lambda folder: (folder / "test" / "Another").mkdir(), ValueError, "test must hold 14 folders, .* got 15"),
        (
            lambda folder: (folder / "val" / CLASSES[3]).rename(folder / "val" / "Another"),
            ValueError,
            "val must hold the same 14 folders as the training images, 'Another' differs",
        ),
        (
            lambda folder: (folder / "train" / CLASSES[5] / "0.jpg").unlink(),
            ValueError,
            "train.Class 5 must hold images, got none",
        ),
    ],
    ids=["no folder", "another class", "renamed class", "no images"],
)
def test_bad_folders(tmp_path, change, error, message):
    change(save_folders(tmp_path, ("train", "val", "test")))
    with pytest.raises(error, match=message):
        load_clothing1m(tmp_path)
