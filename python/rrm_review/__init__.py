"""Labels for a person to look at: the table of label issues, and samples to judge.

`make_issues` makes the table, a dict of columns under cleanlab's names; with `rrm_torch`, ``rrm.issues`` calls it.
`draw_samples` writes some samples of each source to a file for a person to judge, and `quotas` computes the
contamination of each source from the answers. `write_page` writes a page on which a person corrects suspicious labels.
"""

from .answers import quotas
from .csv_file import to_csv
from .issues import make_issues, to_frame
from .page import write_page
from .samples import draw_samples

__all__ = ["draw_samples", "make_issues", "quotas", "to_csv", "to_frame", "write_page"]
