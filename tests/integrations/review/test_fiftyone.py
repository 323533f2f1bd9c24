"""The labels for FiftyOne, read by its importer.

FiftyOne installs a gigabyte, and other versions of packages than `make test-integrations` does. Its importers need no
database.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from rrm_review import to_fiftyone
from support.issue_tables import CLASSES, GIVEN, PREDICTED, issue_table

fiftyone_data = pytest.importorskip("fiftyone.utils.data", reason="fiftyone, which is large, isn't installed")
fiftyone_types = pytest.importorskip("fiftyone.types")

PATHS = [Path("/images") / f"{i}.png" for i in range(4)]


def test_importer_reads_labels_and_attributes(tmp_path):
    issues = issue_table(ids=PATHS)
    to_fiftyone(issues, PATHS, tmp_path / "labels.json")
    importer, _ = fiftyone_data.build_dataset_importer(
        fiftyone_types.FiftyOneImageClassificationDataset, labels_path=str(tmp_path / "labels.json")
    )
    with importer:
        assert importer.get_dataset_info() == {"classes": sorted(CLASSES)}
        paths, _, labels = zip(*importer, strict=True)
    assert paths == tuple(map(str, PATHS))
    assert [label.label for label in labels] == GIVEN
    assert [label.predicted_label for label in labels] == PREDICTED
    assert [label.rrm_index for label in labels] == [0, 1, 2, 3]
    assert [label.rrm_id for label in labels] == list(map(str, PATHS))
    assert [label.is_label_issue for label in labels] == [False, True, False, True]
    assert [label.label_quality for label in labels] == [0.75, 0.5, 1, 0.25]
    assert [label.loss for label in labels] == [0.1, None, None, 3]
