"""Methods of the literature, as settings of `RRM` and `BatchRRM`."""

from .small_loss import co_teaching, self_paced, trimmed

__all__ = ["co_teaching", "self_paced", "trimmed"]
