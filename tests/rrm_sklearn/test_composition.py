"""RRM with pipelines, searches, metadata routing, and data of other kinds than NumPy's."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import sklearn
from scipy import sparse
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.ensemble import BaggingClassifier, VotingClassifier
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from rrm_sklearn import RRMClassifier
from rrm_sklearn.sample_weights import weight_argument
from support.noisy_tables import two_groups

ESTIMATORS = {
    "pipeline": lambda: make_pipeline(StandardScaler(), LogisticRegression()),
    "nested pipeline": lambda: make_pipeline(StandardScaler(), make_pipeline(StandardScaler(), LogisticRegression())),
    "search": lambda: GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=2),
    "search of a pipeline": lambda: GridSearchCV(
        make_pipeline(StandardScaler(), LogisticRegression()), {"logisticregression__C": [0.1, 1.0]}, cv=2
    ),
    "voting": lambda: VotingClassifier([("a", LogisticRegression()), ("b", GaussianNB())], voting="soft"),
    "bagging": lambda: BaggingClassifier(LogisticRegression(), 5, random_state=0),
}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_weights_reach_the_estimator(name):
    x, given, is_wrong = two_groups()
    model = RRMClassifier(ESTIMATORS[name](), contamination=0.1).fit(x, given)
    np.testing.assert_array_equal(model.sample_weight_ == 0, is_wrong)
    estimator = ESTIMATORS[name]()
    argument = weight_argument(estimator)
    by_weights = clone(estimator).fit(x, given, **{argument: model.sample_weight_}).predict_proba(x)
    np.testing.assert_array_equal(model.predict_proba(x), by_weights)
    assert np.abs(by_weights - clone(estimator).fit(x, given).predict_proba(x)).max() > 1e-3


def test_argument_of_a_pipeline_names_its_last_step():
    assert weight_argument(ESTIMATORS["pipeline"]()) == "logisticregression__sample_weight"
    assert weight_argument(ESTIMATORS["nested pipeline"]()) == "pipeline__logisticregression__sample_weight"
    assert weight_argument(ESTIMATORS["search of a pipeline"]()) == "logisticregression__sample_weight"
    assert weight_argument(LogisticRegression()) == "sample_weight"


@pytest.mark.parametrize(
    "estimator",
    [make_pipeline(StandardScaler(), KNeighborsClassifier()), GridSearchCV(KNeighborsClassifier(), {"p": [1, 2]})],
    ids=["pipeline", "search"],
)
def test_wrapped_estimator_without_sample_weight_is_refused(estimator):
    x, given, _ = two_groups()
    with pytest.raises(ValueError, match="fit of KNeighborsClassifier has no argument sample_weight"):
        RRMClassifier(estimator).fit(x, given)


def test_routing_passes_weights_to_steps_that_request_them():
    x, given, is_wrong = two_groups()
    with sklearn.config_context(enable_metadata_routing=True):
        last = LogisticRegression().set_fit_request(sample_weight=True)
        scaler = StandardScaler().set_fit_request(sample_weight=True)
        model = RRMClassifier(make_pipeline(scaler, last), contamination=0.1).fit(x, given)
    np.testing.assert_array_equal(model.sample_weight_ == 0, is_wrong)
    kept_mean = np.average(x, axis=0, weights=model.sample_weight_)
    np.testing.assert_allclose(model.estimator_[0].mean_, kept_mean, rtol=1e-12)


def test_routing_to_no_step_is_refused():
    x, given, _ = two_groups()
    with sklearn.config_context(enable_metadata_routing=True):
        last = LogisticRegression().set_fit_request(sample_weight=False)
        with pytest.raises(ValueError, match=r"no part of Pipeline requests them.*set_fit_request"):
            RRMClassifier(make_pipeline(StandardScaler(), last)).fit(x, given)


def test_routing_passes_weights_of_the_caller_to_rrm():
    x, given, is_wrong = two_groups()
    weights = np.where(is_wrong, 0.0, 1.0)
    with sklearn.config_context(enable_metadata_routing=True):
        rrm = RRMClassifier(LogisticRegression(), contamination=0)
        rrm.set_fit_request(sample_weight=True).set_score_request(sample_weight=False)
        search = GridSearchCV(rrm, {"rounds": [1, 2]}, cv=2).fit(x, given, sample_weight=weights)
    np.testing.assert_array_equal(search.best_estimator_.sample_weight_, weights)


def test_inside_a_pipeline():
    x, given, is_wrong = two_groups()
    weights = np.where(is_wrong, 0.0, 1.0)
    pipeline = make_pipeline(StandardScaler(), RRMClassifier(LogisticRegression(), contamination=0))
    pipeline.fit(x, given, rrmclassifier__sample_weight=weights)
    np.testing.assert_array_equal(pipeline[-1].sample_weight_, weights)


def test_inside_a_search_and_a_cross_validation():
    x, given, _ = two_groups()
    rrm = RRMClassifier(LogisticRegression(), contamination=0.1)
    search = GridSearchCV(rrm, {"estimator__C": [0.1, 1.0], "contamination": [0.05, 0.1]}, cv=2).fit(x, given)
    assert set(search.best_params_) == {"estimator__C", "contamination"}
    scores = cross_validate(rrm, x, given, cv=3, return_estimator=True)
    assert scores["test_score"].mean() > 0.8
    assert all(fitted.plans_ for fitted in scores["estimator"])


def test_clone_has_the_settings_and_nothing_fitted():
    x, given, _ = two_groups()
    model = RRMClassifier(LogisticRegression(C=0.3), contamination=0.1, cap=0.4, random_state=5).fit(x, given)
    copy = clone(model)
    assert repr(copy) == repr(model)
    assert not hasattr(copy, "estimator_")


def test_pickle_comes_back_with_its_results():
    x, given, _ = two_groups()
    model = RRMClassifier(LogisticRegression(), contamination=0.1).fit(x, given)
    copy = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copy.predict_proba(x), model.predict_proba(x))
    assert copy.plans_ == model.plans_


def test_pandas_keeps_names_and_strings():
    pd = pytest.importorskip("pandas")
    x, given, _ = two_groups()
    frame = pd.DataFrame(x, columns=["a", "b", "c"])
    frame["kind"] = np.array(["one", "two"])[given]
    labels = pd.Series(np.array(["no", "yes"])[given], index=np.arange(len(given)) + 1000)
    encoder = make_column_transformer((OneHotEncoder(), ["kind"]), remainder=StandardScaler())
    encoder.set_output(transform="default")
    estimator = make_pipeline(encoder, LogisticRegression())
    model = RRMClassifier(estimator, contamination=0.1).fit(frame, labels)
    assert model.feature_names_in_.tolist() == ["a", "b", "c", "kind"]
    assert model.n_features_in_ == 4
    assert model.classes_.tolist() == ["no", "yes"]
    assert set(model.predict(frame)) == {"no", "yes"}


@pytest.mark.parametrize("kind", [list, np.array, "Series"])
def test_texts_are_passed_to_a_pipeline(kind):
    if kind == "Series":
        kind = pytest.importorskip("pandas").Series
    _, given, is_wrong = two_groups()
    texts = kind([f"{('bad', 'good')[label ^ wrong]} film" for label, wrong in zip(given, is_wrong, strict=True)])
    model = RRMClassifier(make_pipeline(CountVectorizer(), LogisticRegression()), contamination=0.1).fit(texts, given)
    np.testing.assert_array_equal(model.sample_weight_ == 0, is_wrong)
    assert model.predict(["good film", "bad film"]).tolist() == [1, 0]


def test_transformers_may_hand_over_frames():
    pd = pytest.importorskip("pandas")
    x, given, _ = two_groups()
    frame = pd.DataFrame(x, columns=["a", "b", "c"])
    model = make_pipeline(StandardScaler(), RRMClassifier(LogisticRegression(), contamination=0.1))
    model.set_output(transform="pandas").fit(frame, given)
    assert model[-1].feature_names_in_.tolist() == ["a", "b", "c"]
    assert model[-1].estimator_.feature_names_in_.tolist() == ["a", "b", "c"]


@pytest.mark.parametrize("kind", [sparse.csr_matrix, sparse.csc_array, sparse.coo_array])
def test_sparse_is_as_dense(kind):
    x, given, _ = two_groups()
    model = RRMClassifier(LogisticRegression(), contamination=0.1).fit(kind(x), given)
    plain = RRMClassifier(LogisticRegression(), contamination=0.1).fit(x, given)
    np.testing.assert_array_equal(model.sample_weight_, plain.sample_weight_)


def test_lists_are_as_numpy():
    x, given, _ = two_groups()
    model = RRMClassifier(LogisticRegression(), contamination=0.1).fit(x.tolist(), given.tolist())
    plain = RRMClassifier(LogisticRegression(), contamination=0.1).fit(x, given)
    np.testing.assert_array_equal(model.losses_, plain.losses_)
