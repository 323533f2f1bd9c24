from __future__ import annotations

import gzip
import struct
import sys
import zipfile

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from rrm_torch.data.idx import read_idx
from rrm_torch.data.images import FASHION, load, load_digits, load_idx, load_npz

# Helpers


def images(n, *shape, dtype=np.uint8, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(256, size=(n, *shape), dtype=np.uint8) if dtype == np.uint8 else rng.random((n, *shape), dtype)


def arrays(**changes):
    """Six training and three test images of 4 x 5 pixels in three classes."""
    defaults = {
        "x_train": images(6, 4, 5),
        "y_train": np.array([0, 1, 2, 0, 1, 2], np.uint8),
        "x_test": images(3, 4, 5, seed=1),
        "y_test": np.array([2, 1, 0], np.uint8),
    }
    return {key: value for key, value in (defaults | changes).items() if value is not None}


def save_npz(path, **changes):
    np.savez(path, **arrays(**changes))
    return path


def idx(array, code=0x08):
    array = np.asarray(array)
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


IDX_NAMES = {
    "x_train": "train-images-idx3-ubyte",
    "y_train": "train-labels-idx1-ubyte",
    "x_test": "t10k-images-idx3-ubyte",
    "y_test": "t10k-labels-idx1-ubyte",
}


def save_idx(folder, spell=lambda name: name, **changes):
    folder.mkdir(exist_ok=True)
    for key, array in arrays(**changes).items():
        name = spell(IDX_NAMES[key])
        content = idx(array)
        (folder / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return folder


def check(data, expected):
    """Assert that `data` holds the `expected` arrays, in standardised units."""
    assert data.x_train.dtype == data.x_test.dtype == torch.float32
    assert data.y_train.dtype == data.y_test.dtype == torch.int64
    assert data.x_train.mean().item() == pytest.approx(0, abs=1e-5)
    assert data.x_train.std(correction=0).item() == pytest.approx(1, abs=1e-5)
    pixels = expected["x_train"] / (255 if expected["x_train"].dtype == np.uint8 else 1)
    assert_allclose(data.pictures(range(len(pixels))), pixels, atol=1e-6)
    test = expected["x_test"] / (255 if expected["x_test"].dtype == np.uint8 else 1)
    standardised = (test - pixels.mean()) / pixels.std()
    channels_first = standardised[:, np.newaxis] if test.ndim == 3 else np.moveaxis(standardised, -1, 1)
    assert_allclose(data.x_test, channels_first, atol=1e-5)
    assert_array_equal(data.y_train, expected["y_train"])
    assert_array_equal(data.y_test, expected["y_test"])


# Digits


def test_digits():
    data = load_digits()
    assert data.name == "digits"
    assert data.x_train.shape == (1347, 1, 8, 8)
    assert data.x_test.shape == (450, 1, 8, 8)
    assert data.classes == tuple("0123456789")
    assert data.n_classes == 10
    shares = torch.bincount(data.y_test) / (torch.bincount(data.y_train) + torch.bincount(data.y_test))
    assert_allclose(shares, 0.25, atol=0.01)
    pixels = data.pictures(range(1347))
    assert pixels.shape == (1347, 8, 8)
    assert_allclose(16 * pixels, np.round(16 * pixels), atol=1e-4)  # 16 grey levels
    assert 0 <= pixels.min() < 1e-6
    assert 1 - 1e-6 < pixels.max() <= 1
    assert data.x_train.mean().item() == pytest.approx(0, abs=1e-5)
    assert data.x_train.std(correction=0).item() == pytest.approx(1, abs=1e-5)


def test_digits_split_depends_only_on_the_seed():
    first = load_digits()
    again = load_digits()
    other = load_digits(seed=1)
    assert torch.equal(first.x_train, again.x_train)
    assert torch.equal(first.y_test, again.y_test)
    assert not torch.equal(first.y_test, other.y_test)


def test_digits_labels_belong_to_their_images():
    data = (
        load_digits()
    )  # the nearest training image has the label of nearly every test image only if labels belong to images
    nearest = torch.cdist(data.x_test.flatten(1), data.x_train.flatten(1)).argmin(dim=1)
    assert (data.y_train[nearest] == data.y_test).float().mean() > 0.95


@pytest.mark.parametrize("test_share", [0.01, 0.5, 0.99])
def test_digits_test_share(test_share):
    data = load_digits(test_share)
    assert len(data.y_test) == pytest.approx(1797 * test_share, abs=1)
    assert len(data.y_train.unique()) == len(data.y_test.unique()) == 10


@pytest.mark.parametrize("test_share", [0, 1, -0.1, float("nan")])
def test_digits_rejects_bad_test_share(test_share):
    with pytest.raises(ValueError, match=rf"test_share must lie in \[0\.01, 0\.99\] .* got {test_share}"):
        load_digits(test_share)


def test_digits_without_scikit_learn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ImportError, match=r"scikit-learn, which is not installed: pip install scikit-learn"):
        load_digits()


# npz


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 1), (4, 5, 3)], ids=["grey", "one channel", "colour"])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_npz(tmp_path, shape, dtype):
    changed = arrays(x_train=images(6, *shape, dtype=dtype), x_test=images(3, *shape, dtype=dtype, seed=1))
    data = load_npz(save_npz(tmp_path / "shapes.npz", **changed))
    channels = shape[2] if len(shape) == 3 else 1
    assert data.name == "shapes"
    assert data.x_train.shape == (6, channels, 4, 5)
    assert data.classes == ("0", "1", "2")
    if channels == 1:  # one channel is shown without its axis
        changed |= {key: changed[key].reshape(-1, 4, 5) for key in ("x_train", "x_test")}
    check(data, changed)


def test_npz_with_class_names(tmp_path):
    data = load_npz(save_npz(tmp_path / "fashion.npz", classes=np.array(["cat", "dog", "emu", "none of these"])))
    assert data.classes == ("cat", "dog", "emu", "none of these")


def test_npz_ignores_other_arrays(tmp_path):
    check(load_npz(save_npz(tmp_path / "more.npz", notes=np.zeros(2))), arrays())


def test_npz_compressed(tmp_path):
    np.savez_compressed(tmp_path / "small.npz", **arrays())
    check(load_npz(str(tmp_path / "small.npz")), arrays())


def test_npz_floats_outside_the_unit_interval_use_their_own_range(tmp_path):
    x = np.linspace(-3, 5, 120).reshape(6, 4, 5)
    data = load_npz(save_npz(tmp_path / "wide.npz", x_train=x, x_test=10 * x[:3]))
    assert_allclose(data.pictures(range(6)), (x + 3) / 8, atol=1e-6)


def test_npz_dark_images_keep_the_unit_range(tmp_path):
    x = images(6, 4, 5) // 4
    assert_allclose(load_npz(save_npz(tmp_path / "dark.npz", x_train=x)).pictures([2]), x[[2]] / 255, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (
            {"x_test": None, "y_test": None},
            ValueError,
            "must contain the arrays x_test, y_test; it has x_train, y_train",
        ),
        ({"y_test": np.zeros(3)}, TypeError, "y_test must be integers, got float64"),
        ({"y_train": np.arange(5) % 3}, ValueError, r"y_train must have one label .* got \(6, 4, 5\) and \(5,\)"),
        (
            {"y_train": np.zeros((6, 1), int)},
            ValueError,
            r"y_train must have shape .*; labels in a column are y_train\[:, 0\]",
        ),
        (
            {"y_test": np.zeros((3, 1), int)},
            ValueError,
            r"y_test must have shape .*; labels in a column are y_test\[:, 0\]",
        ),
        ({"y_test": np.arange(4) % 3}, ValueError, r"y_test must have one label per image, got \(3, 4, 5\) and \(4,\)"),
        ({"y_train": np.array([0, 1, 2, 0, 1, -1])}, ValueError, r"y_train must lie in \[0, 3\), .* got -1"),
        ({"classes": np.array(["a", "b"])}, ValueError, r"y_train must lie in \[0, 2\), one label .* got 2"),
        ({"y_train": np.zeros(6, int), "y_test": np.zeros(3, int)}, ValueError, "at least 2 classes, got 1"),
        (
            {"classes": np.arange(3, dtype=np.int64)},
            TypeError,
            r"classes must be a 1-D array of strings, got int64 \(3,\)",
        ),
        ({"classes": np.array("abc")}, TypeError, r"classes must be a 1-D array of strings, got <U3 \(\)"),
        (
            {"x_train": images(6, 4, 5).astype(np.int64)},
            TypeError,
            "x_train must be uint8 or floating-point, got int64",
        ),
        ({"x_train": images(6, 20)}, ValueError, r"x_train must have shape \(n, H, W\) or .* got \(6, 20\)"),
        ({"x_train": images(6, 3, 4, 5)}, ValueError, r"got \(6, 3, 4, 5\); numpy\.moveaxis\(images, 1, -1\)"),
        (
            {"x_test": images(3, 5, 4)},
            ValueError,
            r"x_test must have .* x_train's shape, got \(3, 5, 4\) and \(6, 4, 5\)",
        ),
        ({"x_test": images(3, 4, 5, dtype=np.float32)}, TypeError, "x_train's kind, got float32 and uint8"),
        ({"x_test": images(0, 4, 5), "y_test": np.zeros(0, int)}, ValueError, r"x_test must hold at least one image"),
        (
            {"x_train": np.full((6, 4, 5), 7, np.uint8)},
            ValueError,
            "x_train must not be constant, got 7 in every pixel",
        ),
        ({"x_train": np.full((6, 4, 5), np.nan)}, ValueError, "x_train must be finite in single precision"),
        ({"x_train": np.full((6, 4, 5), 1e300)}, ValueError, "x_train must be finite in single precision"),
        ({"x_train": np.full((6, 4, 5), None)}, ValueError, "can't be read: .*allow_pickle"),
    ],
)
def test_npz_rejects_bad_arrays(tmp_path, changes, error, message):
    path = save_npz(tmp_path / "bad.npz", **changes)
    with pytest.raises(error, match=message) as raised:
        load_npz(path)
    assert str(path) in str(raised.value)


def test_npz_rejects_other_file(tmp_path):
    (tmp_path / "text.npz").write_text("not an archive")
    with pytest.raises(ValueError, match=r"text\.npz isn't a \.npz archive; numpy\.savez writes one"):
        load_npz(tmp_path / "text.npz")


def test_npz_without_arrays(tmp_path):
    with zipfile.ZipFile(tmp_path / "empty.npz", "w"):
        pass
    with pytest.raises(ValueError, match=r"empty\.npz must contain the arrays x_train, .* y_test; it has none"):
        load_npz(tmp_path / "empty.npz")


def test_npz_damaged(tmp_path):
    path = save_npz(tmp_path / "damaged.npz")
    content = bytearray(path.read_bytes())
    content[content.index(arrays()["x_train"].tobytes())] ^= 1  # one bit: only the checksum tells
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"damaged\.npz can't be read: .*CRC"):
        load_npz(path)


def test_npz_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.npz' isn't an existing file"):
        load_npz(tmp_path / "nowhere.npz")


# IDX


@pytest.mark.parametrize(
    "spell",
    [
        lambda name: name,
        lambda name: name + ".gz",
        lambda name: name.replace("-idx", ".idx"),
        lambda name: name.replace("-idx", ".idx") + ".gz",
    ],
    ids=["plain", "gz", "dotted", "dotted gz"],
)
def test_idx(tmp_path, spell):
    data = load_idx(save_idx(tmp_path / "mnist", spell))
    assert data.name == "mnist"
    assert data.classes == ("0", "1", "2")
    assert data.x_train.shape == (6, 1, 4, 5)
    check(data, arrays())


@pytest.mark.parametrize("name", ["fashion", "Fashion-MNIST", "my_fashion_mnist"])
def test_fashion_has_class_names(tmp_path, name):
    assert load_idx(save_idx(tmp_path / name)).classes == FASHION
    assert load_npz(save_npz(tmp_path / f"{name}.npz")).classes == FASHION
    assert (len(FASHION), FASHION[0], FASHION[9]) == (10, "T-shirt/top", "Ankle boot")


def test_idx_in_the_working_directory_has_the_name_of_the_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(save_idx(tmp_path / "mnist"))
    assert load_idx(".").name == "mnist"


@pytest.mark.parametrize(
    ("code", "dtype"), [(0x08, "u1"), (0x09, "i1"), (0x0B, "i2"), (0x0C, "i4"), (0x0D, "f4"), (0x0E, "f8")]
)
def test_idx_types(tmp_path, code, dtype):
    array = np.array([[1, 2, 3], [100, 5, 6]], dtype)
    (tmp_path / "array").write_bytes(idx(array, code))
    actual = read_idx(tmp_path / "array", 2)
    assert actual.dtype == array.dtype
    assert actual.dtype.isnative
    assert_array_equal(actual, array)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"isn't an IDX file: it begins with the bytes \(none\)"),
        (b"\0\0\x08", "isn't an IDX file: it begins with the bytes 00 00 08$"),
        (b"\x1f\x8b\x08\x00rest", "isn't an IDX file: it begins with the bytes 1f 8b 08 00"),
        (b"\0\0\x07\x01" + bytes(4), "isn't an IDX file: it begins with the bytes 00 00 07 01"),
        (idx(np.zeros((2, 2), np.uint8)), "must hold an array with 1 dimensions, got 2"),
        (b"\0\0\x08\x01\0\0", "ends within its header, after 6 of 8 bytes"),
        (idx(np.zeros(5, np.uint8))[:-1], r"must hold 5 bytes of data for its shape \(5,\), got 4"),
        (idx(np.zeros(5, np.uint8)) + b"\0", r"must hold 5 bytes of data for its shape \(5,\), got 6"),
        (idx(np.zeros(5, "i4"), 0x0C)[:-4], r"must hold 20 bytes of data for its shape \(5,\), got 16"),
        (b"\0\0\x08\x01\xff\xff\xff\xff", "must hold 4,294,967,295 bytes"),
    ],
)
def test_read_idx_rejects_bad_content(tmp_path, content, message):
    path = tmp_path / "labels"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as raised:
        read_idx(path, 1)
    assert str(raised.value).startswith(str(path))


@pytest.mark.parametrize("damage", [lambda _: b"plain text", lambda c: c[:-9], lambda c: c[:10] + b"\xff" * 20])
def test_read_idx_rejects_bad_gzip(tmp_path, damage):
    path = tmp_path / "labels.gz"
    path.write_bytes(damage(gzip.compress(idx(np.zeros(50, np.uint8)))))
    with pytest.raises(ValueError, match=r"labels\.gz isn't a valid gzip file: "):
        read_idx(path, 1)


def test_idx_file_missing(tmp_path):
    folder = save_idx(tmp_path / "mnist", y_test=None)
    with pytest.raises(
        FileNotFoundError,
        match=r"mnist' must contain t10k-labels-idx1-ubyte or t10k-labels-idx1-ubyte\.gz, found neither",
    ):
        load_idx(folder)


def test_idx_folder_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere' isn't an existing folder"):
        load_idx(tmp_path / "nowhere")


def test_idx_rejects_images_and_labels_of_different_length(tmp_path):
    folder = save_idx(tmp_path / "mnist", y_train=np.zeros(5, np.uint8))
    with pytest.raises(ValueError, match=r"mnist: y_train must have one label per image, got \(6, 4, 5\) and \(5,\)"):
        load_idx(folder)


# Pictures


@pytest.mark.parametrize(
    "indices",
    [[4, 0], (4, 0), np.array([4, 0]), torch.tensor([4, 0]), [-2, -6]],
    ids=["list", "tuple", "array", "tensor", "negative"],
)
def test_pictures_by_index(tmp_path, indices):
    pictures = load_npz(save_npz(tmp_path / "a.npz")).pictures(indices)
    assert pictures.dtype == np.float32
    assert_allclose(pictures, arrays()["x_train"][[4, 0]] / 255, atol=1e-6)


def test_pictures_by_mask(tmp_path):
    mask = np.array([True, False, False, True, False, False])
    assert_allclose(load_npz(save_npz(tmp_path / "a.npz")).pictures(mask), arrays()["x_train"][mask] / 255, atol=1e-6)


@pytest.mark.parametrize(("shape", "empty"), [((4, 5), (0, 4, 5)), ((4, 5, 3), (0, 4, 5, 3))])
def test_no_pictures(tmp_path, shape, empty):
    changed = {"x_train": images(6, *shape), "x_test": images(3, *shape)}
    assert load_npz(save_npz(tmp_path / "a.npz", **changed)).pictures([]).shape == empty


@pytest.mark.parametrize("indices", [[6], [-7], [0.5]])
def test_pictures_rejects_bad_index(tmp_path, indices):
    with pytest.raises(IndexError):
        load_npz(save_npz(tmp_path / "a.npz")).pictures(indices)


@pytest.mark.parametrize("seed", range(10))
def test_pictures_stay_in_range(tmp_path, seed):  # rounding could exceed it
    x = images(6, 4, 5, seed=seed)
    x[0, 0, :2] = 0, 255
    pictures = load_npz(save_npz(tmp_path / "a.npz", x_train=x)).pictures([0])
    assert 0 <= pictures.min() < 1e-6
    assert 1 - 1e-6 < pictures.max() <= 1


def test_pictures_are_copies(tmp_path):
    data = load_npz(save_npz(tmp_path / "a.npz"))
    before = data.x_train.clone()
    data.pictures(range(6))[:] = 9
    assert torch.equal(data.x_train, before)


# load


def test_load_selects_the_loader(tmp_path):
    assert load("digits").name == "digits"
    assert load(str(save_npz(tmp_path / "some.npz"))).name == "some"
    assert load(save_idx(tmp_path / "folder")).name == "folder"


def test_load_missing(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"digitz' doesn't exist; it must be 'digits', a \.npz file, or a folder"
    ):
        load(str(tmp_path / "digitz"))


def test_load_rejects_other_file(tmp_path):
    (tmp_path / "data.csv").touch()
    with pytest.raises(ValueError, match=r"source must be 'digits', a \.npz file, .* got the file '.*data\.csv'"):
        load(str(tmp_path / "data.csv"))


def test_rejects_label_beyond_the_number_of_images(tmp_path):
    path = tmp_path / "mine.npz"
    save_npz(path, y_train=np.array([0, 1, 2_000_000_000, 1, 0, 1]))
    with pytest.raises(ValueError, match="y_train must hold labels from 0 on, got 2,000,000,000"):
        load_npz(path)
