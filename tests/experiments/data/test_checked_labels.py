"""Labels that annotators checked are wrong if most of them rejected them."""

from __future__ import annotations

import json

import pytest

from experiments.data.checked_labels import CheckedLabel, is_rejected, read_checked_labels


@pytest.mark.parametrize(
    ("votes", "expected"),
    [
        ({"given": 3, "guessed": 2, "neither": 0, "both": 0}, False),
        ({"given": 2, "guessed": 2, "neither": 1, "both": 0}, True),
        ({"given": 0, "guessed": 2, "neither": 0, "both": 3}, False),
        ({"given": 1, "guessed": 2, "neither": 1, "both": 1}, True),
        ({"given": 2, "guessed": 0, "neutral": 2, "off-topic": 1}, True),
        ({"given": 2, "guessed": 2, "neutral": 0, "off-topic": 0}, False),
    ],
)
def test_most_annotators_decide(votes, expected):
    assert is_rejected(votes) is expected


def test_read_checked_labels(tmp_path):
    path = tmp_path / "checked.json"
    entries = [
        {"id": 7, "given_original_label": 3, "url": "x", "mturk": {"given": 1, "guessed": 4}},
        {"id": "test/neg/1_2", "given_original_label": "Negative", "mturk": {"given": 5, "guessed": 0}},
    ]
    path.write_text(json.dumps(entries))
    assert read_checked_labels(path) == [CheckedLabel(7, 3, True), CheckedLabel("test/neg/1_2", "Negative", False)]


@pytest.mark.parametrize(
    "content", ["", "3", '[{"id": 1}]', '[{"id": 1, "given_original_label": 1, "mturk": 3}]', "[1]"]
)
def test_other_files_are_rejected(tmp_path, content):
    path = tmp_path / "checked.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"checked\.json can't be read as a list of checked labels: \w+ "):
        read_checked_labels(path)
