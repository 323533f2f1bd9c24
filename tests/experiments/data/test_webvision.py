from __future__ import annotations

import pytest
import torch

from experiments.data.webvision import load_webvision_mini
from rrm_torch.data.image_files import ImageFiles
from support.image_data import has_colours, save_image, write_lines

# Not in alphabetical order, so that the order of the file tells.
SYNSETS = [f"n{(number * 77_777_777) % 99_999_989:08}" for number in range(60)]
TRAIN = [("google/q0001/b.jpg", 49), ("google/q0060/c.jpg", 50), ("google/q0001/a.jpg", 0), ("google/q0052/d.png", 7)]
VAL = [("val000001.jpg", 59), ("val000002.jpg", 3), ("val000003.jpg", 49)]


def save_webvision(folder, **changes):
    """Write the images of the first 50 classes and the lists; `changes` replaces a list, and None leaves it out."""
    lists = {
        "synsets": [f"{synset} name {number}, other name" for number, synset in enumerate(SYNSETS)],
        "train_filelist_google": [f"{name} {label}" for name, label in TRAIN],
        "val_filelist": [f"{name} {label}" for name, label in VAL],
    }
    for name, lines in (lists | changes).items():
        if lines is not None:
            write_lines(folder / "info" / f"{name}.txt", lines)
    for place, images in ((folder, TRAIN), (folder / "val_images_256", VAL)):
        for name, label in images:
            if label < 50:
                save_image(place / name, label)
    return folder


def save_imagenet(folder):
    for label, synset in enumerate(SYNSETS):
        for number in range(2 if label == 4 else 1):
            save_image(folder / synset / f"ILSVRC2012_val_{number:08}.JPEG", label)
    return folder


def test_first_50_classes_in_the_order_of_the_lists(tmp_path):
    data = load_webvision_mini(str(save_webvision(tmp_path)))
    assert data.synsets == tuple(SYNSETS[:50])
    assert data.classes == tuple(f"name {number}, other name" for number in range(50))
    assert data.train.labels.dtype == torch.int64
    assert data.train.labels.tolist() == [49, 0, 7]
    assert data.val.labels.tolist() == [3, 49]
    for files in (data.train, data.val):
        assert has_colours(ImageFiles(files.paths, 8)[:], files.labels.tolist())
    assert data.imagenet is None


def test_images_of_imagenet_in_the_order_of_the_synsets(tmp_path):
    data = load_webvision_mini(save_webvision(tmp_path), str(save_imagenet(tmp_path / "ILSVRC2012" / "val")))
    assert data.imagenet.labels.tolist() == [0, 1, 2, 3, 4, *range(4, 50)]
    assert has_colours(ImageFiles(data.imagenet.paths, 8)[:], data.imagenet.labels.tolist())


@pytest.mark.parametrize(
    ("name", "lines", "message"),
    [
        (
            "synsets",
            [f"{synset} name" for synset in SYNSETS[:49]],
            "must have a line for each class, at least 50, got 49",
        ),
        (
            "synsets",
            [*(f"{synset} name" for synset in SYNSETS), "tench"],
            "a synset such as n01440764 .* 'tench' in line 61",
        ),
        ("synsets", SYNSETS, "a synset such as n01440764 and its names, got 'n00000000' in line 1"),
        ("train_filelist_google", ["google/q0001/a.jpg"], "the number of columns must be 2, got 1 in line 1"),
        ("train_filelist_google", ["google/q0001/a.jpg 60"], r"labels must lie in \[0, 60\), .* got '60' in line 1"),
        ("train_filelist_google", ["google/q0001/a.jpg 50"], "must list images of the first 50 classes, got none"),
        (
            "train_filelist_google",
            ["google/q0001/a.jpg 0", "google/no.jpg 1"],
            "the first is 'google/no.jpg'; they come",
        ),
        ("val_filelist", ["val000002.jpg x"], r"labels must lie in \[0, 60\), .* got 'x' in line 1"),
        ("val_filelist", ["val000009.jpg 1"], "val_images_256 doesn't hold: 1, of which the first is 'val000009.jpg'"),
    ],
)
def test_bad_lines(tmp_path, name, lines, message):
    folder = save_webvision(tmp_path, **{name: lines})
    with pytest.raises(ValueError, match=message) as raised:
        load_webvision_mini(folder)
    assert str(raised.value).startswith(str(folder / "info" / f"{name}.txt"))


@pytest.mark.parametrize("name", ["synsets", "train_filelist_google", "val_filelist"])
def test_missing_list(tmp_path, name):
    with pytest.raises(FileNotFoundError, match=rf"{name}\.txt isn't an existing file; it comes with WebVision 1\.0"):
        load_webvision_mini(save_webvision(tmp_path, **{name: None}))


def test_missing_images_of_imagenet(tmp_path):
    save_webvision(tmp_path)
    imagenet = save_imagenet(tmp_path / "val")
    (imagenet / SYNSETS[3] / "ILSVRC2012_val_00000000.JPEG").unlink()
    with pytest.raises(ValueError, match=rf"{SYNSETS[3]} must hold images, got none"):
        load_webvision_mini(tmp_path, imagenet)
    (imagenet / SYNSETS[3]).rmdir()
    with pytest.raises(FileNotFoundError, match=rf"{SYNSETS[3]} isn't an existing folder"):
        load_webvision_mini(tmp_path, imagenet)
