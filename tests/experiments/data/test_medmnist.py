from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from experiments.data.medmnist import CLASSES, load_medmnist

SIZES = {"train": 5, "val": 3, "test": 2}


def arrays(name):
    """Arrays as the distributed files have them."""
    rng = np.random.default_rng(0)
    shape = (28, 28, 3) if name == "pathmnist" else (28, 28)
    content = {}
    for part, n in SIZES.items():
        content[f"{part}_images"] = rng.integers(256, size=(n, *shape), dtype=np.uint8)
        content[f"{part}_labels"] = rng.integers(len(CLASSES[name]), size=(n, 1), dtype=np.uint8)
    return content


def save_medmnist(path, **changes):
    np.savez(path, **{key: value for key, value in (arrays(path.stem) | changes).items() if value is not None})
    return path


@pytest.mark.parametrize("name", ["pathmnist", "pneumoniamnist"])
def test_images_and_labels(tmp_path, name):
    data = load_medmnist(str(save_medmnist(tmp_path / f"{name}.npz")))
    content = arrays(name)
    for part, n in SIZES.items():
        x = getattr(data, f"x_{part}")
        y = getattr(data, f"y_{part}")
        images = content[f"{part}_images"].reshape(n, 28, 28, -1)
        assert (x.dtype, y.dtype) == (torch.uint8, torch.int64)
        assert x.is_contiguous()
        assert_array_equal(x, images.transpose(0, 3, 1, 2))
        assert_array_equal(y, content[f"{part}_labels"][:, 0])
    assert data.classes == CLASSES[name]
    assert [len(classes) for classes in CLASSES.values()] == [9, 2]


@pytest.mark.parametrize(
    ("name", "changes", "error", "message"),
    [
        (
            "pathmnist",
            {"val_labels": None, "test_images": None},
            ValueError,
            "must hold the arrays val_labels, test_im",
        ),
        (
            "pathmnist",
            {"val_images": np.zeros((3, 28, 28), np.uint8)},
            ValueError,
            r"val_images must have shape \(n, 28, 28, 3\), got \(3, 28, 28\)",
        ),
        (
            "pneumoniamnist",
            {"test_images": np.zeros((2, 64, 64), np.uint8)},
            ValueError,
            r"test_images must have shape \(n, 28, 28\), got \(2, 64, 64\)",
        ),
        (
            "pneumoniamnist",
            {"train_images": np.zeros((5, 28, 28))},
            TypeError,
            "train_images must be uint8, got float64",
        ),
        ("pathmnist", {"test_labels": np.array([[0], [9]])}, ValueError, r"test_labels must lie in \[0, 9\), .* got 9"),
        (
            "pathmnist",
            {"test_labels": np.array([0, 1])},
            ValueError,
            r"test_labels must have shape \(n, 1\), .* got \(2,\)",
        ),
        (
            "pathmnist",
            {"val_labels": np.zeros((2, 1), int)},
            ValueError,
            "val_labels must have one label per image, got 2",
        ),
        (
            "pneumoniamnist",
            {"val_labels": np.zeros((3, 2), int)},
            ValueError,
            r"must have shape \(n, 1\), .* got \(3, 2\)",
        ),
        ("pneumoniamnist", {"val_labels": np.zeros((3, 1))}, TypeError, "val_labels must be integers, got float64"),
        ("pathmnist", {"val_labels": np.array([[{}]] * 3)}, ValueError, "can't be read: .*allow_pickle"),
    ],
)
def test_bad_arrays(tmp_path, name, changes, error, message):
    path = save_medmnist(tmp_path / f"{name}.npz", **changes)
    with pytest.raises(error, match=message) as raised:
        load_medmnist(path)
    assert str(raised.value).startswith(str(path))


def test_file_of_another_data_set(tmp_path):
    with pytest.raises(
        ValueError, match=r"path must be a file pathmnist\.npz or pneumoniamnist\.npz, got '.*dermamnist"
    ):
        load_medmnist(tmp_path / "dermamnist.npz")


def test_missing_or_large_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"pathmnist\.npz' isn't an existing file"):
        load_medmnist(tmp_path / "pathmnist.npz")
    with pytest.raises(ValueError, match=r"would take .* bytes, of 1,000 that are left of max_bytes"):
        load_medmnist(save_medmnist(tmp_path / "pathmnist.npz"), max_bytes=1_000)
