"""Features, logits and probabilities, as columns and as .npy files."""

from __future__ import annotations

import io

import numpy as np
import pytest

from rrm_torch.find.readers.labelled_data import ReadOptions
from rrm_torch.find.readers.sources import read_labelled

LABELS = ["dog", "cat"] * 2
PROBABILITIES = np.array([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5], [1.0, 0.0]])


def write(folder, matrix=None, names=(), labels=LABELS):
    path = folder / "labels.csv"
    rows = [] if matrix is None else [f",{','.join(map(str, row))}" for row in matrix]
    lines = ["label" + "".join(f",{name}" for name in names)]
    lines += [f"{label}{row}" for label, row in zip(labels, rows or [""] * len(labels), strict=True)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def read_scores(folder, matrix, names, labels=LABELS, logits=("*",)):
    return read_labelled(write(folder, matrix, names, labels), ReadOptions(logits=logits))


def test_features_by_pattern(tmp_path):
    path = write(tmp_path, np.arange(12).reshape(4, 3), ("emb_1", "emb_0", "other"))
    data = read_labelled(path, ReadOptions(features=("emb_*",)))
    assert (data.kind, data.samples.dtype) == ("features", np.float32)
    assert data.samples.tolist() == [[0, 1], [3, 4], [6, 7], [9, 10]]
    data = read_labelled(path, ReadOptions(features=("other", "emb_0")))
    assert data.samples.tolist() == [[2, 1], [5, 4], [8, 7], [11, 10]]
    data = read_labelled(path, ReadOptions(features=("other",), kind="table"))
    assert (data.kind, list(data.samples.columns)) == ("table", ["other"])


def test_features_must_be_numbers(tmp_path):
    path = write(tmp_path, [["u"]] * 4, ("emb",))
    with pytest.raises(ValueError, match=r"must be columns of numbers, and 'emb' of .* isn't one; --kind table"):
        read_labelled(path, ReadOptions(features=("emb",)))


@pytest.mark.parametrize("order", ["C", "F"])
def test_features_from_npy(order, tmp_path):
    features = np.asarray(np.arange(30.0).reshape(5, 3, 2), order=order)
    np.save(tmp_path / "x.npy", features)
    path = write(tmp_path, labels=["a", "b", "", "a", "b"])
    data = read_labelled(path, ReadOptions(features=tmp_path / "x.npy"))
    assert data.kind == "features"
    assert (data.samples == features.reshape(5, 6)[[0, 1, 3, 4]]).all()
    assert data.ids.tolist() == [0, 1, 3, 4]


def test_rows_that_are_not_finite_are_left_out(tmp_path):
    features = np.zeros((6, 2))
    features[1, 0] = np.nan
    features[2, 1] = 1e300  # beyond single precision
    np.save(tmp_path / "x.npy", features)
    data = read_labelled(write(tmp_path, labels=[*LABELS, "dog", "cat"]), ReadOptions(features=tmp_path / "x.npy"))
    assert data.ids.tolist() == [0, 3, 4, 5]
    assert {left_out.reason for left_out in data.left_out} == {"a number that is missing or infinite"}
    np.save(tmp_path / "x.npy", np.full((4, 2), np.nan))
    with pytest.raises(ValueError, match="none of the 4 samples can be used: a number that is missing or infinite"):
        read_labelled(write(tmp_path), ReadOptions(features=tmp_path / "x.npy"))


def saved(array):
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (None, FileNotFoundError, r"features '.*x\.npy' isn't an existing file"),
        (b"text", ValueError, r"x\.npy isn't a \.npy file, such as numpy\.save writes"),
        (saved(np.zeros((3, 2))), ValueError, r"x\.npy must have one row per label, 4, got shape \(3, 2\)"),
        (saved(np.array(1.0)), ValueError, r"must have one row per label, 4, got shape \(\)"),
        (
            saved(np.array([{}] * 4)),
            TypeError,
            "must be an array of numbers, got pickled objects",
        ),
        (saved(np.array(["a"] * 4)), TypeError, "must be an array of numbers, got <U1"),
        (saved(np.zeros((4, 2)))[:-1], ValueError, r"x\.npy ends before the 64 bytes of its shape \(4, 2\)"),
        (saved(np.zeros((4, 99))), ValueError, r"x\.npy would take 3,168 bytes, of 1,000 that are left of max_bytes"),
    ],
    ids=["none", "text", "length", "scalar", "objects", "strings", "truncated", "too large"],
)
def test_npy_files_that_are_refused(content, error, message, tmp_path):
    path = tmp_path / "x.npy"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(error, match=message):
        read_labelled(write(tmp_path), ReadOptions(features=path, max_bytes=1000))


def test_probabilities_are_matched_with_classes_by_name(tmp_path):
    data = read_scores(tmp_path, PROBABILITIES, ("p_dog", "p_cat"))
    assert (data.kind, data.classes) == ("probabilities", ("cat", "dog"))
    np.testing.assert_array_equal(data.samples, PROBABILITIES[:, ::-1])
    assert data.labels.tolist() == [1, 0, 1, 0]
    assert data.notes == ["The scores are probabilities: they lie in [0, 1], and those of a sample sum to 1."]


def test_logits_become_probabilities(tmp_path):
    logits = np.array([[1.0, 3.0], [2000.0, 0.0], [-1.0, -1.0], [0.0, np.log(3)]])
    data = read_scores(tmp_path, logits, ("cat", "dog"))
    expected = [[1 / (1 + np.e**2), 1 / (1 + np.e**-2)], [1, 0], [0.5, 0.5], [0.25, 0.75]]
    np.testing.assert_allclose(data.samples, expected, atol=1e-15)
    assert "their softmax is used" in data.notes[0]


def test_rounded_probabilities_sum_to_one(tmp_path):
    data = read_scores(tmp_path, [[0.333, 0.666]] * 4, ("cat", "dog"))
    np.testing.assert_allclose(data.samples.sum(axis=1), 1, rtol=1e-15)


@pytest.mark.parametrize(
    ("names", "labels", "classes", "codes"),
    [
        (("c0", "c1", "c2"), ["0", "2", "0", "2"], ("0", "1", "2"), [0, 2, 0, 2]),
        (("c1", "c2", "c3"), ["1", "2", "1", "2"], ("1", "2", "3"), [0, 1, 0, 1]),
        (("u", "v", "w"), ["0", "2", "0", "2"], ("0", "1", "2"), [0, 2, 0, 2]),
        (("ant_p", "dog_p", "cat_p"), ["dog", "cat"] * 2, ("ant", "cat", "dog"), [2, 1, 2, 1]),
    ],
)
def test_classes_that_have_scores_and_no_samples(names, labels, classes, codes, tmp_path):
    data = read_scores(tmp_path, [[1.0, 2.0, 3.0]] * 4, names, labels)
    assert data.classes == classes
    assert data.labels.tolist() == codes
    assert any(note.startswith("No sample has these classes, which have scores: ") for note in data.notes)


def test_scores_without_names_are_in_the_order_of_the_classes(tmp_path):
    np.save(tmp_path / "p.npy", PROBABILITIES)
    data = read_labelled(write(tmp_path), ReadOptions(logits=tmp_path / "p.npy"))
    assert data.classes == ("cat", "dog")
    np.testing.assert_array_equal(data.samples, PROBABILITIES)
    assert data.notes[0] == "The columns of scores are of the classes in this order: cat, dog."


def test_scores_of_another_number_of_classes(tmp_path):
    with pytest.raises(ValueError, match=r"logits of .* must have one column for each of the 2 classes .*, got 3"):
        read_scores(tmp_path, [[1.0, 2.0, 3.0]] * 4, ("u", "v", "w"))
    with pytest.raises(ValueError, match=r"must have one column for each of the 2 classes \(cat, dog\), got 1"):
        read_scores(tmp_path, [[1.0]] * 4, ("u",))
