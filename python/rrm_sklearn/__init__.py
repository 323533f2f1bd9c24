"""RRM around estimators of scikit-learn: train on tables whose labels can't be trusted.

`RRMClassifier` and `RRMRegressor` wrap any estimator whose ``fit`` takes ``sample_weight``, such as those of
scikit-learn, LightGBM, XGBoost and CatBoost.
"""

try:
    from sklearn.utils.validation import validate_data as _validate_data  # noqa: F401
except ImportError as error:
    raise ImportError("rrm_sklearn needs scikit-learn 1.6 or newer: pip install 'scikit-learn>=1.6'") from error

from rrm_core._public import publish as _publish

from .classifier import RRMClassifier
from .regressor import RRMRegressor

__all__ = ["RRMClassifier", "RRMRegressor"]

_publish(__name__, RRMClassifier, RRMRegressor)
