"""scikit-learn's own checks of an estimator."""

from __future__ import annotations

import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import parametrize_with_checks

from rrm_sklearn import RRMClassifier, RRMRegressor

COUNTED = "contamination is a share of the samples: one of weight 2 counts once, and two copies of it twice"
EQUIVALENCE = ("check_sample_weight_equivalence_on_dense_data", "check_sample_weight_equivalence_on_sparse_data")


def expected_failures(estimator):
    if estimator.contamination in ("auto", 0):
        return {}
    return dict.fromkeys(EQUIVALENCE, COUNTED)


@pytest.mark.filterwarnings("ignore:no sample is pruned")
@pytest.mark.filterwarnings("ignore:the models predicted the labels of samples held out hardly more often")
@parametrize_with_checks(
    [
        RRMClassifier(LogisticRegression()),
        RRMClassifier(LogisticRegression(), contamination=0),
        RRMClassifier(LogisticRegression(), contamination=0.2, cap=0.5),
        RRMClassifier(make_pipeline(FunctionTransformer(), LogisticRegression())),
        RRMRegressor(LinearRegression(), contamination=0),
        RRMRegressor(LinearRegression(), contamination=0.2),
    ],
    expected_failed_checks=expected_failures,
)
def test_passes_checks_of_scikit_learn(estimator, check):
    check(estimator)
