"""Labels for a person to look at: the table of label issues, and samples to judge.

`make_issues` makes the table, a dict of columns under cleanlab's names; with `rrm_torch`, ``rrm.issues`` calls it.
`draw_samples` writes some samples of each source to a file for a person to judge, and `quotas` computes the
contamination of each source from the answers.

`apply_corrections` applies the decisions of a person to the labels.
"""

from rrm_core._public import publish as _publish

from .answers import quotas
from .corrections import CorrectedLabels, apply_corrections
from .csv_file import to_csv
from .issues import make_issues, to_frame
from .samples import draw_samples

__all__ = ["CorrectedLabels", "apply_corrections", "draw_samples", "make_issues", "quotas", "to_csv", "to_frame"]

_publish(__name__, CorrectedLabels)
