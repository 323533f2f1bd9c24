"""Methods of the literature, as settings of `RRM` and `BatchRRM`, and linear probes of frozen features."""

from rrm_core._public import publish as _publish

from .frozen_features import extract_features, load_features
from .linear_probe import LinearProbe, fit_linear_probe
from .small_loss import co_teaching, self_paced, trimmed

__all__ = [
    "LinearProbe",
    "co_teaching",
    "extract_features",
    "fit_linear_probe",
    "load_features",
    "self_paced",
    "trimmed",
]

_publish(__name__, LinearProbe)
