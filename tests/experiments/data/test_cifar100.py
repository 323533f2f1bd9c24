from __future__ import annotations

import os
import pickle

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from experiments.data.cifar100 import load_cifar100
from experiments.data.cifar_n import LABEL_KEYS_100, check_order, load_cifar100_n

NAMES = {
    b"fine_label_names": [b"class %d" % number for number in range(100)],
    b"coarse_label_names": [b"superclass %d" % number for number in range(20)],
}


def part(seed, n=4):
    """The entries of the distributed files."""
    rng = np.random.default_rng(seed)
    return {
        b"filenames": [b"bos_taurus_s_000507.png"] * n,
        b"batch_label": b"training batch 1 of 1",
        b"fine_labels": rng.integers(100, size=n).tolist(),
        b"coarse_labels": rng.integers(20, size=n).tolist(),
        b"data": rng.integers(256, size=(n, 3072), dtype=np.uint8),
    }


def save_cifar100(folder, **changes):
    folder.mkdir()
    for name, content in ({"train": part(0, 6), "test": part(1), "meta": NAMES} | changes).items():
        (folder / name).write_bytes(content if isinstance(content, bytes) else pickle.dumps(content, 2))
    return folder


def test_images_and_labels(tmp_path):
    data = load_cifar100(str(save_cifar100(tmp_path / "cifar-100-python")))
    for x, y, coarse, expected in (
        (data.x_train, data.y_train, data.coarse_train, part(0, 6)),
        (data.x_test, data.y_test, data.coarse_test, part(1)),
    ):
        assert (x.dtype, y.dtype, coarse.dtype) == (torch.uint8, torch.int64, torch.int64)
        assert_array_equal(x, expected[b"data"].reshape(-1, 3, 32, 32))
        assert_array_equal(y, expected[b"fine_labels"])
        assert_array_equal(coarse, expected[b"coarse_labels"])
    assert data.classes == tuple(f"class {number}" for number in range(100))
    assert data.coarse_classes == tuple(f"superclass {number}" for number in range(20))


class Hostile:
    """What a pickle can do when it is loaded: here, make a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("name", ["train", "test", "meta"])
def test_file_cannot_run_code(tmp_path, name):
    folder = save_cifar100(tmp_path / "folder", **{name: {b"filenames": Hostile(tmp_path / "written")}})
    with pytest.raises(
        ValueError, match=rf"{name} can't be read as .* asks for (posix|nt)\.mkdir, which no array needs"
    ):
        load_cifar100(folder)
    assert not (tmp_path / "written").exists()


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        ("test", b"", ValueError, "can't be read as a part of CIFAR-100"),
        (
            "train",
            {b"data": 1, b"labels": 2},
            ValueError,
            "must hold a dict with b'data' and b'fine_labels' and b'coarse",
        ),
        ("train", part(0) | {b"data": [1]}, TypeError, "b'data' must be an array of uint8, got list"),
        (
            "test",
            part(0) | {b"data": np.zeros((4, 3071), np.uint8)},
            ValueError,
            r"b'data' must have shape \(n, 3072\), .*\(4, 3071\)",
        ),
        (
            "train",
            part(0) | {b"fine_labels": [0, 1, 2, 100]},
            ValueError,
            r"b'fine_labels' must lie in \[0, 100\), .*100",
        ),
        (
            "test",
            part(0) | {b"coarse_labels": [0, 20, 2, 1]},
            ValueError,
            r"b'coarse_labels' must lie in \[0, 20\), .*20",
        ),
        (
            "test",
            part(0) | {b"coarse_labels": [0, 1]},
            ValueError,
            "b'coarse_labels' must have one label per image, got 2",
        ),
        (
            "meta",
            NAMES | {b"coarse_label_names": [b"a"]},
            ValueError,
            "b'coarse_label_names' must be a list of 20 names",
        ),
        (
            "meta",
            NAMES | {b"fine_label_names": list("a" * 100)},
            ValueError,
            "b'fine_label_names' must be a list of 100",
        ),
    ],
)
def test_bad_files(tmp_path, name, content, error, message):
    folder = save_cifar100(tmp_path / "folder", **{name: content})
    with pytest.raises(error, match=message) as raised:
        load_cifar100(folder)
    assert str(raised.value).startswith(str(folder / name))


@pytest.mark.parametrize("name", ["train", "test", "meta"])
def test_missing_file(tmp_path, name):
    folder = save_cifar100(tmp_path / "folder")
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=rf"folder' must hold {name}; it is the folder cifar-100-python"):
        load_cifar100(folder)


def test_missing_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere' isn't an existing folder; it must be cifar-100-python"):
        load_cifar100(tmp_path / "nowhere")


def test_files_beyond_the_limit_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"folder would take .* bytes, of 1,000 that are left of max_bytes"):
        load_cifar100(save_cifar100(tmp_path / "folder"), max_bytes=1_000)


# CIFAR-100N


def human(**changes):
    rng = np.random.default_rng(3)
    labels = {key: rng.integers(20 if "coarse" in key else 100, size=12) for key in LABEL_KEYS_100}
    return {key: value for key, value in (labels | changes).items() if value is not None}


def save_human(path, **changes):
    if path.suffix == ".npz":
        np.savez(path, **human(**changes))
    else:
        torch.save(human(**changes), path)
    return path


@pytest.mark.parametrize("name", ["CIFAR-100_human.pt", "labels.npz"])
def test_human_labels(tmp_path, name):
    labels = load_cifar100_n(save_human(tmp_path / name))
    assert tuple(labels) == LABEL_KEYS_100
    for key, values in labels.items():
        assert values.dtype == torch.int64
        assert_array_equal(values, human()[key])
    check_order(labels, torch.from_numpy(human()["clean_label"]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"noisy_coarse_label": None}, "must hold the labels noisy_coarse_label; found clean_label, noisy_label"),
        ({"noisy_label": np.full(12, 100)}, r"noisy_label must lie in \[0, 100\), .* got 100"),
        ({"clean_coarse_label": np.full(12, 20)}, r"clean_coarse_label must lie in \[0, 20\), .* got 20"),
        ({"noisy_label": np.zeros(11, int)}, "noisy_label must have one label for each clean_label, got 11 for 12"),
    ],
)
def test_bad_human_labels(tmp_path, changes, message):
    path = save_human(tmp_path / "human.pt", **changes)
    with pytest.raises(ValueError, match=message) as raised:
        load_cifar100_n(path)
    assert str(raised.value).startswith(str(path))


def test_missing_human_labels(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"nowhere\.pt' isn't an existing file; CIFAR-100N comes as CIFAR-100_hum"
    ):
        load_cifar100_n(tmp_path / "nowhere.pt")


def test_unreadable_human_labels(tmp_path):
    (tmp_path / "human.pt").write_bytes(b"plain text")
    with pytest.raises(ValueError, match=r"human\.pt can't be read .*; download CIFAR-100_human\.pt again"):
        load_cifar100_n(tmp_path / "human.pt")


@pytest.mark.parametrize(
    ("y_train", "message"),
    [
        (torch.zeros(3, dtype=torch.int64), "CIFAR-100N labels the 50,000 training images"),
        (
            torch.from_numpy(human()["clean_label"]).flip(0),
            "first at index 0; load .* in CIFAR-100's order, unshuffled",
        ),
    ],
)
def test_check_order_rejects_another_order(tmp_path, y_train, message):
    with pytest.raises(ValueError, match=message):
        check_order(load_cifar100_n(save_human(tmp_path / "labels.npz")), y_train)
