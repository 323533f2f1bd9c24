"""Samples and labels in .npz files and IDX files."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from rrm_torch.data.images import FASHION
from rrm_torch.find.readers.labelled_data import ReadOptions
from rrm_torch.find.readers.sources import read_labelled

Y = np.array([0, 1, 0, 1], np.uint8)
IMAGES = np.arange(4 * 6, dtype=np.uint8).reshape(4, 2, 3)


def read(folder, name="data.npz", options=None, **arrays):
    np.savez(folder / name, **arrays)
    return read_labelled(folder / name, options)


@pytest.mark.parametrize("x", ["x", "X", "x_train", "images", "features", "embeddings"])
@pytest.mark.parametrize("y", ["y", "y_train", "labels"])
def test_usual_names(x, y, tmp_path):
    data = read(tmp_path, **{x: np.arange(8).reshape(4, 2), y: Y})
    assert (data.kind, data.classes, data.labels.tolist()) == ("features", ("0", "1"), [0, 1, 0, 1])
    assert data.samples.dtype == np.float32
    assert data.ids.tolist() == [0, 1, 2, 3]
    assert data.notes == []


def test_images_with_names_of_classes_and_samples(tmp_path):
    data = read(
        tmp_path,
        x_train=IMAGES,
        y_train=Y,
        x_test=IMAGES,
        y_test=Y,
        classes=np.array(["zebra", "ant", "bee"]),
        ids=np.array(["a", "b", "c", "d"]),
        extra=Y,
    )
    assert (data.kind, data.classes, data.ids.tolist()) == ("images", ("zebra", "ant", "bee"), ["a", "b", "c", "d"])
    assert (data.samples == IMAGES).all()
    assert data.notes == [
        "The arrays of a test set are ignored: x_test, y_test.",
        "The samples are the array x_train, and the labels y_train; not used: extra.",
        "No sample has these classes that the data names: bee.",
    ]


@pytest.mark.parametrize(
    ("shape", "dtype", "expected"),
    [
        ((4, 2, 2, 3), np.uint8, (4, 2, 2, 3)),
        ((4, 3, 2, 2), np.uint8, (4, 2, 2, 3)),
        ((4, 2, 2), np.float64, (4, 2, 2)),
        ((4, 2, 2), np.int64, (4, 2, 2)),
        ((4, 20, 20), np.int64, (4, 20, 20)),
    ],
)
def test_shapes_and_types_of_images(shape, dtype, expected, tmp_path):
    images = np.arange(np.prod(shape), dtype=dtype).reshape(shape)
    data = read(tmp_path, x=images, y=Y)
    assert data.samples.shape == expected
    assert data.samples.dtype == {"f": dtype, "u": np.uint8}.get(
        np.dtype(dtype).kind, np.uint8 if images.max() < 256 else np.float32
    )
    assert len(data.notes) == (expected != shape)


def test_features_of_several_dimensions(tmp_path):
    features = IMAGES.astype(np.float64)
    features[1, 0, 0] = np.nan
    data = read(tmp_path, x=features[[0, 1, 2, 3, 3]], y=Y[[0, 1, 0, 1, 1]], options=ReadOptions(kind="features"))
    assert (data.samples == features[[0, 2, 3, 3]].reshape(4, 6)).all()
    assert data.left_out[0].reason == "NaN or infinite features"


def test_strings_are_texts(tmp_path):
    data = read(tmp_path, x=np.array(["u", "v", "w", " ", "x"]), y=np.array(["b", "a", "b", "a", "a"]))
    assert (data.kind, data.samples, data.classes) == ("texts", ["u", "v", "w", "x"], ("a", "b"))
    assert data.left_out[0].reason == "no text"


def test_label_option_names_an_array(tmp_path):
    data = read(tmp_path, x=IMAGES, y=Y, noisy=1 - Y[:, None], options=ReadOptions(label="noisy"))
    assert data.labels.tolist() == [1, 0, 1, 0]


def test_class_names_of_fashion_mnist(tmp_path):
    assert read(tmp_path, "fashion_mnist.npz", x_train=IMAGES, y_train=Y).classes == FASHION
    assert read(tmp_path, "fashion_mnist.npz", x_train=IMAGES, y_train=Y + 10).classes == ("10", "11")


@pytest.mark.parametrize(
    ("arrays", "error", "message"),
    [
        ({"y": Y}, ValueError, "must have an array of samples called x_train or .*; it has y"),
        ({"x": IMAGES}, ValueError, "must have an array of labels called y_train or y or labels; it has x"),
        ({"x": IMAGES, "y": Y[:3]}, ValueError, r"y of .* must have one label per sample, got 3 for 4 samples"),
        (
            {"x": IMAGES, "y": np.eye(4)},
            ValueError,
            r"must have shape \(n,\), .*; of one column per class, numpy",
        ),
        ({"x": IMAGES, "y": Y + 0.5}, ValueError, r"got the number 0\.5: this is regression"),
        ({"x": Y, "y": Y}, ValueError, r"x of .* must have shape \(n, d\) for features, or .*, got \(4,\)"),
        ({"x": np.zeros((4, 5, 6, 7)), "y": Y}, ValueError, r"with C = 1, 3 or 4, got \(4, 5, 6, 7\)"),
        ({"x": Y.astype(complex), "y": Y}, TypeError, "must be numbers or strings, got complex128"),
        ({"x": np.array([{}] * 4), "y": Y}, ValueError, "consists of pickled objects, which are never loaded"),
        ({"x": IMAGES, "y": Y, "classes": Y}, TypeError, "classes of .* must be a 1-D array of strings, got uint8"),
        ({"x": IMAGES, "y": Y, "ids": Y[:2]}, ValueError, r"ids of .* must be 4 integers or strings, got uint8 \(2,\)"),
    ],
)
def test_arrays_that_do_not_fit(arrays, error, message, tmp_path):
    with pytest.raises(error, match=message):
        read(tmp_path, **arrays)


@pytest.mark.parametrize(
    ("x", "kind", "message"),
    [
        (IMAGES, "table", "kind must be images or features or texts for .*, got 'table'"),
        (IMAGES, "texts", "must be strings for texts, got uint8"),
        (IMAGES[0], "images", "for images, got"),
    ],
)
def test_forced_kinds_that_do_not_fit(x, kind, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, x=x, y=Y, options=ReadOptions(kind=kind))


def test_large_integers_as_identifiers(tmp_path):
    ids = np.arange(4, dtype=np.uint64) + np.uint64(2**63)
    assert read(tmp_path, x=IMAGES, y=Y, ids=ids).ids.tolist() == [str(2**63 + i) for i in range(4)]


def test_bytes_as_identifiers(tmp_path):
    assert read(tmp_path, x=IMAGES, y=Y, ids=np.array([b"a", b"b", b"c", b"d"])).ids.tolist() == list("abcd")


def write_idx(path, array):
    path.write_bytes(bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes())


@pytest.mark.parametrize(("name", "classes"), [("digits", ("0", "1")), ("fashion", FASHION)])
def test_idx_files(name, classes, tmp_path):
    folder = tmp_path / name
    folder.mkdir()
    write_idx(folder / "train-images-idx3-ubyte", IMAGES)
    write_idx(folder / "train-labels-idx1-ubyte", Y)
    data = read_labelled(folder)
    assert (data.name, data.kind, data.classes) == (name, "images", classes)
    assert (data.samples == IMAGES).all()
    with pytest.raises(ValueError, match="has no use for split"):
        read_labelled(folder, ReadOptions(split="test"))
    assert len(read_labelled(folder, ReadOptions(max_bytes=28)).labels) == 4
    with pytest.raises(ValueError, match="train-labels-idx1-ubyte would take 4 bytes, of 3 that are left"):
        read_labelled(folder, ReadOptions(max_bytes=27))
    (folder / "t10k-images-idx3-ubyte").touch()
    assert "The files of a test set are ignored: t10k-images and t10k-labels." in read_labelled(folder).notes
    (folder / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(FileNotFoundError, match="must contain train-labels-idx1-ubyte"):
        read_labelled(folder)
