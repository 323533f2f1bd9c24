from __future__ import annotations

from pathlib import Path

import pytest
import torch

from experiments.data.food101n import UNLISTED, load_food101n
from rrm_torch.data.image_files import ImageFiles
from support.image_data import has_colours, save_image, write_lines

# Not in alphabetical order, so that the order of the file tells.
CLASSES = ["waffles", "apple_pie", "hot_and_sour_soup", *(f"dish_{number:03}" for number in range(98))]
KEYS = [f"{name}/{number:032x}.jpg" for number, name in enumerate(["apple_pie", "waffles", "dish_007", "apple_pie"])]
TEST_KEYS = ["waffles/1011328", "apple_pie/101251"]


def save_food101n(folder, **changes):
    """Write both data sets; `changes` replaces the lines of a list, and None leaves it out."""
    files = {
        "Food-101N_release/meta/classes.txt": ["class_name", *CLASSES],
        "Food-101N_release/meta/imagelist.tsv": ["class_name/key", *KEYS],
        "Food-101N_release/meta/verified_train.tsv": [
            "class_name/key\tverification_label",
            f"{KEYS[2]}\t1",
            f"{UNLISTED}\t0",
            f"{KEYS[0]}\t0",
        ],
        "Food-101N_release/meta/verified_val.tsv": ["class_name/key\tverification_label", f"{KEYS[3]}\t1"],
        "food-101/meta/classes.txt": sorted(CLASSES),
        "food-101/meta/test.txt": TEST_KEYS,
    }
    names = {Path(name).stem if "release" in name else f"test_{Path(name).stem}": name for name in files}
    for short, lines in changes.items():
        files[names[short]] = lines
    for name, lines in files.items():
        if lines is not None:
            write_lines(folder / name, lines)
    for number, key in enumerate(KEYS):
        save_image(folder / "Food-101N_release" / "images" / key, number)
    for number, key in enumerate(TEST_KEYS, 5):
        save_image(folder / "food-101" / "images" / f"{key}.jpg", number)
    return folder / "Food-101N_release", folder / "food-101"


def test_images_and_labels(tmp_path):
    data = load_food101n(*map(str, save_food101n(tmp_path)))
    assert data.classes == tuple(CLASSES)
    assert data.train.labels.dtype == torch.int64
    assert data.train.labels.tolist() == [1, 0, 10, 1]
    assert has_colours(ImageFiles(data.train.paths, 8)[:], range(4))
    assert data.test.labels.tolist() == [0, 1]
    assert has_colours(ImageFiles(data.test.paths, 8)[:], [5, 6])


def test_verified_labels_without_the_one_that_is_not_listed(tmp_path):
    data = load_food101n(*save_food101n(tmp_path))
    for verified, index, is_right in (
        (data.verified_train, [2, 0], [True, False]),
        (data.verified_val, [3], [True]),
    ):
        assert (verified.index.dtype, verified.is_right.dtype) == (torch.int64, torch.bool)
        assert verified.index.tolist() == index
        assert verified.is_right.tolist() == is_right


HEADER = "class_name/key"
COLUMNS = "class_name/key\tverification_label"


@pytest.mark.parametrize(
    ("name", "lines", "message"),
    [
        ("classes", CLASSES[1:], "classes.txt must have 101 lines, one for each class, got 100"),
        ("classes", ["class_name", *CLASSES[1:], CLASSES[1]], "classes.txt must have 101 lines"),
        ("imagelist", KEYS, f"must begin with a line of the columns class_name/key, got '{KEYS[0]}'"),
        ("imagelist", [HEADER], "has no lines below the names of its columns"),
        ("imagelist", [HEADER, f"{KEYS[0]}\t1"], "the number of columns must be 1, got 2 in line 2"),
        ("imagelist", [HEADER, KEYS[0], "sushi/1.jpg"], "with a class of classes.txt, got 'sushi/1.jpg' in line 3"),
        ("imagelist", [HEADER, "waffles/no.jpg"], "doesn't hold: 1, of which the first is 'waffles/no.jpg'; they come"),
        ("verified_train", [HEADER, KEYS[0]], "must begin with a line of the columns class_name/key and verification_"),
        ("verified_train", [COLUMNS, KEYS[0]], "the number of columns must be 2, got 1 in line 2"),
        ("verified_train", [COLUMNS, f"{KEYS[0]}\t2"], r"labels must lie in \[0, 2\), .* got '2' in line 2"),
        (
            "verified_val",
            [COLUMNS, f"{KEYS[0]}\t1", "waffles/no.jpg\t1"],
            "of imagelist.tsv, got 'waffles/no.jpg' in line 3",
        ),
        ("test_classes", ["sushi", *CLASSES[1:]], "must have the classes of Food-101N, got 'sushi'"),
        ("test_test", [TEST_KEYS[0], "sushi/1"], "with a class of classes.txt, got 'sushi/1.jpg' in line 2"),
        ("test_test", ["waffles/1"], "doesn't hold: 1, of which the first is 'waffles/1.jpg'; they come with food-101"),
    ],
)
def test_bad_lines(tmp_path, name, lines, message):
    folders = save_food101n(tmp_path, **{name: lines})
    with pytest.raises(ValueError, match=message) as raised:
        load_food101n(*folders)
    expected = folders[name.startswith("test_")] / "meta" / name.removeprefix("test_")
    assert str(raised.value).startswith(str(expected))


@pytest.mark.parametrize(
    ("name", "origin"),
    [
        ("classes", "Food-101N_release.zip"),
        ("imagelist", "Food-101N_release.zip"),
        ("verified_train", "Food-101N_release.zip"),
        ("verified_val", "Food-101N_release.zip"),
        ("test_classes", "food-101.tar.gz"),
        ("test_test", "food-101.tar.gz"),
    ],
)
def test_missing_list(tmp_path, name, origin):
    folders = save_food101n(tmp_path, **{name: None})
    file = name.removeprefix("test_")
    with pytest.raises(FileNotFoundError, match=rf"{file}\.t.. isn't an existing file; it comes with {origin}"):
        load_food101n(*folders)
