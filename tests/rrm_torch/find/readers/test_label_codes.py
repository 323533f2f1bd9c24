"""Labels as codes: classes, missing labels, notes, and labels from which nothing can be learnt."""

from __future__ import annotations

import numpy as np
import pytest

from rrm_torch.find.readers.label_codes import encode_labels

TWICE = ("a", "a", "b", "b")


def encode(values, **arguments):
    return encode_labels("labels of data", values, **arguments)


@pytest.mark.parametrize(
    ("values", "classes", "codes"),
    [
        (["dog", "cat", "dog", "cat"], ("cat", "dog"), [1, 0, 1, 0]),
        (["10", "9", "10", "9", "0", "0"], ("0", "9", "10"), [2, 1, 2, 1, 0, 0]),
        (["1.0", "0.0", "1.0", "0.0"], ("0", "1"), [1, 0, 1, 0]),
        (["1", "1.0", "0", "0"], ("0", "1"), [1, 1, 0, 0]),
        (["007", "08", "007", "08"], ("007", "08"), [0, 1, 0, 1]),
        ([3, 1, 3, 1], ("1", "3"), [1, 0, 1, 0]),
        ([1.0, 0.0, 1.0, 0.0], ("0", "1"), [1, 0, 1, 0]),
        ([True, False, True, False], ("False", "True"), [1, 0, 1, 0]),
        ([-1, 1, -1, 1], ("-1", "1"), [0, 1, 0, 1]),
        ([0, 255, 0, 255], ("0", "255"), [0, 1, 0, 1]),
        ([-2, -1, 0, 0, -1, -2], ("-2", "-1", "0"), [0, 1, 2, 2, 1, 0]),
        ([b"cat", b"dog", b"cat", b"dog"], ("cat", "dog"), [0, 1, 0, 1]),
        (np.array([2, 0, 2, 0], np.uint8), ("0", "2"), [1, 0, 1, 0]),
    ],
)
def test_classes_are_sorted_and_integers_by_value(values, classes, codes):
    encoded = encode(values)
    assert encoded.classes == classes
    assert encoded.codes.dtype == np.int64
    assert encoded.codes.tolist() == codes
    assert encoded.rows.tolist() == list(range(len(values)))
    assert encoded.missing == {}


@pytest.mark.parametrize("empty", [None, float("nan"), "", "  "])
def test_empty_labels_are_missing(empty):
    encoded = encode(["a", empty, "b", "a", "b"])
    assert encoded.missing == {1: "no label"}
    assert encoded.rows.tolist() == [0, 2, 3, 4]
    assert encoded.codes.tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize("values", [[0, -1, 1, 0, 1], ["0", "-1", "1", "0", "1"], [0.0, -1.0, 1.0, 0.0, 1.0]])
def test_minus_one_beside_labels_from_zero_on_is_missing(values):
    encoded = encode(values)
    assert encoded.classes == ("0", "1")
    assert encoded.missing == {1: "label -1, which stands for no label"}
    (note,) = encoded.notes
    assert note.startswith("1 sample is left out, as the label -1")


@pytest.mark.parametrize(("value", "bits"), [(255, 8), (65535, 16), (2**32 - 1, 32), (2**64 - 1, 64)])
def test_minus_one_without_a_sign_is_missing(value, bits):
    encoded = encode([0, 1, value, 0, 1, value])
    assert encoded.classes == ("0", "1")
    assert set(encoded.missing) == {2, 5}
    assert f"-1 stored in {bits} bits without a sign" in encoded.missing[2]
    assert encoded.notes[0].startswith(f"2 samples are left out, as the label {value} is -1 stored in {bits} bits")


def test_255_is_a_class_beside_large_labels():
    encoded = encode([0, 200, 255, 0, 200, 255])
    assert encoded.classes == ("0", "200", "255")
    assert encoded.missing == {}


def test_classes_that_the_data_names_keep_their_order_and_number():
    encoded = encode([2, 0, 0, 2, -1], class_names=["zebra", "ant", "bee"])
    assert encoded.classes == ("zebra", "ant", "bee")
    assert encoded.codes.tolist() == [2, 0, 0, 2]
    assert encoded.missing == {4: "label -1, which stands for no label"}
    assert encoded.notes == ["No sample has these classes that the data names: ant."]


def test_labels_may_be_names_of_classes():
    encoded = encode(["bee", "ant", "ant", "bee"], class_names=["bee", "ant", "cow"])
    assert encoded.classes == ("bee", "ant", "cow")
    assert encoded.codes.tolist() == [0, 1, 1, 0]
    assert encoded.notes == ["No sample has these classes that the data names: cow."]


@pytest.mark.parametrize(
    ("values", "note"),
    [
        (["cat", "cat ", "dog", "dog"], "Labels that differ in surrounding blanks only are one class: 'cat'."),
        (
            ["Cat", "cat", "Cat", "cat"],
            "Classes that differ in upper and lower case are separate classes: 'Cat' and 'cat'.",
        ),
        ([0, 1, 3, 0, 1, 3], "No sample has these labels between the others: 2."),
        ([*TWICE, "c", "a"], "Classes of one sample can't be judged: c."),
        (
            ["NA", "b", "NA", "b"],
            "These labels are read as classes: 'NA'; if they stand for a missing label, leave them empty.",
        ),
        (["1", 0, 0, 1], "Some labels are strings and some are numbers; all are read as strings."),
    ],
)
def test_notes(values, note):
    assert encode(values).notes == [note]


def test_many_integers_may_be_measurements():
    (note,) = encode(list(range(21)) * 2).notes
    assert note.startswith("The labels are 21 different integers for 42 samples; if they are measurements, this is")
    assert encode([f"c{i}" for i in range(21)] * 2).notes == []
    assert encode(list(range(21)) * 11).notes == []


def test_labels_with_large_gaps_are_codes():
    assert encode([1000, 2000, 1000, 2000]).notes == []


def test_skipped_samples_count_for_no_class():
    encoded = encode([*TWICE, "c", "c"], skipped={4, 5})
    assert encoded.classes == ("a", "b")
    assert encoded.rows.tolist() == [0, 1, 2, 3]
    assert encoded.missing == {}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([], "labels of data has no labels: each of its 0 samples"),
        ([None, ""], "labels of data has no labels: each of its 2 samples"),
        (["a", "a"], "must have at least 2 classes, got only 'a'"),
        (["a", "b", "c"], "has another label for each of its 3 samples: no class has 2; is it the column of labels"),
        (["a", "a", "b", "c", "d"], "has 4 classes for 5 samples, more than half as many; is it the column of labels"),
        ([0.5, 1.0, 0.5, 1.0], r"got the number 0\.5: this is regression, for which rrm_sklearn\.RRMRegressor"),
        (["1", "2.5", "1", "2.5"], r"got the number 2\.5: this is regression"),
        (["1e-3", "2", "1", "2"], "got the number 1e-3: this is regression"),
        ([float("inf"), 1.0, 1.0], "got the number inf: this is regression"),
    ],
)
def test_labels_from_which_nothing_can_be_learnt(values, message):
    with pytest.raises(ValueError, match=message):
        encode(values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([["a", "b"], ["a"]], r"must have one label per sample, got list: \['a', 'b'\]"),
        ([{"a": 1}], "must have one label per sample, got dict"),
        ([1j, 2j], "must have strings or integers as labels, got complex"),
    ],
)
def test_labels_of_other_types(values, message):
    with pytest.raises(TypeError, match=message):
        encode(values)


def test_labels_outside_the_named_classes():
    with pytest.raises(ValueError, match=r"must have labels of the 2 classes that the data names \(a, b\), got 2"):
        encode([0, 2, 0, 2], class_names=["a", "b"])


def test_named_classes_with_no_label_but_minus_one():
    with pytest.raises(ValueError, match="has no labels: all are -1"):
        encode([-1, -1], class_names=["a", "b"])


def test_equal_names_of_classes_are_refused():
    with pytest.raises(ValueError, match="y must have classes of distinct names, got 'a' 2 times; rename them"):
        encode_labels("y", [0, 1, 2, 0, 1, 2], class_names=["a", "a", "b"])
