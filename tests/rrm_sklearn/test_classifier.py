"""RRMClassifier: weights, estimate, attributes and errors."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier
from sklearn.model_selection import GroupKFold, KFold, ShuffleSplit, StratifiedKFold, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier

import rrm_core
import rrm_review
from rrm_sklearn import RRMClassifier
from rrm_sklearn.weighted_fit import ClassifierFit
from support.noisy_tables import noisy_digits, two_groups


class FailingClassifier(LogisticRegression):
    """Fails in its n-th fit."""

    n_fits = 0
    fails_at = 0

    def fit(self, X, y, sample_weight=None):  # noqa: N803
        FailingClassifier.n_fits += 1
        if FailingClassifier.n_fits == FailingClassifier.fails_at:
            raise RuntimeError("out of memory")
        return super().fit(X, y, sample_weight)


class NaNClassifier(LogisticRegression):
    """Predicts NaN."""

    def predict_proba(self, X):  # noqa: N803
        return np.full((len(X), 2), np.nan)


@pytest.mark.parametrize(
    "estimator",
    [
        LogisticRegression(),
        HistGradientBoostingClassifier(max_iter=20, random_state=0),
        RandomForestClassifier(30, random_state=0),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_auto_finds_wrong_labels(estimator):
    x, given, is_wrong = noisy_digits()
    model = RRMClassifier(estimator).fit(x, given)
    assert abs(model.estimate_.contamination - 0.2) < 0.07
    assert is_wrong[model.sample_weight_ == 0].mean() > 0.75
    assert (model.sample_weight_[is_wrong] == 0).mean() > 0.8
    assert model.plans_[-1].n_pruned == model.label_issues_["is_label_issue"].sum() > 0


def out_of_fold(x, given):
    """Return the probabilities for each sample of a model that was trained on the other folds."""
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    weights = {"sample_weight": np.ones(len(given))}
    return cross_val_predict(LogisticRegression(), x, given, cv=folds, method="predict_proba", params=weights)


def test_one_round_is_a_reweight_by_out_of_fold_losses():
    x, given, _ = two_groups()
    model = RRMClassifier(LogisticRegression(), contamination=0.1, rounds=1, rank_by="loss").fit(x, given)
    losses = 0.0 - np.log(out_of_fold(x, given)[np.arange(len(given)), given])
    expected, plan = rrm_core.reweight(losses, contamination=0.1, redistribute="kept")
    np.testing.assert_array_equal(model.losses_, losses)
    np.testing.assert_array_equal(model.sample_weight_, expected)
    assert model.plans_ == [plan]
    alone = LogisticRegression().fit(x, given, sample_weight=expected)
    np.testing.assert_array_equal(model.estimator_.coef_, alone.coef_)


def test_noise_aware_loss_follows_bayes_rule():
    x, given, _ = two_groups()
    model = RRMClassifier(LogisticRegression(), contamination=0.1, rounds=1).fit(x, given)
    p = out_of_fold(x, given)
    # Given labels by predicted class, and 1 sample more.
    t = model.estimate_.confident_joint().T + 1 / 2
    t /= t.sum(axis=1, keepdims=True)
    y, other = given, 1 - given
    rows = np.arange(len(given))
    posterior = p[rows, y] * t[y, y] / (p[rows, y] * t[y, y] + p[rows, other] * t[other, y])
    np.testing.assert_allclose(model.losses_, -np.log(posterior), rtol=1e-10, atol=1e-12)


def test_noise_aware_loss_finds_labels_of_one_class_mistaken_for_another():
    x, y, _ = two_groups(n=600, share=0)
    x = x / 2  # the classes overlap
    is_wrong = (np.random.default_rng(0).random(600) < 0.4) & (y == 1)
    given = np.where(is_wrong, 0, y)
    precision = {}
    for rank_by in ("noise-aware", "loss"):
        model = RRMClassifier(LogisticRegression(), is_wrong.mean(), rank_by=rank_by).fit(x, given)
        precision[rank_by] = is_wrong[model.sample_weight_ == 0].mean()
    assert precision["noise-aware"] > precision["loss"] + 0.1


def test_estimate_is_the_mean_of_the_rounds():
    x, given, _ = noisy_digits()
    first, second, both = (
        RRMClassifier(LogisticRegression(), contamination, rounds=rounds).fit(x, given).estimate_
        for contamination, rounds in (("auto", 1), ("auto", 2), (0.2, 2))
    )
    assert second.basis == f"{first.basis}; the mean of 2 rounds"
    assert second.interval[0] <= second.contamination <= second.interval[1]
    np.testing.assert_array_equal(first.pairs, second.pairs)
    assert both.contamination > 0


def test_contamination_0_is_the_estimator_itself():
    x, given, _ = two_groups()
    model = RRMClassifier(LogisticRegression(), contamination=0).fit(x, given)
    assert len(model.plans_) == 1
    np.testing.assert_array_equal(model.sample_weight_, np.ones(len(given)))
    np.testing.assert_array_equal(model.predict_proba(x), LogisticRegression().fit(x, given).predict_proba(x))


def test_rounds_end_when_the_weights_stay_the_same():
    x, given, _ = two_groups()
    many = RRMClassifier(LogisticRegression(), contamination=0.1, rounds=30).fit(x, given)
    assert len(many.plans_) < 30
    before = RRMClassifier(LogisticRegression(), contamination=0.1, rounds=len(many.plans_) - 1).fit(x, given)
    np.testing.assert_array_equal(many.sample_weight_, before.sample_weight_)


def test_mu_smooths_the_weights():
    x, given, _ = two_groups()
    model = RRMClassifier(LogisticRegression(), contamination=0.1, rounds=1, mu=0.5, redistribute="drop").fit(x, given)
    assert set(model.sample_weight_.tolist()) == {0.5, 1.0}


def test_ties_share_reaches_losses_that_tie():
    x, given, is_wrong = two_groups(share=0.2)
    tree = DecisionTreeClassifier(random_state=0)
    with pytest.warns(UserWarning, match=r"losses tie at the threshold.*ties='share'"):
        kept = RRMClassifier(tree, contamination=0.1).fit(x, given)
    assert kept.sample_weight_.min() == 1
    shared = RRMClassifier(tree, contamination=0.1, ties="share").fit(x, given)
    assert shared.sample_weight_.min() < 1
    assert shared.sample_weight_[is_wrong].mean() < shared.sample_weight_[~is_wrong].mean()


def test_cap_protects_a_rare_class():
    x, _, _ = two_groups(n=200)
    given = np.zeros(200, int)
    given[:6] = 1  # like class 0: no model can tell them
    whole = RRMClassifier(LogisticRegression(), contamination=0.1, rounds=1).fit(x, given)
    capped = RRMClassifier(LogisticRegression(), contamination=0.1, rounds=1, cap=0.5).fit(x, given)
    assert (whole.sample_weight_[:6] == 0).all()
    assert (capped.sample_weight_[:6] == 0).sum() == 3
    assert isinstance(capped.plans_[0], rrm_core.GroupedPlan)
    assert capped.label_issues_["is_label_issue"].sum() == capped.plans_[0].n_pruned.sum()


def test_auto_prunes_nothing_if_nothing_can_be_learnt():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 4))
    with pytest.warns(UserWarning, match="hardly more often than by chance, and no sample is pruned"):
        model = RRMClassifier(LogisticRegression()).fit(x, rng.integers(0, 3, 300))
    assert model.estimate_.contamination == 0
    assert model.estimate_.interval is None
    assert "learnt nothing" in model.estimate_.basis
    assert model.sample_weight_.min() == model.sample_weight_.max() == 1


def test_sample_weight_multiplies_the_weights():
    x, given, _ = two_groups()
    weights = np.where(np.arange(len(given)) % 3 == 0, 2.0, 0.5)
    seen = []

    class Recording(LogisticRegression):
        def fit(self, X, y, sample_weight=None):  # noqa: N803
            seen.append(np.array(sample_weight))
            return super().fit(X, y, sample_weight)

    model = RRMClassifier(Recording(), contamination=0.1, rounds=1).fit(x, given, sample_weight=weights)
    assert len(seen) == 4
    of_rrm = model.label_issues_["sample_weight"]
    np.testing.assert_array_equal(model.sample_weight_, of_rrm * weights)
    np.testing.assert_array_equal(seen[-1], model.sample_weight_)
    assert set(np.concatenate(seen[:3]).tolist()) == {0.5, 2.0}


def test_sample_of_weight_0_is_as_if_removed():
    x, given, _ = two_groups()
    weights = np.ones(len(given))
    weights[::5] = 0
    parts = np.arange(len(given)) % 3
    splits = [(np.flatnonzero(parts != k), np.flatnonzero(parts == k)) for k in range(3)]
    model = RRMClassifier(LogisticRegression(), contamination=0.1, cv=splits).fit(x, given, sample_weight=weights)
    kept = np.flatnonzero(weights)
    position = np.cumsum(weights > 0) - 1
    inner = [tuple(position[rows[weights[rows] > 0]] for rows in split) for split in splits]
    removed = RRMClassifier(LogisticRegression(), contamination=0.1, cv=inner).fit(x[kept], given[kept])
    np.testing.assert_array_equal(model.sample_weight_[kept], removed.sample_weight_)
    np.testing.assert_allclose(model.losses_[kept], removed.losses_, rtol=1e-6)
    assert np.isnan(model.losses_[::5]).all()
    assert (model.sample_weight_[::5] == 0).all()
    assert not model.label_issues_["is_label_issue"][::5].any()


def test_label_issues_are_cleanlabs_columns_in_the_order_of_the_samples():
    x, codes, is_wrong = noisy_digits(300)
    names = np.array([f"digit {k}" for k in range(10)])
    model = RRMClassifier(LogisticRegression()).fit(x, names[codes])
    issues = model.label_issues_
    assert list(issues) == [
        "index",
        "is_label_issue",
        "label_quality",
        "given_label",
        "predicted_label",
        "sample_weight",
        "loss",
        "share_pruned",
    ]
    np.testing.assert_array_equal(issues["index"], np.arange(300))
    np.testing.assert_array_equal(issues["given_label"], names[codes])
    assert (issues["predicted_label"][~is_wrong] == names[codes[~is_wrong]]).mean() > 0.8
    assert is_wrong[np.argsort(issues["label_quality"])[:30]].mean() > 0.9
    assert list(rrm_review.to_frame(issues).columns) == list(issues)


def test_share_pruned_counts_rounds():
    x, given, _ = noisy_digits(300)
    model = RRMClassifier(LogisticRegression(), contamination=0.2, rounds=2).fit(x, given)
    assert set(model.label_issues_["share_pruned"].tolist()) == {0.0, 0.5, 1.0}


@pytest.mark.parametrize(
    ("labels", "shown"),
    [
        (np.array(["no", "yes"]), ["no", "yes"]),
        (np.array(["no", "yes"], object), ["no", "yes"]),
        (np.array([3, 7]), [3, 7]),
        (np.array([-1, 1]), [-1, 1]),
        (np.array([False, True]), ["False", "True"]),
        (np.array([1.0, 2.0]), ["1.0", "2.0"]),
    ],
)
def test_labels_of_any_kind(labels, shown):
    x, codes, _ = two_groups()
    model = RRMClassifier(LogisticRegression()).fit(x, labels[codes])
    np.testing.assert_array_equal(model.classes_, labels)
    assert model.predict(x).dtype == labels.dtype
    assert (model.predict(x) == labels[codes]).mean() > 0.8
    assert sorted(set(model.label_issues_["given_label"].tolist())) == shown


def test_class_with_fewer_members_than_folds_is_judged():
    x, given, _ = two_groups()
    given[:2] = 2
    model = RRMClassifier(LogisticRegression(), contamination=0.05).fit(x, given)
    assert not np.isnan(model.losses_).any()
    assert model.predict_proba(x).shape == (120, 3)


def test_class_with_one_member_is_not_judged():
    x, given, _ = two_groups()
    given = 2 * given
    given[0] = 1
    with pytest.warns(UserWarning, match=r"1 sample is not judged and keeps its weight.*knows 1;"):
        model = RRMClassifier(LogisticRegression(), contamination=0.05).fit(x, given)
    # The models of its fold know the classes 0 and 2.
    assert (model.label_issues_["predicted_label"] == given).mean() > 0.8
    assert np.flatnonzero(np.isnan(model.losses_)).tolist() == [0]
    assert model.sample_weight_[0] == 1
    assert np.isnan(model.label_issues_["share_pruned"][0])


def test_same_random_state_gives_the_same_result():
    x, given, _ = noisy_digits(300)
    fits = [RRMClassifier(LogisticRegression(), random_state=3).fit(x, given) for _ in range(2)]
    other = RRMClassifier(LogisticRegression(), random_state=4).fit(x, given)
    np.testing.assert_array_equal(fits[0].losses_, fits[1].losses_)
    assert (fits[0].losses_ != other.losses_).any()


def test_n_jobs_does_not_change_the_bits():
    x, given, _ = noisy_digits(300)
    one = RRMClassifier(LogisticRegression(), n_jobs=1).fit(x, given)
    two = RRMClassifier(LogisticRegression(), n_jobs=2).fit(x, given)
    np.testing.assert_array_equal(one.losses_, two.losses_)
    np.testing.assert_array_equal(one.estimator_.coef_, two.estimator_.coef_)


def test_cv_accepts_splitters_and_splits():
    x, given, _ = two_groups()
    sources = np.arange(len(given)) // 10
    splits = list(GroupKFold(4).split(x, given, sources))
    by_splits = RRMClassifier(LogisticRegression(), contamination=0.1, cv=splits).fit(x, given)
    by_splitter = RRMClassifier(LogisticRegression(), contamination=0.1, cv=KFold(4)).fit(x, given)
    assert by_splits.losses_.shape == by_splitter.losses_.shape == (120,)
    assert (by_splits.losses_ != by_splitter.losses_).any()


def test_probabilities_of_float32_give_losses_of_float64():
    class SinglePrecision(LogisticRegression):
        def predict_proba(self, X):  # noqa: N803
            return super().predict_proba(X).astype(np.float32)

    x, given, _ = two_groups()
    model = RRMClassifier(SinglePrecision(), contamination=0.1).fit(x, given)
    assert model.losses_.dtype == model.sample_weight_.dtype == np.float64


def test_probability_0_gives_a_finite_loss():
    x, given, _ = two_groups()
    with pytest.warns(UserWarning, match="losses tie"):
        model = RRMClassifier(DecisionTreeClassifier(random_state=0), contamination=0.1, rank_by="loss").fit(x, given)
    assert np.isfinite(model.losses_).all()
    assert model.losses_.max() == -np.log(np.finfo(np.float64).tiny)


def test_methods_are_those_of_the_estimator():
    x, given, _ = two_groups()
    linear = RRMClassifier(LogisticRegression()).fit(x, given)
    forest = RRMClassifier(RandomForestClassifier(10, random_state=0)).fit(x, given)
    np.testing.assert_array_equal(linear.decision_function(x), linear.estimator_.decision_function(x))
    np.testing.assert_array_equal(linear.predict_log_proba(x), linear.estimator_.predict_log_proba(x))
    assert not hasattr(forest, "decision_function")
    assert hasattr(RRMClassifier(LogisticRegression()), "decision_function")


# Errors


def test_estimator_without_sample_weight_is_refused():
    x, given, _ = two_groups()
    with pytest.raises(ValueError, match="fit of KNeighborsClassifier has no argument sample_weight; choose one"):
        RRMClassifier(KNeighborsClassifier()).fit(x, given)


def test_estimator_without_probabilities_is_refused():
    x, given, _ = two_groups()
    with pytest.raises(ValueError, match=r"RidgeClassifier has not; wrap it in .*CalibratedClassifierCV"):
        RRMClassifier(RidgeClassifier()).fit(x, given)
    model = RRMClassifier(CalibratedClassifierCV(RidgeClassifier())).fit(x, given)
    assert model.score(x, given) > 0.8


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"contamination": 1.0}, r"contamination must lie in \[0, 1\)"),
        ({"contamination": "some"}, "contamination must be a share in .* or 'auto', got 'some'"),
        ({"contamination": 0.1, "rounds": 0}, "rounds must be a whole number, at least 1, got 0"),
        ({"mu": 0.0}, "mu must lie in"),
        ({"redistribute": "all"}, "redistribute must be"),
        ({"ties": "drop"}, "ties must be"),
        ({"rank_by": "margin"}, "rank_by must be 'noise-aware' or 'loss', got 'margin'"),
        ({"cap": 2.0}, "cap must lie in"),
        ({"ties": "share", "cap": 0.5}, "ties='share' needs a contamination without cap"),
        ({"cv": 1}, "cv must be at least 2 folds, got 1"),
        ({"cv": 200}, "cv=200 needs at least 200 samples, got n_samples = 120"),
        ({"cv": "three"}, "Expected .?cv.? as an integer"),
        ({"cv": ShuffleSplit(3, random_state=0)}, "cv must test each sample once, as KFold does, but it tests sample"),
    ],
)
def test_invalid_settings_are_refused(settings, message):
    x, given, _ = two_groups()
    with pytest.raises(ValueError, match=message):
        RRMClassifier(LogisticRegression(), **settings).fit(x, given)


def test_arrays_of_shares_are_refused():
    x, given, _ = two_groups()
    with pytest.raises(TypeError, match="contamination must be one number, got an array"):
        RRMClassifier(LogisticRegression(), [0.1, 0.2]).fit(x, given)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones(7), r"sample_weight must have shape \(120,\), one weight per sample, got \(7,\)"),
        (np.full(120, -1.0), r"sample_weight must be finite and at least 0, got -1.0 at index 0"),
        (np.full(120, np.nan), "sample_weight must be finite"),
        (np.zeros(120), "sample_weight must be above 0 for at least one sample"),
    ],
)
def test_invalid_sample_weights_are_refused(weights, message):
    x, given, _ = two_groups()
    with pytest.raises(ValueError, match=message):
        RRMClassifier(LogisticRegression()).fit(x, given, sample_weight=weights)


def test_one_class_is_refused():
    x, given, _ = two_groups()
    with pytest.raises(ValueError, match="y must have at least 2 classes, got 1 class"):
        RRMClassifier(LogisticRegression()).fit(x, np.zeros_like(given))


def test_folds_that_train_on_no_class_of_their_test_part_are_refused():
    x = np.arange(6.0)[:, None]
    with pytest.raises(ValueError, match="cv must leave samples of each class for training"):
        RRMClassifier(DummyClassifier(), cv=KFold(3)).fit(x, np.array([0, 0, 1, 1, 2, 2]))


def test_error_of_the_estimator_names_round_and_fold():
    x, given, _ = two_groups()
    FailingClassifier.n_fits = 0
    FailingClassifier.fails_at = 5
    with pytest.raises(RuntimeError, match="out of memory") as raised:
        RRMClassifier(FailingClassifier(), contamination=0.1).fit(x, given)
    notes = getattr(raised.value, "__notes__", ["in round 2, fold 2 of 3"])
    assert notes == ["in round 2, fold 2 of 3"]


def test_nan_probabilities_are_refused():
    x, given, _ = two_groups()
    with pytest.raises(ValueError, match="predictions of round 1 are no finite numbers for 120 of 120 samples"):
        RRMClassifier(NaNClassifier()).fit(x, given)


def test_failed_fit_sets_no_results():
    x, given, _ = two_groups()
    model = RRMClassifier(NaNClassifier())
    with pytest.raises(ValueError, match="no finite numbers"):
        model.fit(x, given)
    assert not hasattr(model, "estimator_")


def test_interrupted_fit_keeps_the_rounds_that_are_complete(monkeypatch):
    x, given, _ = two_groups()
    complete = RRMClassifier(LogisticRegression(), contamination=0.1, rounds=1).fit(x, given)
    model = RRMClassifier(LogisticRegression(), contamination=0.1).fit(x, given)
    predict_out_of_fold = ClassifierFit.predict_out_of_fold

    def interrupt(fits, folds, weights, number):
        if number == 2:
            raise KeyboardInterrupt
        return predict_out_of_fold(fits, folds, weights, number)

    monkeypatch.setattr(ClassifierFit, "predict_out_of_fold", interrupt)
    with pytest.raises(KeyboardInterrupt):
        model.fit(x, given)
    for name, column in complete.label_issues_.items():
        np.testing.assert_array_equal(model.label_issues_[name], column)
    np.testing.assert_array_equal(model.out_of_fold_proba_, complete.out_of_fold_proba_)
    with pytest.raises(NotFittedError):
        model.predict(x)


def test_a_fit_that_is_interrupted_in_its_first_round_keeps_nothing_of_an_earlier_one(monkeypatch):
    x, given, _ = two_groups()
    model = RRMClassifier(LogisticRegression(), contamination=0.1).fit(x, given)

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(ClassifierFit, "predict_out_of_fold", interrupt)
    with pytest.raises(KeyboardInterrupt):
        model.fit(x[::2], given[::2])
    assert {name for name in vars(model) if name.endswith("_")} == {"classes_", "n_features_in_"}


def test_out_of_fold_probabilities_are_those_of_the_predicted_labels():
    x, given, _ = two_groups()
    model = RRMClassifier(LogisticRegression(), contamination=0.1).fit(x, given)
    assert model.out_of_fold_proba_.shape == (len(given), 2)
    np.testing.assert_allclose(model.out_of_fold_proba_.sum(axis=1), 1)
    predicted = model.classes_[model.out_of_fold_proba_.argmax(axis=1)]
    np.testing.assert_array_equal(predicted, model.label_issues_["predicted_label"])


def test_regressors_are_refused():
    with pytest.raises(ValueError, match="estimator must be a classifier, got LinearRegression; use RRMRegressor"):
        RRMClassifier(LinearRegression()).fit(np.eye(20), np.arange(20) % 2)


def test_a_splitter_that_needs_groups_is_told_how():
    x = np.random.default_rng(0).random((60, 2))
    with pytest.raises(
        ValueError,
        match=r"needs the groups of the samples: give the splits, cv=GroupKFold\(.*\)\.split\(X, y, groups\)",
    ):
        RRMClassifier(LogisticRegression(), cv=GroupKFold(3)).fit(x, np.arange(60) % 2)
