"""Labels for a person to look at: the table of label issues, and what a person decides.

`make_issues` makes the table, a dict of columns under cleanlab's names; with `rrm_torch`, ``rrm.issues`` calls it.
`write_page` writes a page on which a person judges the samples, and `apply_corrections` applies the decisions to the
labels. `to_csv`, `to_parquet` and `to_frame` write or convert the table; `to_label_studio`, `to_fiftyone`,
`to_argilla`, `to_cleanlab`, `to_datalab` and `to_dataset` pass it to other tools. `draw_samples` writes some samples of
each source to a file for a person to judge, and `quotas` computes the contamination of each source from the answers.
"""

from rrm_core._public import publish as _publish

from .answers import quotas
from .corrections import CorrectedLabels, apply_corrections
from .csv_file import to_csv
from .exports import (
    ARGILLA_MAPPING,
    label_studio_config,
    to_argilla,
    to_cleanlab,
    to_datalab,
    to_dataset,
    to_fiftyone,
    to_label_studio,
    to_parquet,
)
from .issues import make_issues, to_frame
from .page import write_page
from .samples import draw_samples

__all__ = [
    "ARGILLA_MAPPING",
    "CorrectedLabels",
    "apply_corrections",
    "draw_samples",
    "label_studio_config",
    "make_issues",
    "quotas",
    "to_argilla",
    "to_cleanlab",
    "to_csv",
    "to_datalab",
    "to_dataset",
    "to_fiftyone",
    "to_frame",
    "to_label_studio",
    "to_parquet",
    "write_page",
]

_publish(__name__, CorrectedLabels)
