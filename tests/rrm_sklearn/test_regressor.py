"""RRMRegressor: weights, attributes and errors."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neighbors import KNeighborsRegressor

import rrm_review
from rrm_sklearn import RRMRegressor


def line(n=200, n_wrong=20, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.uniform(-3, 3, (n, 2))
    y = x @ np.array([2.0, -1.0]) + rng.normal(size=n) / 10
    is_wrong = np.zeros(n, bool)
    is_wrong[rng.permutation(n)[:n_wrong]] = True
    return x, np.where(is_wrong, y + 20, y), is_wrong


@pytest.mark.parametrize(
    "estimator",
    [
        LinearRegression(),
        HistGradientBoostingRegressor(max_iter=30, random_state=0),
        TransformedTargetRegressor(LinearRegression()),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_finds_wrong_targets(estimator):
    x, y, is_wrong = line()
    model = RRMRegressor(estimator, 0.1).fit(x, y)
    np.testing.assert_array_equal(model.sample_weight_ == 0, is_wrong)
    np.testing.assert_array_equal(model.label_issues_["is_label_issue"], is_wrong)
    assert np.abs(model.predict(x) - y)[~is_wrong].mean() < 0.5


def test_losses_are_squared_errors_out_of_fold():
    x, y, _ = line()
    model = RRMRegressor(LinearRegression(), 0.1, rounds=1).fit(x, y)
    np.testing.assert_array_equal(model.losses_, (y - model.label_issues_["predicted_label"]) ** 2)
    # Predictions of the model of all samples are closer.
    assert model.losses_.sum() > ((y - LinearRegression().fit(x, y).predict(x)) ** 2).sum()


def test_label_issues_have_targets_and_predictions():
    x, y, _ = line()
    issues = RRMRegressor(LinearRegression(), 0.1).fit(x, y).label_issues_
    assert list(issues)[1:5] == ["is_label_issue", "label_quality", "given_label", "predicted_label"]
    np.testing.assert_array_equal(issues["given_label"], y)
    assert len(rrm_review.to_frame(issues)) == len(y)


def test_sample_of_weight_0_is_not_judged():
    x, y, is_wrong = line()
    model = RRMRegressor(LinearRegression(), 0.0).fit(x, y, sample_weight=np.where(is_wrong, 0.0, 1.0))
    np.testing.assert_array_equal(np.isnan(model.losses_), is_wrong)
    assert np.abs(model.estimator_.coef_ - [2.0, -1.0]).max() < 0.05


def test_same_random_state_gives_the_same_result():
    x, y, _ = line()
    fits = [RRMRegressor(LinearRegression(), 0.1, n_jobs=n_jobs).fit(x, y) for n_jobs in (None, 2)]
    np.testing.assert_array_equal(fits[0].losses_, fits[1].losses_)
    np.testing.assert_array_equal(fits[0].estimator_.coef_, fits[1].estimator_.coef_)


def test_auto_is_refused():
    x, y, _ = line()
    with pytest.raises(ValueError, match=r"contamination must be a number: .* never contradicted.* give the share"):
        RRMRegressor(LinearRegression(), "auto").fit(x, y)


def test_estimator_without_sample_weight_is_refused():
    x, y, _ = line()
    with pytest.raises(ValueError, match="fit of KNeighborsRegressor has no argument sample_weight"):
        RRMRegressor(KNeighborsRegressor(), 0.1).fit(x, y)


def test_strings_are_refused():
    x, y, _ = line()
    with pytest.raises(ValueError, match="could not convert string to float"):
        RRMRegressor(LinearRegression(), 0.1).fit(x, np.array(["a", "b"])[(y > 0).astype(int)])


def test_infinite_predictions_are_refused():
    class Diverging(LinearRegression):
        def predict(self, X):  # noqa: N803
            return np.full(len(X), np.inf)

    x, y, _ = line()
    with pytest.raises(ValueError, match="predictions of round 1 are no finite numbers for 200 of 200"):
        RRMRegressor(Diverging(), 0.1).fit(x, y)


def test_classifiers_are_refused():
    with pytest.raises(ValueError, match="estimator must be a regressor, got LogisticRegression; use RRMClassifier"):
        RRMRegressor(LogisticRegression(), contamination=0.1).fit(np.eye(20), np.arange(20) % 2)
