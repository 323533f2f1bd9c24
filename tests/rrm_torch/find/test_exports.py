"""The exports of the command `find`, and the files that it must not replace."""

from __future__ import annotations

import json

import numpy as np
import pytest

from rrm_review import apply_corrections
from rrm_torch.find import export_formats
from rrm_torch.find.corrections import with_decisions
from rrm_torch.find.export_formats import FORMATS, OUTPUTS, write_exports
from rrm_torch.find.input_checks import check_not_replaced
from rrm_torch.find.readers.labelled_data import LabelledData
from rrm_torch.find.result import Result

CLASSES = ("cat", "dog")


def make_data(kind, samples):
    labels = np.array([0, 1, 1])
    return LabelledData("pets", kind, samples, labels, CLASSES, np.array(["a", "b", "c"], dtype=object), [], [])


def make_result(data):
    names = np.array(CLASSES, dtype=object)[data.labels]
    issues = {
        "index": np.arange(3),
        "id": data.ids,
        "is_label_issue": np.zeros(3, bool),
        "label_quality": np.ones(3),
        "given_label": names,
        "predicted_label": names,
        "confidence": np.ones(3),
        "sample_weight": np.ones(3),
    }
    return Result(issues, None, 0.0, None, "a model", True)


def test_fiftyone_after_corrections(tmp_path):
    data = make_data("images", [tmp_path / f"{name}.png" for name in "abc"])
    words = {"id": ["b"], "decision": ["relabel"], "label": ["cat"]}
    corrected = apply_corrections(np.array(CLASSES, dtype=object)[data.labels], words, ids=data.ids, classes=CLASSES)
    write_exports(["fiftyone"], tmp_path, data, with_decisions(make_result(data), data, corrected))
    labels = json.loads((tmp_path / "fiftyone.json").read_text())["labels"]
    entry = labels[str(tmp_path / "b.png")]
    assert entry["label"] == "dog"
    assert entry["attributes"]["corrected_label"] == "cat"
    assert entry["attributes"]["predicted_confidence"] == 1


def test_dataset_of_a_table_with_columns_of_the_same_names(tmp_path, monkeypatch):
    passed = {}

    class Saved:
        def save_to_disk(self, path):
            passed["path"] = path

    def to_dataset(issues, columns):
        passed.update(columns)
        return Saved()

    monkeypatch.setattr(export_formats, "to_dataset", to_dataset)
    samples = {"id": [1, 2, 3], "x": [4, 5, 6], "sample_id": [7, 8, 9]}
    data = make_data("table", samples)
    write_exports(["dataset"], tmp_path, data, make_result(data))
    assert passed == {
        "path": str(tmp_path / "dataset"), "sample_sample_id": [1, 2, 3], "x": [4, 5, 6], "sample_id": [7, 8, 9]
    }  # fmt: skip


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_inputs_are_not_replaced_by_an_export(tmp_path, name):
    for output in OUTPUTS[name]:
        check_not_replaced(tmp_path, [tmp_path / output])
        with pytest.raises(ValueError, match=f"{output} would be replaced by a file of the search; choose another"):
            check_not_replaced(tmp_path, [tmp_path / output], [name])


def test_names_of_outputs(tmp_path):
    data = make_data("texts", ["a", "b", "c"])
    for name in ("argilla", "cleanlab", "label-studio"):
        assert write_exports([name], tmp_path, data, make_result(data)) == [", ".join(OUTPUTS[name])]
        assert all((tmp_path / output).is_file() for output in OUTPUTS[name])
