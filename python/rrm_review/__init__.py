"""The table of label issues: which labels of a data set are suspicious, from what a training loop recorded.

`make_issues` makes the table, a dict of columns under cleanlab's names; with `rrm_torch`, ``rrm.issues`` calls it.
"""

from .csv_file import to_csv
from .issues import make_issues, to_frame

__all__ = ["make_issues", "to_csv", "to_frame"]
