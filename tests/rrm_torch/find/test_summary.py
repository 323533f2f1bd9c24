"""The summary of a search, in words."""

from __future__ import annotations

import numpy as np
import pytest

import rrm_core
from rrm_core._learnt_estimate import NOTHING_LEARNT
from rrm_review import apply_corrections
from rrm_torch.find.duplicates import Duplicates
from rrm_torch.find.earlier_run import Changes, compare, read_flagged
from rrm_torch.find.readers.labelled_data import LabelledData, LeftOut
from rrm_torch.find.result import Result, flag_by_estimate
from rrm_torch.find.summary import summarise

GIVEN = ["cat", "cat", "cat", "dog", "dog", "dog"]


def make_data(kind="table", **changes):
    return LabelledData(
        **{
            "name": "pets.csv",
            "kind": kind,
            "samples": None,
            "labels": np.array([0, 0, 0, 1, 1, 1]),
            "classes": ("cat", "dog", "owl"),
            "ids": np.arange(6),
            "notes": [],
            "left_out": [],
        }
        | changes
    )


def make_result(n_flagged=0, predicted=GIVEN, estimate=None, **changes):
    """Return a result of six samples, of which the first are flagged."""
    issues = {
        "index": np.arange(6),
        "id": np.arange(6),
        "is_label_issue": np.arange(6) < n_flagged,
        "given_label": np.array(GIVEN, dtype=object),
        "predicted_label": np.array(predicted, dtype=object),
        "confidence": np.array([0.95, 0.9, 0.8, 0.99, 0.99, 0.99]),
    }
    fields = {"issues": issues, "estimate": estimate, "contamination": n_flagged / 6, "pruned": None}
    return Result(**fields | {"model": "a model", "is_complete": True} | changes)


def make_estimate(contamination=0.25, interval=(0.1, 0.4), **changes):
    """Return an estimate with some fields."""
    labels = np.tile([0, 1], 20)
    estimate = rrm_core.estimate_contamination(labels, labels, np.full(40, 0.9), np.ones(40, bool))
    return type(estimate)(
        **{name: getattr(estimate, name) for name in estimate.__dataclass_fields__}
        | {"contamination": contamination, "interval": interval}
        | changes
    )


def text_of(result, data=None, **arguments):
    return "\n".join(summarise(data or make_data(), result, arguments.pop("duplicates", []), **arguments))


@pytest.mark.parametrize(
    ("kind", "noun"),
    [
        ("images", "images"),
        ("texts", "texts"),
        ("table", "rows"),
        ("features", "samples"),
        ("probabilities", "samples"),
    ],
)
def test_first_paragraph(kind, noun):
    first = summarise(make_data(kind), make_result(), [])[0]
    assert first == f"pets.csv: 6 {noun} of 2 classes, judged by a model."


@pytest.mark.parametrize(
    ("estimate", "expected"),
    [
        (None, "The share to flag was given: 33.3% of the labels are flagged.\n"),
        (
            make_estimate(),
            "25.0% of the labels are estimated to be wrong, about 2; the interval of the estimate is 10.0% to",
        ),
        (
            make_estimate(interval=None),
            "The model was still learning, so that the estimate is rough and has no interval.",
        ),
    ],
    ids=["given", "interval", "no interval"],
)
def test_share(estimate, expected):
    assert expected in text_of(make_result(2, estimate=estimate))


@pytest.mark.parametrize(
    ("kind", "n_held_out", "expected"),
    [
        ("images", 200, "than by chance. Train longer, --epochs, check the labels,"),
        (
            "images",
            1,
            "as far as 1 sample that it wasn't trained on can tell; pass the share to flag, --contamination. Tr",
        ),
        (
            "probabilities",
            149,
            "as far as 149 samples that it wasn't trained on can tell; pass the share to flag, --conta",
        ),
        ("probabilities", 150, "than by chance. Check the labels, and whether the columns of scores are in the order"),
        ("table", 200, "than by chance. Check the labels and the columns, or pass features or a model that suit"),
    ],
)
def test_nothing_learnt(kind, n_held_out, expected):
    estimate = make_estimate(0.0, None, basis=NOTHING_LEARNT, n_held_out=n_held_out)
    text = text_of(make_result(estimate=estimate), make_data(kind))
    assert expected in text
    assert "The list may be no better than a random order." in text
    assert "No label is flagged. The samples are listed" in text
    assert "estimated to be wrong" not in text


@pytest.mark.parametrize(
    ("estimate", "reason"),
    [
        (None, "the share to flag is less than one label, or too many are equally suspicious"),
        (
            make_estimate(interval=(0.1, 0.2)),
            "the share to flag is less than one label, or too many are equally suspicious",
        ),
        (make_estimate(interval=(0.0, 0.2)), "the share can't be told from 0"),
        (make_estimate(interval=None), "the share can't be told from 0"),
    ],
    ids=["given", "above 0", "reaches 0", "no interval"],
)
def test_no_label_is_flagged(estimate, reason):
    text = text_of(make_result(estimate=estimate))
    assert f"No label is flagged: {reason}. The samples are listed by suspicion all the same" in text
    assert "Classes with" not in text


def test_flagged_labels():
    text = text_of(make_result(4, ["dog", "dog", "dog", "dog", "dog", "dog"]))
    # Of the flagged ones, the third is predicted with a probability of 0.8, and the fourth as labelled.
    assert "4 labels are flagged; for 2 of them another class is predicted with a probability of at least 90%." in text
    # One flagged label of a class says little.
    assert "Classes with the largest share of flagged labels: cat (3 of 3, 100%).\n" in text
    assert text.endswith("Most frequent among the flagged: cat predicted as dog (3).")


def test_one_flagged_label():
    text = text_of(make_result(1))
    assert "1 label is flagged; for 0 of them" in text
    assert text.endswith("Classes with the largest share of flagged labels: cat (1 of 3, 33%).")


def test_corrections_are_counted():
    words = {"id": [0, 1, 2, 3], "decision": ["relabel", "keep", "drop", "unsure"], "label": ["dog", "", "", ""]}
    corrected = apply_corrections(GIVEN, words)
    text = text_of(make_result(6), corrected=corrected)
    assert "4 samples were judged before: 1 relabelled, 1 kept, 1 dropped, 1 unsure." in text
    assert "1 unsure. 2 flagged labels are not judged yet." in text
    corrected = apply_corrections(GIVEN, {"id": [0], "decision": ["keep"], "label": [""]})
    assert "1 sample was judged before: 0 relabelled, 1 kept" in text_of(make_result(), corrected=corrected)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (Changes(1, 0, 1, 2), "The earlier run in this folder flagged 1 label: 0 still flagged, 1 no longer, 2 new."),
        (Changes(1200, 1100, 100, 0), "flagged 1,200 labels: 1,100 still flagged, 100 no longer, 0 new."),
    ],
)
def test_changes(changes, expected):
    assert expected in text_of(make_result(), changes=changes)


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        (
            [([0, 1], [0, 0])],
            "2 samples have the same content as another, in 1 group listed in duplicates.csv; their labels",
        ),
        ([([0, 3], [0, 1])], "in 1 group listed in duplicates.csv; the labels differ, such as 0 (cat), 3 (dog)."),
        (
            [([0, 1], [0, 0]), ([2, 3, 4, 5], [0, 1, 1, 1])],
            "in 2 groups listed in duplicates.csv; the labels differ in 1 group, such as 2 (cat), 3 (dog), 4 (dog) and",
        ),
        ([([0, 3], [0, 1]), ([1, 4], [0, 2])], "; the labels differ in 2 groups, such as 0 (cat), 3 (dog)."),
    ],
)
def test_duplicates(groups, expected):
    duplicates = [Duplicates(np.array(members), np.array(labels)) for members, labels in groups]
    assert expected in text_of(make_result(), duplicates=duplicates)


def test_notes_and_samples_left_out():
    data = make_data(notes=["A note on the data."], left_out=[LeftOut(7, "broken"), LeftOut("b", "broken")])
    paragraphs = summarise(data, make_result(notes=("A warning.",), is_complete=False), [])
    assert paragraphs[-4:] == [
        "A note on the data.",
        "A warning.",
        "2 samples are left out, listed in left_out.csv: 7, b.",
        "The search was interrupted: these are the findings up to then.",
    ]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"id,is_label_issue\na,True\nb,False\n\xff,True\n'=c,True\n", {"a", "\udcff", "=c"}),
        (b"id,is_label_issue\n", set()),
        (b"id,is_label_issue\na,True\nshort\n", {"a"}),
        (b"id,label\na,True\n", None),
        (b"", None),
        (b'id,is_label_issue\n"' + b"x" * 200_000, None),
    ],
)
def test_flagged_labels_of_an_earlier_run(tmp_path, content, expected):
    (tmp_path / "results.json").write_text('{"labels_sha256": "photos"}')
    assert read_flagged(tmp_path, "photos") is None
    (tmp_path / "issues.csv").write_bytes(content)
    assert read_flagged(tmp_path, "photos") == expected
    assert read_flagged(tmp_path / "none", "photos") is None


@pytest.mark.parametrize("numbers", ['{"labels_sha256": "texts"}', "[]", "{", "{}"])
def test_a_run_on_other_data_is_no_earlier_run(tmp_path, numbers):
    (tmp_path / "issues.csv").write_text("id,is_label_issue\na,True\n")
    (tmp_path / "results.json").write_text(numbers)
    assert read_flagged(tmp_path, "photos") is None


@pytest.mark.parametrize("interval", [(0.0, 0.4), None])
def test_the_estimated_share_is_flagged_where_training_prunes_none(interval):
    result = flag_by_estimate(make_result(estimate=make_estimate(0.4, interval)))
    assert result.issues["is_label_issue"].tolist() == [True, True, False, False, False, False]


@pytest.mark.parametrize("changes", [{"contamination": 0.1}, {"basis": NOTHING_LEARNT}])
def test_nothing_is_flagged_by_a_share_of_less_than_one_sample_or_a_model_that_learnt_nothing(changes):
    result = make_result(estimate=make_estimate(**{"contamination": 0.4} | changes))
    assert flag_by_estimate(result).n_flagged == 0


def test_flags_of_the_training_stay():
    result = make_result(1, estimate=make_estimate(0.5))
    assert flag_by_estimate(result) is result
    assert flag_by_estimate(make_result()).n_flagged == 0


def test_an_interval_that_reaches_zero_is_pointed_out():
    text = text_of(make_result(1, estimate=make_estimate(interval=(0.0, 0.4))))
    assert "the interval of the estimate is 0.0% to 40.0%, so that there may be none." in text


def test_comparison_with_an_earlier_run():
    assert compare(frozenset("0189"), make_result(3)) == Changes(n_before=4, n_still=2, n_settled=2, n_new=1)
