from __future__ import annotations

import io
import os
import pickle
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from experiments.data.cifar import CLASSES, load_cifar10
from experiments.data.cifar_n import LABEL_KEYS, check_order, load_cifar_n

BATCHES = ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch")

SHARED = Path(__file__).parents[4] / "shared" / "data"


def shared(name):
    if not (SHARED / name).is_file():
        pytest.skip(f"needs the real data in {SHARED / name}")
    return SHARED / name


class Hostile:
    """What a pickle can do when it is loaded: here, make a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


# The folder of Python batches


def batch(number, n=4):
    rng = np.random.default_rng(number)
    return {
        b"batch_label": b"training batch",
        b"labels": rng.integers(10, size=n).tolist(),
        b"data": rng.integers(256, size=(n, 3072), dtype=np.uint8),
        b"filenames": [b"leptodactylus_pentadactylus_s_000004.png"] * n,
    }


def save_batches(folder, protocol=2, **changes):
    folder.mkdir()
    for number, name in enumerate(BATCHES):
        content = changes.get(name, batch(number))
        content = content if isinstance(content, bytes) else pickle.dumps(content, protocol)
        (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_batches(tmp_path, protocol):
    data = load_cifar10(save_batches(tmp_path / "cifar-10-batches-py", protocol))
    parts = [batch(number) for number in range(6)]
    assert data.x_train.dtype == data.x_test.dtype == torch.uint8
    assert data.y_train.dtype == data.y_test.dtype == torch.int64
    assert_array_equal(data.x_train, np.concatenate([p[b"data"] for p in parts[:5]]).reshape(20, 3, 32, 32))
    assert_array_equal(data.y_train, np.concatenate([p[b"labels"] for p in parts[:5]]))
    assert_array_equal(data.x_test, parts[5][b"data"].reshape(4, 3, 32, 32))
    assert_array_equal(data.y_test, parts[5][b"labels"])
    assert data.classes == CLASSES
    assert (len(CLASSES), CLASSES[0], CLASSES[9]) == (10, "airplane", "truck")


def as_python_2_wrote_it(n=2):
    """One batch as the distributed files have it: protocol 2, byte strings as Python 2's str, NumPy's old name."""

    def text(value):  # SHORT_BINSTRING
        return b"U" + bytes([len(value)]) + value

    def number(value):  # BININT
        return b"J" + value.to_bytes(4, "little", signed=True)

    data = bytes(range(256)) * (12 * n)
    dtype = b"cnumpy\ndtype\n" + text(b"u1") + number(0) + number(1) + b"\x87R"
    dtype += b"(" + number(3) + text(b"|") + b"NNN" + number(-1) + number(-1) + number(0) + b"tb"
    array = b"cnumpy.core.multiarray\n_reconstruct\n" + b"cnumpy\nndarray\n" + number(0) + b"\x85" + text(b"b")
    array += b"\x87R(" + number(1) + number(n) + number(3072) + b"\x86" + dtype + b"\x89"
    array += b"T" + len(data).to_bytes(4, "little") + data + b"tb"
    labels = b"](" + b"".join(number(label) for label in range(n)) + b"e"
    return b"\x80\x02}(" + text(b"data") + array + text(b"labels") + labels + b"u."


def test_batches_written_by_python_2(tmp_path):
    data = load_cifar10(save_batches(tmp_path / "folder", test_batch=as_python_2_wrote_it()))
    assert_array_equal(data.x_test.flatten(), np.tile(np.arange(256), 24))
    assert data.y_test.tolist() == [0, 1]


def test_batch_cannot_run_code(tmp_path):
    written = tmp_path / "written"
    hostile = batch(0) | {b"filenames": Hostile(written)}
    folder = save_batches(tmp_path / "folder", data_batch_3=hostile)
    with pytest.raises(
        ValueError, match=r"data_batch_3 can't be read .* asks for (posix|nt)\.mkdir, which no array needs"
    ):
        load_cifar10(folder)
    assert not written.exists()
    pickle.loads((folder / "data_batch_3").read_bytes())
    assert written.exists()  # it would have


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"cbuiltins\neval\n(S'1'\ntR.", r"builtins\.eval"),
        (b"c__builtin__\ngetattr\n.", r"__builtin__\.getattr"),
        (b"cnumpy\nload\n.", r"numpy\.load"),
        (b"cnumpy\nndarray.tofile\n.", r"numpy\.ndarray\.tofile"),
        (b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93.", r"numpy\.ndarray\.tofile"),
        (b"c_codecs\nencode\n(V1\nVrot13\ntR.", "the encoding 'rot13'"),
    ],
)
def test_batch_with_forbidden_names_is_rejected(tmp_path, content, named):
    with pytest.raises(ValueError, match=f"data_batch_1 can't be read .*asks for {named}, which no array needs"):
        load_cifar10(save_batches(tmp_path / "folder", data_batch_1=content))


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (b"", ValueError, "can't be read as a batch of CIFAR-10: .*; extract it again"),
        (b"plain text", ValueError, "can't be read as a batch"),
        (pickle.dumps(batch(1))[:-3000], ValueError, "can't be read as a batch"),
        ([1, 2], ValueError, "must hold a dict with b'data' and b'labels'"),
        ({"data": 1, "labels": 2}, ValueError, "must hold a dict with b'data' and b'labels'"),
        (batch(1) | {b"data": [1, 2]}, TypeError, "b'data' must be an array of uint8, got list"),
        (batch(1) | {b"data": np.zeros((4, 3072))}, TypeError, "b'data' must be an array of uint8, got float64"),
        (
            batch(1) | {b"data": np.zeros((4, 32, 96), np.uint8)},
            ValueError,
            r"b'data' must have shape \(n, 3072\), one row per image, got \(4, 32, 96\)",
        ),
        (batch(1) | {b"labels": [1, 2, 3]}, ValueError, "b'labels' must have one label per image, got 3 for 4"),
        (batch(1) | {b"labels": [1, 2, 3, 10]}, ValueError, r"b'labels' must lie in \[0, 10\), .*, got 10"),
        (batch(1) | {b"labels": [1, -1, 3, 0]}, ValueError, r"b'labels' must lie in \[0, 10\), .*, got -1"),
        (batch(1) | {b"labels": [1, 2.5, 3, 0]}, TypeError, "b'labels' must be integers, got float64"),
        (batch(1) | {b"labels": [[1], [2, 3]]}, ValueError, r"b'labels' must have shape \(n,\), one label per image"),
        (batch(1) | {b"labels": []}, ValueError, r"b'labels' must have shape \(n,\), .* got \(0,\)"),
    ],
)
def test_bad_batches(tmp_path, content, error, message):
    folder = save_batches(tmp_path / "folder", test_batch=content)
    with pytest.raises(error, match=message) as raised:
        load_cifar10(folder)
    assert str(raised.value).startswith(str(folder / "test_batch"))


def test_missing_batch(tmp_path):
    folder = save_batches(tmp_path / "folder")
    (folder / "data_batch_4").unlink()
    with pytest.raises(FileNotFoundError, match=r"folder' must hold data_batch_4; it is .* cifar-10-python\.tar\.gz"):
        load_cifar10(folder)


def test_missing_path(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere' doesn't exist; it must be the folder cifar-10-batches-py"):
        load_cifar10(tmp_path / "nowhere")


# JPEG streams


def jpeg(image, kind="JPEG"):
    image_module = pytest.importorskip("PIL.Image")
    file = io.BytesIO()
    image_module.fromarray(image).save(file, kind, **({"quality": 95, "subsampling": 0} if kind == "JPEG" else {}))
    return file.getvalue()


def enormous(stream):
    """A JPEG file whose header states 65,535 x 65,535 pixels."""
    sizes = stream.index(b"\xff\xc0") + 5  # after the marker, the segment's length and the precision
    return stream[:sizes] + b"\xff" * 4 + stream[sizes + 4 :]


def flat(n, height=32, width=32):
    """Images of one colour each, which JPEG keeps nearly as they are."""
    colours = np.random.default_rng(n).integers(256, size=(n, 1, 1, 3), dtype=np.uint8)
    return np.broadcast_to(colours, (n, height, width, 3)).copy()


def save_jpegs(path, train=None, test=None, **changes):
    arrays = {"classes": np.array(CLASSES)}
    for part, streams, n in (("train", train, 5), ("test", test, 3)):
        streams = [jpeg(image) for image in flat(n)] if streams is None else streams
        arrays[f"jpg_{part}"] = np.frombuffer(b"".join(streams), np.uint8)
        arrays[f"off_{part}"] = np.cumsum([0, *map(len, streams)]).astype(np.uint32)
        arrays[f"y_{part}"] = np.arange(len(streams), dtype=np.uint8)
    np.savez(path, **{key: value for key, value in (arrays | changes).items() if value is not None})
    return path


def test_jpegs(tmp_path):
    data = load_cifar10(str(save_jpegs(tmp_path / "jpegs.npz")))
    assert data.x_train.dtype == data.x_test.dtype == torch.uint8
    assert data.x_train.is_contiguous()
    for found, expected in ((data.x_train, flat(5)), (data.x_test, flat(3))):
        assert found.shape == (len(expected), 3, 32, 32)
        difference = found.permute(0, 2, 3, 1).numpy().astype(int) - expected
        assert abs(difference).max() <= 3
    assert data.y_train.dtype == torch.int64
    assert data.y_train.tolist() == [0, 1, 2, 3, 4]
    assert data.y_test.tolist() == [0, 1, 2]
    assert data.classes == CLASSES


def test_grey_jpegs_have_three_channels(tmp_path):
    data = load_cifar10(save_jpegs(tmp_path / "jpegs.npz", test=[jpeg(flat(1)[0, :, :, 0])] * 2))
    assert data.x_test.shape == (2, 3, 32, 32)
    assert torch.equal(data.x_test[:, 0], data.x_test[:, 2])


def test_other_classes(tmp_path):
    names = ("a", "b", "c", "d", "e", "none of these")
    assert load_cifar10(save_jpegs(tmp_path / "jpegs.npz", classes=np.array(names))).classes == names


@pytest.mark.parametrize(
    ("streams", "message"),
    [
        ([b"no picture"], "jpg_test can't be decoded at index 0: cannot identify"),
        (lambda: [jpeg(flat(1)[0]), jpeg(flat(1)[0])[:-60]], "jpg_test can't be decoded at index 1: "),
        (lambda: [jpeg(flat(1)[0]), b""], "jpg_test can't be decoded at index 1: cannot identify"),
        (lambda: [jpeg(flat(1, 32, 31)[0])], "can't be decoded at index 0: it has 31x32 pixels, not 32x32"),
        (lambda: [enormous(jpeg(flat(1)[0]))], "can't be decoded at index 0: .*decompression bomb"),
        (lambda: [jpeg(flat(1)[0], "PNG")], "can't be decoded at index 0: cannot identify"),
    ],
    ids=["text", "cut off", "empty", "size", "bomb", "PNG"],
)
def test_bad_jpegs(tmp_path, streams, message):
    path = save_jpegs(tmp_path / "jpegs.npz", test=streams() if callable(streams) else streams)
    with pytest.raises(ValueError, match=message) as raised:
        load_cifar10(path)
    assert str(raised.value).startswith(str(path))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"off_test": None, "classes": None}, ValueError, "must hold the arrays off_test, classes; found jpg_train"),
        ({"off_test": np.array([0, 1, 2, 3])}, ValueError, "off_test must run from 0 to the length of jpg_test"),
        ({"off_test": np.zeros(0, int)}, ValueError, "off_test must run from 0 .* got shapes"),
        ({"off_test": np.zeros(4)}, TypeError, "jpg_test must be uint8 and off_test integers, got uint8 and float64"),
        ({"jpg_test": np.zeros(9)}, TypeError, "jpg_test must be uint8 .* got float64"),
        (
            {"jpg_test": np.zeros(9, np.uint8), "off_test": np.array([0, 8, 7, 9], np.uint32)},
            ValueError,
            "off_test must ascend",
        ),
        ({"y_test": np.arange(4)}, ValueError, "y_test must have one label per image, got 4 for 3"),
        ({"y_train": np.arange(6, 11)}, ValueError, r"y_train must lie in \[0, 10\), .* got 10"),
        ({"classes": np.arange(10)}, TypeError, "classes must be a 1-D array of strings, got int64"),
        ({"classes": np.array([{}])}, ValueError, "can't be read: .*allow_pickle"),
    ],
)
def test_bad_files_of_jpegs(tmp_path, changes, error, message):
    path = save_jpegs(tmp_path / "jpegs.npz", **changes)
    with pytest.raises(error, match=message) as raised:
        load_cifar10(path)
    assert str(raised.value).startswith(str(path))


def test_file_that_is_not_npz(tmp_path):
    (tmp_path / "jpegs.npz").write_text("text")
    with pytest.raises(ValueError, match=r"jpegs\.npz isn't a \.npz archive; numpy\.savez writes one"):
        load_cifar10(tmp_path / "jpegs.npz")


def test_jpegs_without_pillow(tmp_path, monkeypatch):
    path = save_jpegs(tmp_path / "jpegs.npz")
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r"needs Pillow: pip install pillow; cifar-10-batches-py does without"):
        load_cifar10(path)


# CIFAR-10N


def human(**changes):
    rng = np.random.default_rng(3)
    labels = {key: rng.integers(10, size=12) for key in LABEL_KEYS}
    return {key: value for key, value in (labels | changes).items() if value is not None}


def save_human(path, protocol=2, old_format=False, **changes):
    if path.suffix == ".npz":
        np.savez(path, **human(**changes))
    else:
        zipped = not old_format
        torch.save(human(**changes), path, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    return path


@pytest.mark.parametrize("name", ["CIFAR-10_human.pt", "labels.npz"])
@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8])
def test_human_labels(tmp_path, name, dtype):
    expected = {key: values.astype(dtype) for key, values in human().items()}
    labels = load_cifar_n(str(save_human(tmp_path / name, **expected)))
    assert tuple(labels) == LABEL_KEYS
    for key, values in labels.items():
        assert values.dtype == torch.int64
        assert_array_equal(values, expected[key])
    check_order(labels, torch.from_numpy(expected["clean_label"].astype(np.int64)))


@pytest.mark.parametrize("old_format", [False, True], ids=["zip", "before PyTorch 1.6"])
@pytest.mark.parametrize("module", ["numpy.core.multiarray", "numpy._core.multiarray"])
def test_pt_file_of_either_numpy_version(tmp_path, old_format, module):
    path = save_human(tmp_path / "human.pt", old_format=old_format)
    content, written = path.read_bytes(), np.empty(0).__reduce__()[0].__module__
    old, new = (f"c{name}\n_reconstruct\n".encode() for name in (written, module))
    if old_format:
        assert old in content
        path.write_bytes(content.replace(old, new))
    else:  # write the archive anew, with the other name in its pickle
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        with zipfile.ZipFile(path, "w") as archive:
            for name, member in members.items():
                assert not name.endswith("data.pkl") or old in member
                archive.writestr(name, member.replace(old, new))
    assert_array_equal(load_cifar_n(path)["worse_label"], human()["worse_label"])


def test_pt_file_of_tensors_and_lists(tmp_path):
    labels = human()
    changes = {
        "clean_label": torch.from_numpy(labels["clean_label"]),
        "worse_label": labels["worse_label"].tolist(),
        "note": "ours",
    }
    found = load_cifar_n(save_human(tmp_path / "human.pt", **changes))
    assert_array_equal(found["clean_label"], labels["clean_label"])
    assert_array_equal(found["worse_label"], labels["worse_label"])
    assert "note" not in found


def test_pt_file_cannot_run_code(tmp_path):
    written = tmp_path / "written"
    path = save_human(tmp_path / "human.pt", note=Hostile(written))
    with pytest.raises(ValueError, match=r"human\.pt can't be read as a dict of arrays that torch\.save wrote"):
        load_cifar_n(path)
    assert not written.exists()
    torch.load(path, weights_only=False)
    assert written.exists()  # it would have


def test_safe_globals_are_reset(tmp_path):
    before = set(torch.serialization.get_safe_globals())  # which come in any order
    load_cifar_n(save_human(tmp_path / "human.pt"))
    assert set(torch.serialization.get_safe_globals()) == before


@pytest.mark.parametrize("name", ["human.pt", "human.npz"])
@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (
            {"worse_label": None, "aggre_label": None},
            ValueError,
            "must hold the labels aggre_label, worse_label; found",
        ),
        (
            {"worse_label": np.arange(11) % 10},
            ValueError,
            "worse_label must have one label for each clean_label, got 11",
        ),
        ({"worse_label": np.arange(12)}, ValueError, r"worse_label must lie in \[0, 10\), .* got 11"),
        ({"random_label2": np.full(12, -1)}, ValueError, r"random_label2 must lie in \[0, 10\), .* got -1"),
        ({"random_label1": np.zeros(12)}, TypeError, "random_label1 must be integers, got float64"),
        ({"random_label3": np.zeros((12, 1), int)}, ValueError, r"random_label3 must have shape \(n,\), .* \(12, 1\)"),
    ],
)
def test_bad_human_labels(tmp_path, name, changes, error, message):
    path = save_human(tmp_path / name, **changes)
    with pytest.raises(error, match=message) as raised:
        load_cifar_n(path)
    assert str(raised.value).startswith(str(path))


@pytest.mark.parametrize("content", [b"", b"plain text", b"PK\x03\x04 and no more"])
@pytest.mark.parametrize("name", ["human.pt", "human.npz"])
def test_unreadable_human_labels(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"{name} (can't be read|isn't a .npz archive)"):
        load_cifar_n(tmp_path / name)


def test_pt_file_of_another_object(tmp_path):
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(ValueError, match=r"list\.pt must hold a dict of labels, got list"):
        load_cifar_n(tmp_path / "list.pt")


def test_old_torch_raises_with_remedy(tmp_path, monkeypatch):
    path = save_human(tmp_path / "human.pt")
    monkeypatch.setattr(torch, "__version__", torch.torch_version.TorchVersion("2.5.1+cpu"))
    with pytest.raises(RuntimeError, match=r"needs PyTorch 2\.6 or newer .* this is 2\.5\.1.*; save .* numpy\.savez"):
        load_cifar_n(path)
    monkeypatch.setattr(torch, "__version__", torch.torch_version.TorchVersion("2.13.0"))
    assert len(load_cifar_n(path)) == 6


def test_missing_human_labels(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.pt' isn't an existing file; .* CIFAR-10_human\.pt"):
        load_cifar_n(tmp_path / "nowhere.pt")


@pytest.mark.parametrize(
    ("y_train", "message"),
    [
        (torch.tensor([1, 2]), r"must be y_train, of shape \(2,\), got shape \(3,\); CIFAR-10N labels the 50,000"),
        (torch.tensor([1, 3, 2]), "another label for 2 of 3 images, first at index 1; .* in CIFAR-10's order"),
    ],
)
def test_check_order_rejects_another_order(y_train, message):
    labels = {"clean_label": torch.tensor([1, 2, 3])}
    with pytest.raises(ValueError, match=message):
        check_order(labels, y_train)


# The real data


def test_real_labels_match_the_real_images():
    labels = load_cifar_n(shared("cifar10n_labels.npz"))
    with np.load(shared("cifar10_jpegq75.npz")) as archive:  # without its images, whose decoding takes seconds
        check_order(labels, torch.from_numpy(archive["y_train"].astype(np.int64)))
    wrong = {key: (values != labels["clean_label"]).float().mean().item() for key, values in labels.items()}
    expected = [0, 0.0901, 0.4021, 0.1723, 0.1812, 0.1764]  # as published
    assert [wrong[key] for key in LABEL_KEYS] == pytest.approx(expected, abs=1e-4)
