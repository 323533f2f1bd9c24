"""The tasks and the configuration for Label Studio, read by its SDK.

The SDK needs NumPy below 2.3 and OpenCV, so that it has no place in the environment of `make test-integrations`.
"""

from __future__ import annotations

import json

import pytest

from rrm_review import label_studio_config, to_label_studio
from support.issue_tables import CLASSES, HOSTILE, issue_table

label_interface = pytest.importorskip(
    "label_studio_sdk.label_interface", reason="label-studio-sdk, which needs NumPy below 2.3, isn't installed"
)

SAMPLES = {
    "images": [f"https://host/{i}.png" for i in range(4)],
    "texts": ["text 0", "text 1", "text 2", HOSTILE],
    "table": {"x": [0.5, 1.0, None, 2.0], HOSTILE: ["a", "b", "c", HOSTILE]},
}


@pytest.mark.parametrize("kind", SAMPLES)
def test_predictions_and_data_are_valid_for_the_configuration(tmp_path, kind):
    to_label_studio(issue_table(), SAMPLES[kind], tmp_path / "tasks.json", kind=kind)
    tasks = json.loads((tmp_path / "tasks.json").read_text("utf-8"))
    interface = label_interface.LabelInterface(label_studio_config(CLASSES, kind))
    interface.validate()
    assert list(interface.get_control("label").labels) == list(CLASSES)
    (sample,) = interface.objects
    assert len(tasks) == 4
    for task in tasks:
        assert interface.validate_prediction(task["predictions"][0], return_errors=True) == []
        assert sample.value_name in task["data"]


def test_predictions_of_other_classes_are_invalid(tmp_path):
    to_label_studio(issue_table(), SAMPLES["texts"], tmp_path / "tasks.json", kind="texts")
    tasks = json.loads((tmp_path / "tasks.json").read_text("utf-8"))
    interface = label_interface.LabelInterface(label_studio_config(["cat"], "texts"))
    valid = [interface.validate_prediction(task["predictions"][0]) for task in tasks]
    assert valid == [False, True, True, False]
