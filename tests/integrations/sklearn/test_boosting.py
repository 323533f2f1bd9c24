"""LightGBM, XGBoost and CatBoost inside RRM."""

from __future__ import annotations

import pickle

import catboost
import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from rrm_sklearn import RRMClassifier, RRMRegressor
from support.noisy_tables import noisy_digits, two_groups

LIGHTGBM = {"n_estimators": 30, "num_leaves": 15, "verbose": -1, "n_jobs": 1}
XGBOOST = {"n_estimators": 30, "max_depth": 4, "n_jobs": 1}
CATBOOST = {"iterations": 40, "depth": 4, "learning_rate": 0.3, "verbose": False, "thread_count": 1}
CATBOOST["allow_writing_files"] = False

CLASSIFIERS = {
    "LightGBM": lambda: lightgbm.LGBMClassifier(**LIGHTGBM),
    "XGBoost": lambda: xgboost.XGBClassifier(**XGBOOST),
    "CatBoost": lambda: catboost.CatBoostClassifier(**CATBOOST),
}
REGRESSORS = {
    "LightGBM": lambda: lightgbm.LGBMRegressor(**LIGHTGBM),
    "XGBoost": lambda: xgboost.XGBRegressor(**XGBOOST),
    "CatBoost": lambda: catboost.CatBoostRegressor(**CATBOOST),
}


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_auto_finds_wrong_labels(name):
    x, labels, is_wrong = noisy_digits(900)
    model = RRMClassifier(CLASSIFIERS[name]()).fit(x, labels)
    assert abs(model.estimate_.contamination - 0.2) < 0.07
    assert is_wrong[model.sample_weight_ == 0].mean() > 0.75
    assert (model.sample_weight_[is_wrong] == 0).mean() > 0.8
    assert model.losses_.dtype == np.float64


@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.parametrize("names", [np.array(["no", "perhaps", "yes"]), np.array([3, 5, 8])], ids=["str", "int"])
def test_labels_of_any_kind(name, names):
    x, codes, _ = two_groups()
    codes = codes + (np.arange(len(codes)) % 4 == 3)
    model = RRMClassifier(CLASSIFIERS[name](), contamination=0.1).fit(x, names[codes])
    assert model.predict(x).shape == (len(x),)
    assert set(model.predict(x)) <= set(names)
    assert model.predict_proba(x).shape == (len(x), 3)
    np.testing.assert_array_equal(model.classes_, names)


@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.filterwarnings("ignore:1 sample is not judged")
def test_class_that_a_training_part_lacks(name):
    x, codes, _ = two_groups()
    codes = codes * 2
    codes[0] = 1
    model = RRMClassifier(CLASSIFIERS[name](), contamination=0.1).fit(x, codes)
    assert model.predict_proba(x).shape == (len(x), 3)
    assert np.flatnonzero(np.isnan(model.losses_)).tolist() == [0]


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_class_that_is_pruned_whole_keeps_its_column(name):
    x, _, _ = two_groups(n=200)
    labels = np.zeros(200, int)
    labels[:100] = 1
    labels[:6] = 2
    model = RRMClassifier(CLASSIFIERS[name](), contamination=0.6).fit(x, labels)
    assert model.predict_proba(x).shape == (200, 3)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_clone_search_and_pickle(name):
    x, labels, _ = two_groups()
    frame = pd.DataFrame(x, columns=["a", "b", "c"])
    rrm = RRMClassifier(CLASSIFIERS[name](), contamination=0.1)
    assert repr(clone(rrm).contamination) == "0.1"
    search = GridSearchCV(rrm, {"contamination": [0.05, 0.1]}, cv=2).fit(frame, labels)
    model = search.best_estimator_
    assert model.feature_names_in_.tolist() == ["a", "b", "c"]
    copy = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copy.predict_proba(frame), model.predict_proba(frame))


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_same_result_again_and_with_processes(name):
    x, labels, _ = noisy_digits(300)
    fits = [RRMClassifier(CLASSIFIERS[name](), rounds=2, n_jobs=n_jobs).fit(x, labels) for n_jobs in (None, 2)]
    np.testing.assert_array_equal(fits[0].losses_, fits[1].losses_)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_user_weights_reach_the_fit(name):
    x, labels, is_wrong = two_groups()
    weights = np.where(is_wrong, 0.0, 1.0)
    model = RRMClassifier(CLASSIFIERS[name](), contamination=0).fit(x, labels, sample_weight=weights)
    alone = CLASSIFIERS[name]().fit(x, labels, sample_weight=weights)
    np.testing.assert_array_equal(model.predict_proba(x), alone.predict_proba(x))


@pytest.mark.parametrize("name", REGRESSORS)
def test_regressor_finds_wrong_targets(name):
    rng = np.random.default_rng(0)
    x = rng.uniform(-3, 3, (300, 2))
    y = x[:, 0] + np.sin(x[:, 1])
    is_wrong = rng.permutation(300) < 30
    model = RRMRegressor(REGRESSORS[name](), 0.1).fit(x, np.where(is_wrong, y + 20, y))
    assert (model.sample_weight_[is_wrong] == 0).mean() > 0.9
    assert model.predict(x).shape == (300,)
