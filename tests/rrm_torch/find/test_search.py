"""Searches for wrong labels: the models, their inputs and the tables."""

from __future__ import annotations

import json
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from rrm_torch.find import estimators
from rrm_torch.find.estimator_search import CountedClassifier
from rrm_torch.find.estimators import REST, make_feature_estimator, make_table_estimator, make_text_estimator
from rrm_torch.find.image_search import standardise
from rrm_torch.find.own_model import load_classifier, load_network
from rrm_torch.find.readers.labelled_data import LabelledData, View
from rrm_torch.find.search import load_model, prepare, search
from rrm_torch.find.settings import SearchSettings
from support import planted_errors
from support.planted_errors import CLASSES, WORDS

MODELS = """
import warnings

import torch
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

pipeline = make_pipeline(CountVectorizer(), LogisticRegression())


class Regression(LogisticRegression):
    def fit(self, X, y, sample_weight=None):
        warnings.warn("it has few samples.")
        return super().fit(X, y, sample_weight)


def make():
    return LogisticRegression(C=0.5)


class Network(torch.nn.Module):
    def __init__(self, n_classes):
        super().__init__()
        self.norm = torch.nn.BatchNorm2d(3)
        self.out = torch.nn.LazyLinear(n_classes)

    def forward(self, x):
        return self.out(torch.nn.functional.avg_pool2d(self.norm(x), 8).flatten(1))
"""


def ignore_progress(done, total, what):
    pass


def make_data(kind, samples, labels, classes=CLASSES, view=None):
    return LabelledData("data", kind, samples, labels, classes, np.arange(len(labels)), [], [], view)


def run(data, settings=None, progress=ignore_progress):
    settings = settings or SearchSettings(contamination=0.1)
    prepared = prepare(data, progress)
    return search(prepared, settings, progress, load_model(prepared.data, settings))


def flagged(result):
    return set(result.issues["index"][result.issues["is_label_issue"]].tolist())


def make_texts(true):
    rng = np.random.default_rng(0)
    return [f"text {index}: {' '.join(rng.choice(WORDS[label], 3))}" for index, label in enumerate(true)]


def make_images(true):
    images = np.random.default_rng(0).integers(0, 60, (len(true), 8, 8, 3), np.uint8)
    images[np.arange(len(true)), :, :, true] += 150
    return images


@pytest.fixture
def models(tmp_path):
    """A file of own models, which is called as a module that is imported already."""
    path = tmp_path / "json.py"
    path.write_text(MODELS)
    return path


@pytest.mark.parametrize("kind", ["images", "texts", "table", "features", "probabilities"])
def test_classes_without_samples(kind):
    true, given, is_wrong = planted_errors.plant(120, 6)
    vectors = planted_errors.make_vectors(true)
    probabilities = np.exp(vectors) / np.exp(vectors).sum(axis=1, keepdims=True)
    samples = {
        "images": make_images(true),
        "texts": make_texts(true),
        "table": pd.DataFrame(vectors, columns=["a", "b", "c"]),
        "features": vectors,
        # The first and the last class are of no sample.
        "probabilities": np.pad(probabilities, ((0, 0), (1, 1))),
    }[kind]
    classes = ("ant", *CLASSES, "yak")
    result = run(make_data(kind, samples, given + 1, classes), SearchSettings(0.05, epochs=5))
    assert flagged(result) == set(np.flatnonzero(is_wrong).tolist())
    assert set(result.issues["predicted_label"].tolist()) == set(CLASSES)
    for index, label in zip(result.issues["index"], result.issues["given_label"], strict=True):
        assert label == CLASSES[given[index]]


def test_a_classifier_that_does_not_take_the_samples_is_named_with_the_remedy():
    data = make_data("texts", make_texts(np.arange(60) % 3), np.arange(60) % 3)
    settings = SearchSettings(model="models.py:make")
    with pytest.raises(
        ValueError, match=r"'models.py:make' can't be fitted: .*It gets texts as strings; put an encoder"
    ):
        search(prepare(data, lambda *_: None), settings, lambda *_: None, LogisticRegression())


def test_duplicates_of_texts_beside_features_are_those_of_the_texts():
    texts = ["same", *map(str, range(8)), "same"]
    data = make_data("features", np.zeros((10, 2), np.float32), np.arange(10) % 2, view=View("texts", texts))
    (group,) = prepare(data, lambda *_: None).duplicates
    assert group.members.tolist() == [0, 9]


@pytest.mark.parametrize("kind", ["texts", "features"])
def test_classes_of_one_sample_are_not_judged(kind):
    true, given, _ = planted_errors.plant(120, 12)
    given[0] = 3
    samples = make_texts(true) if kind == "texts" else planted_errors.make_vectors(true)
    result = run(make_data(kind, samples, given, (*CLASSES, "yak")))
    is_single = result.issues["given_label"] == "yak"
    assert np.count_nonzero(is_single) == 1
    assert not result.issues["is_label_issue"][is_single].any()
    notes = " ".join(result.notes)
    assert "not judged" in notes
    assert "knows 'yak'" in notes
    assert all(note[0].isupper() or note[0].isdigit() for note in result.notes)
    assert all(note.endswith(".") and not note.endswith("..") for note in result.notes)


def test_images_of_one_sample_a_class():
    true, given, _ = planted_errors.plant(60, 6)
    given[0] = 3
    result = run(make_data("images", make_images(true), given, (*CLASSES, "yak")), SearchSettings(0.1, epochs=4))
    assert result.n == 60
    assert 0 not in flagged(result)


@pytest.mark.parametrize("kind", ["images", "features", "probabilities"])
def test_at_most_half_of_a_class_is_flagged(kind):
    true = np.arange(120) % 2
    given = true.copy()
    given[::6] = 2  # all of them look like the first class
    vectors = planted_errors.make_vectors(true)
    probabilities = np.exp(vectors) / np.exp(vectors).sum(axis=1, keepdims=True)
    samples = {"images": make_images(true), "features": vectors, "probabilities": probabilities}[kind]
    result = run(make_data(kind, samples, given), SearchSettings(20 / 120, epochs=5))
    n_flagged = np.count_nonzero(result.issues["is_label_issue"] & (result.issues["given_label"] == "owl"))
    assert 8 <= n_flagged <= 10


def test_warmup_of_few_images_is_a_third():
    true, given, _ = planted_errors.plant(30, 3)
    result = run(make_data("images", make_images(true), given), SearchSettings(0.1, epochs=9))
    assert result.pruned.shape == (7, 30)  # after the epochs 3 to 9
    assert result.pruned.any(axis=1).all()


def test_images_are_not_mirrored():
    true, given, is_wrong = planted_errors.plant(150, 15)
    images = np.random.default_rng(0).integers(0, 60, (150, 9, 9), np.uint8)
    for index, label in enumerate(true.tolist()):
        images[index, :, 3 * label : 3 * label + 3] += 150
    result = run(make_data("images", images, given), SearchSettings(0.1, epochs=8))
    assert len(flagged(result) & set(np.flatnonzero(is_wrong).tolist())) >= 13


def test_texts_of_many_classes_have_fewer_features(monkeypatch):
    texts = make_texts(np.arange(30) % 3)
    few = make_text_estimator(texts, 3, 0)
    assert few.inputs.shape == (30, 1 << 18)
    many = make_text_estimator(texts, 2000, 0)
    assert many.inputs.shape == (30, 1 << 15)
    assert many.inputs.shape[1] * 2000 <= estimators.MAX_COEFFICIENTS
    assert make_text_estimator(texts, 1_000_000, 0).inputs.shape == (30, 1 << 13)


@pytest.mark.parametrize(("n_classes", "n_iterations"), [(2, 100), (8, 62), (500, 20)])
def test_tables_of_many_classes_take_fewer_iterations(n_classes, n_iterations):
    estimator = make_table_estimator(pd.DataFrame({"x": [1.0, 2.0]}), n_classes, 3)
    assert isinstance(estimator.classifier, HistGradientBoostingClassifier)
    assert estimator.classifier.max_iter == n_iterations
    assert estimator.classifier.random_state == 3


@pytest.mark.parametrize("n_categories", [254, 255, 400])
def test_rare_categories_are_merged(n_categories):
    frequent = np.repeat(np.arange(n_categories), 2)
    frequent[-1] = 0  # the last category is the rarest
    cells = pd.Series([f"c{code}" for code in frequent]).astype("category")
    cells.iloc[5] = None
    frame = pd.DataFrame({"code": cells, "x": np.random.default_rng(0).normal(size=len(cells))})
    estimator = make_table_estimator(frame, 2, 0)
    merged = estimator.inputs["code"]
    is_rest = merged == REST
    assert merged.cat.categories.size == min(n_categories, 255)
    assert merged.isna().tolist() == frame["code"].isna().tolist()
    assert merged[~is_rest].dropna().tolist() == frame["code"][~is_rest].dropna().tolist()
    assert is_rest.any() == (n_categories > 254)
    if n_categories > 254:
        assert is_rest.iloc[-2]
    assert len(frame["code"].cat.categories) == n_categories
    estimator.classifier.set_params(max_iter=1).fit(estimator.inputs, np.arange(len(cells)) % 2)


def test_tables_with_missing_cells_and_categories():
    true, given, is_wrong = planted_errors.plant(300, 30)
    rng = np.random.default_rng(0)
    vectors = planted_errors.make_vectors(true).astype(float)
    vectors[rng.random(vectors.shape) < 0.1] = np.nan
    frame = pd.DataFrame(vectors, columns=["a", "b", "c"])
    frame["sound"] = pd.Categorical(np.array(["meow", "bark", "hoot"])[true]).astype("category")
    frame.loc[rng.random(300) < 0.1, "sound"] = None
    result = run(make_data("table", frame, given))
    assert len(flagged(result) & set(np.flatnonzero(is_wrong).tolist())) >= 27


def test_features_are_standardised():
    features = np.array([[0, 1e6, 5], [2, 3e6, 5], [1, 2e6, 5]], np.float32)
    inputs = make_feature_estimator(features, 0).inputs
    np.testing.assert_allclose(inputs.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(inputs.std(axis=0), [1, 1, 0], atol=1e-6)


@pytest.mark.parametrize(
    "classifier",
    [
        RandomForestClassifier(5, random_state=0),
        make_pipeline(CountVectorizer(analyzer=lambda row: [str(row[0] > 2)]), LogisticRegression()),
        GridSearchCV(LogisticRegression(), {"C": [0.1, 1]}, cv=2),
    ],
    ids=["classifier", "pipeline", "keywords"],
)
def test_counted_classifier_reports_fits_and_passes_weights(classifier):
    true = np.arange(30) % 3
    vectors = planted_errors.make_vectors(true)
    reports = []
    counted = CountedClassifier(classifier, lambda: reports.append(counted.classes_.tolist()))
    weights = (true < 2).astype(float)
    assert counted.fit(vectors, true, sample_weight=weights) is counted
    assert reports == [[0, 1, 2]]
    assert counted.predict_proba(vectors).shape == (30, 3)
    # Samples of weight 0 have no influence.
    assert not (counted.predict(vectors) == 2).any()
    counted.fit(vectors, true, sample_weight=np.ones(30))
    assert len(reports) == 2


def test_fits_are_reported_in_samples():
    true, given, _ = planted_errors.plant(90, 9)
    reports = []
    run(
        make_data("features", planted_errors.make_vectors(true), given),
        progress=lambda done, total, what: reports.append((done, total, what)),
    )
    assert reports == [((call + 1) * 90, 900, "training") for call in range(len(reports))]
    assert 4 <= len(reports) <= 10


def test_own_pipeline_on_texts(models):
    true, given, is_wrong = planted_errors.plant(120, 12)
    reference = f"{models}:pipeline"
    result = run(make_data("texts", make_texts(true), given), SearchSettings(0.1, reference))
    assert flagged(result) == set(np.flatnonzero(is_wrong).tolist())
    assert result.model == reference


@pytest.mark.parametrize("name", ["Regression", "make"], ids=["class", "function"])
def test_own_classifier(models, name):
    true, given, is_wrong = planted_errors.plant(120, 12)
    settings = SearchSettings(0.1, f"{models}:{name}")
    result = run(make_data("features", planted_errors.make_vectors(true), given), settings)
    assert flagged(result) == set(np.flatnonzero(is_wrong).tolist())
    assert result.notes == (("It has few samples.",) if name == "Regression" else ())


def test_own_network(models):
    true, given, is_wrong = planted_errors.plant(120, 12)
    settings = SearchSettings(0.1, f"{models}:Network", epochs=6)
    data = make_data("images", make_images(true), given)
    first = run(data, settings)
    assert flagged(first) == set(np.flatnonzero(is_wrong).tolist())
    assert first.model == settings.model
    again = run(data, settings)
    np.testing.assert_array_equal(again.issues["loss"], first.issues["loss"])


def test_checks_of_a_network_leave_its_statistics(models):
    network = load_network(f"{models}:Network", 3, 32)
    assert network.norm.running_var.tolist() == [1, 1, 1]
    assert network.out.in_features == 3 * 4 * 4


def test_own_model_of_a_module():
    assert load_classifier("sklearn.linear_model:LogisticRegression").C == 1.0
    assert load_model(make_data("table", None, np.zeros(3, int)), SearchSettings()) is None
    with pytest.raises(ValueError, match=r"model 'torch.nn:Linear': Linear\(3\) can't be called: TypeError"):
        load_network("torch.nn:Linear", 3, 8)


def test_own_files_replace_no_module(models):
    assert isinstance(load_classifier(f"{models}:pipeline").steps[-1][1], LogisticRegression)
    assert sys.modules["json"] is json


def test_standardised_images():
    x = standardise(np.arange(2 * 4 * 4, dtype=np.uint8).reshape(2, 4, 4, 1))
    assert x.shape == (2, 3, 4, 4)
    assert x.dtype == torch.float32
    assert x.mean().abs() < 1e-6
    assert x.std(correction=0).item() == pytest.approx(1)
    assert torch.equal(x[:, 0], x[:, 2])
    assert standardise(np.full((2, 4, 4, 3), 7, np.uint8)).abs().max() == 0


def test_duplicates_of_predictions_are_those_of_the_texts_beside_them():
    labels = np.array([0, 1, 1, 0])
    probabilities = np.full((4, 2), 0.5)
    view = View("texts", ["same", "same", "other", "another"])
    groups = prepare(make_data("probabilities", probabilities, labels, view=view), ignore_progress).duplicates
    assert [group.members.tolist() for group in groups] == [[0, 1]]
    assert not prepare(make_data("probabilities", probabilities, labels), ignore_progress).duplicates


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"contamination": -0.1}, r"contamination must be 'auto' or a number in \[0, 1\), got -0.1"),
        ({"contamination": "some"}, "got 'some'"),
        ({"epochs": 2}, "epochs must be at least 3: a warm-up, then reweights, got 2"),
        ({"seed": 2**32}, "seed must be an integer from 0 to 4294967295, got 4294967296"),
    ],
)
def test_settings_outside_their_range(settings, message):
    with pytest.raises(ValueError, match=message):
        SearchSettings(**settings)
    assert SearchSettings(0, epochs=3, seed=2**32 - 1).contamination == 0
