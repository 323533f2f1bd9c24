from __future__ import annotations

import struct

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from experiments.data.animal10n import CLASSES, load_animal10n, load_animal10n_binary
from rrm_torch.data.image_files import ImageFiles
from support.image_data import has_colours, save_image

TRAINING = ["0_12.jpg", "9_3.jpg", "3_img_7.jpg", "0_2.jpg"]
TESTING = ["5_1.jpg"]


def save_animal10n(folder, training=TRAINING, testing=TESTING):
    for name, files in (("training", training), ("testing", testing)):
        (folder / name).mkdir()
        for file in files:
            save_image(folder / name / file, int(file[0]))
    return folder


def test_images_sorted_by_name(tmp_path):
    data = load_animal10n(str(save_animal10n(tmp_path)))
    assert data.classes == CLASSES
    assert (len(CLASSES), CLASSES[0], CLASSES[9]) == (10, "cat", "guinea pig")
    assert data.train.labels.dtype == torch.int64
    assert data.train.labels.tolist() == [0, 0, 3, 9]
    assert [path[-8:] for path in data.train.paths] == ["0_12.jpg", "/0_2.jpg", "mg_7.jpg", "/9_3.jpg"]
    assert has_colours(ImageFiles(data.train.paths, 8)[:], [0, 0, 3, 9])
    assert data.test.labels.tolist() == [5]


@pytest.mark.parametrize("name", ["10_1.jpg", "1-1.jpg"])
@pytest.mark.parametrize("part", ["training", "testing"])
def test_name_without_a_label_is_refused(tmp_path, name, part):
    save_animal10n(tmp_path, **{part: ["1_1.jpg", name]})
    with pytest.raises(
        ValueError, match=rf"{part}: the name .* begin with a label in \[0, 10\) and an underscore, got '{name}'"
    ):
        load_animal10n(tmp_path)


@pytest.mark.parametrize("part", ["training", "testing"])
def test_missing_folder_or_images(tmp_path, part):
    save_animal10n(tmp_path, **{part: []})
    with pytest.raises(ValueError, match=rf"{part} must hold images, got none"):
        load_animal10n(tmp_path)
    (tmp_path / part).rmdir()
    with pytest.raises(FileNotFoundError, match=rf"{part} isn't an existing folder"):
        load_animal10n(tmp_path)


# The binary form


def records(labels, seed=0):
    """Images and their file: number and label in four bytes each, then the channels."""
    pixels = np.random.default_rng(seed).integers(256, size=(len(labels), 3, 64, 64), dtype=np.uint8)
    parts = [struct.pack(">II", 300 + row, label) + pixels[row].tobytes() for row, label in enumerate(labels)]
    return pixels, b"".join(parts)


def save_binary(folder, **changes):
    files = {"data_batch_1": records([4, 0, 9])[1], "test_batch": records([7], seed=1)[1]} | changes
    for name, content in files.items():
        if content is not None:
            (folder / f"{name}.bin").write_bytes(content)
    return folder


def test_binary_form(tmp_path):
    data = load_animal10n_binary(str(save_binary(tmp_path)))
    assert (data.x_train.dtype, data.y_train.dtype) == (torch.uint8, torch.int64)
    assert_array_equal(data.x_train, records([4, 0, 9])[0])
    assert data.y_train.tolist() == [4, 0, 9]
    assert_array_equal(data.x_test, records([7], seed=1)[0])
    assert data.y_test.tolist() == [7]
    assert data.classes == CLASSES


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "must have a multiple of 12,296 bytes, .* got 0"),
        (records([1])[1][:-1], "must have a multiple of 12,296 bytes, .* got 12,295"),
        (records([1, 10])[1], r"labels must lie in \[0, 10\), .* got 10"),
        (struct.pack("<II", 1, 3) + bytes(12_288), r"labels must lie in \[0, 10\), .* got 50331648"),
    ],
    ids=["empty", "cut off", "label", "byte order"],
)
@pytest.mark.parametrize("name", ["data_batch_1", "test_batch"])
def test_bad_binary_files(tmp_path, name, content, message):
    with pytest.raises(ValueError, match=message) as raised:
        load_animal10n_binary(save_binary(tmp_path, **{name: content}))
    assert str(raised.value).startswith(str(tmp_path / f"{name}.bin"))


@pytest.mark.parametrize("name", ["data_batch_1", "test_batch"])
def test_missing_binary_file(tmp_path, name):
    with pytest.raises(FileNotFoundError, match=rf"must hold {name}\.bin; it is that of Animal-10N's binary form"):
        load_animal10n_binary(save_binary(tmp_path, **{name: None}))


def test_binary_files_beyond_the_limit_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"would take 49,184 bytes, of 40,000 that are left of max_bytes"):
        load_animal10n_binary(save_binary(tmp_path), max_bytes=40_000)
