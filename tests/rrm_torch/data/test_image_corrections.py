from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rrm_torch.data.image_corrections import correct_images
from rrm_torch.data.images import load_digits


@pytest.fixture(scope="module")
def digits():
    data = load_digits()
    return replace(data, classes=tuple(f"digit {name}" for name in data.classes))


def write(path, *rows):
    path.write_text("\n".join(["id,given_label,decision,label", *rows, ""]))
    return path


def test_relabelled_and_dropped_images(digits, tmp_path):
    file = write(tmp_path / "corrections.csv", "2,,relabel,digit 7", "0,,drop,", "1,,keep,")
    corrected = correct_images(digits, [file])
    assert corrected.ids.tolist() == list(range(1, len(digits.y_train)))
    assert corrected.y_train[1] == 7
    np.testing.assert_array_equal(corrected.uncorrected, digits.y_train[1:])
    np.testing.assert_array_equal(corrected.y_train[2:], digits.y_train[3:])
    np.testing.assert_array_equal(corrected.x_train, digits.x_train[1:])
    assert corrected.x_test is digits.x_test


def test_dropping_all_images_is_refused(digits, tmp_path):
    file = write(tmp_path / "corrections.csv", *(f"{index},,drop," for index in range(len(digits.y_train))))
    with pytest.raises(ValueError, match="must leave at least one training image, got 1,347 dropped"):
        correct_images(digits, [file])


def test_labels_are_the_names_of_classes(digits, tmp_path):
    file = write(tmp_path / "corrections.csv", "2,,relabel,7")
    with pytest.raises(ValueError, match="'2' gets the label '7', which no sample has"):
        correct_images(digits, [file])
