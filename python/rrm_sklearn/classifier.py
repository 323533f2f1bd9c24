"""RRMClassifier: a classifier fitted by the weights of RRM."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
from sklearn.base import ClassifierMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets

import rrm_core

from .base import BaseRRM
from .estimation import transition_matrix
from .folds import find_judged, make_folds
from .issue_table import make_class_issues
from .losses import Floats, Integers, Mask, log_loss, noise_aware_loss
from .rounds import iterate_rounds
from .sample_weights import as_weights
from .settings import Auto, RankBy, Redistribute, Ties, make_settings
from .weighted_fit import ClassifierFit


def _estimator_has(name: str) -> Callable[[Any], bool]:
    """Return a check of whether the estimator of a RRMClassifier has a method; the fitted one, if there is one."""

    def check(classifier: Any) -> bool:
        # The AttributeError of the estimator says what it lacks.
        getattr(getattr(classifier, "estimator_", classifier.estimator), name)
        return True

    return check


class RRMClassifier(ClassifierMixin, BaseRRM):  # type: ignore[misc]
    """A classifier fitted to labels of which some are wrong.

    Models that were trained on the other folds predict the probability of each class for a sample; the less probable
    its label, the higher its loss. In each round, models are trained by the current weights, and the losses give new
    weights: 0 to the samples with the highest ones. Last, the estimator is fitted to all samples by the last weights.

    Parameters
    ----------
    estimator : classifier
        Its ``fit`` takes ``sample_weight``, and it has ``predict_proba``. The labels that it is given are numbers from
        0, the positions of the labels in `classes_`, which also name classes in an argument such as ``class_weight``.
        Sample weights of a `Pipeline` go to its last step; with metadata routing, to the steps that request them.
    contamination : float in [0, 1), or "auto", default "auto"
        The share of wrong labels, of the samples whatever their weight; ``"auto"`` estimates it from the predictions,
        and prunes nothing if the interval of the estimate reaches 0, see Notes.
    rounds : int, at least 1, default 3
        The largest number of rounds, each of which fits one model for each fold. They end when the weights stay the
        same, which they do after the first if nothing is pruned.
    cv : int, splitter or iterable of splits, default 3
        The number of folds, in which each class has equal shares; or what tests each sample once, such as
        ``GroupKFold(3).split(X, y, groups)`` for samples that depend on each other.
    mu : float in (0, 1], default 1
        Step size from the previous weights to their targets.
    redistribute : {"kept", "argmin", "drop"} or float in (0, 1], default "kept"
        The recipients of the pruned mass, see `rrm_core.reweight`.
    ties : {"keep", "share"}, default "keep"
        Samples whose loss equals the threshold, see `rrm_core.reweight`. Estimators with few distinct probabilities,
        such as a single tree, need ``"share"``.
    cap : float in [0, 1), optional
        The largest share of a class that is pruned, which protects rare classes.
    rank_by : {"noise-aware", "loss"}, default "noise-aware"
        What ranks the samples: the loss, minus the logarithm of the probability of the label; or how improbable it is
        that the label is the true one, if classes are confused as the estimate says. Both are alike where errors are
        uniform. Where one class is mistaken for another, the loss prunes correct labels, too.
    random_state : int, RandomState instance or None, default 0
        How samples are drawn for the folds, if `cv` is a number. Set that of the estimator as well.
    n_jobs : int, optional
        The number of folds at a time, as in scikit-learn. The result depends on it only if the estimator's depends on
        its number of threads.

    Attributes
    ----------
    estimator_ : classifier
        The model of all samples.
    classes_ : array of shape (n_classes,)
        The labels in ascending order.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : array of str, shape (n_features,)
        Only if X has names of features that are all strings.
    sample_weight_ : float64 array of shape (n,)
        The weights of the last fit: those of RRM, 0 for a pruned sample, times the `sample_weight` given.
    losses_ : float64 array of shape (n,)
        What ranked the samples in the last round, see `rank_by`; NaN for a sample that isn't judged.
    plans_ : list of rrm_core.Plan, or rrm_core.GroupedPlan with `cap`
        Of each round: threshold, counts and levels.
    label_issues_ : dict of str to array, shape (n,)
        The table of label issues in the order of the samples, see `rrm_review.make_issues`, with ``given_label`` and
        ``predicted_label``. `rrm_review.to_frame` makes a pandas DataFrame of it, `rrm_review.to_csv` a file.
    out_of_fold_proba_ : float64 array of shape (n, n_classes)
        The probability of each class in the last round, by a model that was not trained on the sample; NaN for a sample
        of weight 0 that no fold tests.
    estimate_ : rrm_core.ContaminationEstimate
        Also if `contamination` is a number; its classes are positions in `classes_`.

    See Also
    --------
    rrm_core.reweight : the weights for given losses.
    rrm_core.estimate_contamination : the estimate.

    Notes
    -----
    The estimate is that of `rrm_core.estimate_contamination` from the predictions of the first round, all of which are
    for samples held out, and then the mean of all rounds. In the recorded experiment on four tables (docs/results.md),
    it is 1 point too high in the mean, and 2 to 5 with a linear model that can't fit the table, and contradicts correct
    labels. It is 0 if the predictions agree with the labels hardly more often than by chance.

    The noise-aware loss of the label y is ``-log(p_y T[y, y] / sum_k p_k T[k, y])``, with p the predicted probabilities
    and T[k, j] the probability of the label j where k is true. The transition matrix T is made of the confident joint
    of the estimate in the first round.

    A fit that is interrupted leaves the attributes of the rounds that are complete, without ``estimator_``.

    A sample isn't judged, and keeps its weight, if `sample_weight` is 0, or if no other fold has its class.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.linear_model import LogisticRegression
    >>> from rrm_sklearn import RRMClassifier
    >>> x, y = load_digits(return_X_y=True)
    >>> x = x / 16
    >>> rng = np.random.default_rng(0)
    >>> is_wrong = rng.random(len(y)) < 0.2
    >>> given = np.where(is_wrong, rng.integers(0, 10, len(y)), y)
    >>> model = RRMClassifier(LogisticRegression(max_iter=1000)).fit(x, given)
    >>> float((given != y).mean().round(2)), round(model.estimate_.contamination, 2)
    (0.18, 0.18)
    >>> is_issue = model.label_issues_["is_label_issue"]
    >>> bool((given != y)[is_issue].mean() > 0.9)
    True
    """

    def __init__(
        self,
        estimator: Any,
        contamination: float | Auto = "auto",
        *,
        rounds: int = 3,
        cv: Any = 3,
        mu: float = 1.0,
        redistribute: Redistribute = "kept",
        ties: Ties = "keep",
        cap: float | None = None,
        rank_by: RankBy = "noise-aware",
        random_state: Any = 0,
        n_jobs: int | None = None,
    ) -> None:
        self.estimator = estimator
        self.contamination = contamination
        self.rounds = rounds
        self.cv = cv
        self.mu = mu
        self.redistribute = redistribute
        self.ties = ties
        self.cap = cap
        self.rank_by = rank_by
        self.random_state = random_state
        self.n_jobs = n_jobs

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> RRMClassifier:
        """Fit the estimator.

        Parameters
        ----------
        X : array, sparse matrix or data frame of shape (n, n_features)
            What the estimator takes.
        y : array of shape (n,)
            The given labels: integers, strings, or others that can be sorted.
        sample_weight : array of float, shape (n,), optional
            Finite and at least 0. They multiply the weights of RRM. A sample of weight 0 is not judged.

        Returns
        -------
        RRMClassifier
            This object.

        Raises
        ------
        TypeError, ValueError
            A setting, `y` or `sample_weight` is invalid; the estimator is a regressor, takes no sample weights, or
            predicts no probabilities; or `cv` doesn't test each sample once. Errors of the estimator are its own, with
            a note on the round and the fold.

        Warns
        -----
        UserWarning
            Samples aren't judged because no other fold has their class; ties keep samples that were to be pruned; or
            the models of ``contamination="auto"`` have learnt nothing.
        """
        if self.rank_by not in get_args(RankBy):
            raise ValueError(f"rank_by must be 'noise-aware' or 'loss', got {self.rank_by!r}")
        settings = make_settings(self.contamination, self.rounds, self.mu, self.redistribute, self.ties, self.cap)
        X, y = self._read_samples(X, y)
        check_classification_targets(y)
        classes, codes = np.unique(y, return_inverse=True)
        if len(classes) < 2:
            raise ValueError(f"y must have at least 2 classes, got 1 class: {classes[0]!r}")
        given_weights = as_weights(sample_weight, len(codes))
        fits = ClassifierFit(self.estimator, X, codes, len(classes), self.n_jobs)
        folds = make_folds(self.cv, X, codes, given_weights > 0, self.random_state, is_classifier=True)
        is_judged = find_judged(folds, codes, given_weights > 0)
        _warn_of_unjudged(is_judged, given_weights > 0, codes, classes)
        self._begin()
        self.classes_ = classes
        for rounds in iterate_rounds(
            settings,
            lambda weights, number: fits.predict_out_of_fold(folds, weights * given_weights, number),
            lambda probabilities, estimate: _compute_losses(self.rank_by, codes, probabilities, estimate),
            is_judged,
            codes,
        ):
            weights = rounds.weights * given_weights
            self.out_of_fold_proba_ = rounds.predictions
            self.estimate_ = rounds.estimate
            self._keep(rounds, weights, make_class_issues(rounds, codes, classes))
        self.estimator_ = fits.fit_all(weights)
        return self

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Return the predicted labels.

        Parameters
        ----------
        X : array of shape (n, n_features)

        Returns
        -------
        array of shape (n,)
        """
        codes = self._predict(X).astype(np.intp)
        labels: npt.NDArray[Any] = self.classes_[codes]
        return labels

    @available_if(_estimator_has("predict_proba"))  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any) -> npt.NDArray[Any]:
        """Return the probability of each class.

        Parameters
        ----------
        X : array of shape (n, n_features)

        Returns
        -------
        array of shape (n, n_classes)
            Columns in the order of `classes_`.
        """
        return self._model().predict_proba(X)  # type: ignore[no-any-return]

    @available_if(_estimator_has("predict_log_proba"))  # type: ignore[untyped-decorator]
    def predict_log_proba(self, X: Any) -> npt.NDArray[Any]:
        """Return the logarithm of the probability of each class.

        Parameters
        ----------
        X : array of shape (n, n_features)

        Returns
        -------
        array of shape (n, n_classes)
            Columns in the order of `classes_`.
        """
        return self._model().predict_log_proba(X)  # type: ignore[no-any-return]

    @available_if(_estimator_has("decision_function"))  # type: ignore[untyped-decorator]
    def decision_function(self, X: Any) -> npt.NDArray[Any]:
        """Return the decision function of the estimator.

        Parameters
        ----------
        X : array of shape (n, n_features)

        Returns
        -------
        array of shape (n,) with two classes, otherwise (n, n_classes)
        """
        return self._model().decision_function(X)  # type: ignore[no-any-return]


def _compute_losses(
    rank_by: RankBy, codes: Integers, probabilities: Floats, estimate: rrm_core.ContaminationEstimate | None
) -> Floats:
    """Return what ranks the samples; the loss if the models of the estimate had learnt nothing."""
    if rank_by == "loss" or estimate is None or estimate.interval is None:
        return log_loss(codes, probabilities)
    return noise_aware_loss(codes, probabilities, transition_matrix(estimate, probabilities.shape[1]))


def _warn_of_unjudged(is_judged: Mask, is_trained: Mask, codes: Integers, classes: npt.NDArray[Any]) -> None:
    """Warn of samples that can't be judged because the training part of their fold lacks their class."""
    unjudged = is_trained & ~is_judged
    if unjudged.any():
        names = ", ".join(repr(name) for name in classes[np.unique(codes[unjudged])].tolist())
        count = int(unjudged.sum())
        samples = "1 sample is not judged and keeps its weight"
        if count > 1:
            samples = f"{count:,} samples are not judged and keep their weight"
        warnings.warn(
            f"{samples}, because no model that was trained on other folds knows {names}; give such classes at least 2 "
            "samples, in different folds",
            UserWarning,
            stacklevel=3,
        )
