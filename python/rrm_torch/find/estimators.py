"""Inputs and classifiers for texts, tables and features, as scikit-learn takes them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

MAX_FEATURES = 1 << 17
"""Of the words, and as many of the parts of words."""

MAX_COEFFICIENTS = 1 << 26
MAX_CATEGORIES = 254
"""The limit of scikit-learn's gradient boosting, less one for the rest."""

REST = "(all others)"


class Estimator(NamedTuple):
    """A classifier and what it is fitted to.

    Attributes
    ----------
    classifier : estimator
        With ``predict_proba`` and sample weights.
    inputs : array, sparse matrix or DataFrame of n rows
    description : str
        In words.
    """

    classifier: Any
    inputs: Any
    description: str


def make_text_estimator(texts: list[str], n_classes: int, seed: int) -> Estimator:
    """Return a logistic regression on hashed words, pairs of words and parts of words, weighted by TF-IDF.

    Parameters
    ----------
    texts : list of str
    n_classes : int
        With many classes fewer features are used, so that the coefficients take 512 MiB at most.
    seed : int
    """
    from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
    from sklearn.linear_model import SGDClassifier
    from sklearn.pipeline import make_pipeline, make_union

    n_features = MAX_FEATURES
    while 2 * n_features * n_classes > MAX_COEFFICIENTS and n_features > 1 << 12:
        n_features //= 2
    words = HashingVectorizer(ngram_range=(1, 2), n_features=n_features, alternate_sign=False, norm=None)
    parts = HashingVectorizer(
        analyzer="char_wb", ngram_range=(2, 4), n_features=n_features, alternate_sign=False, norm=None
    )
    vectorizer = make_union(
        make_pipeline(words, TfidfTransformer(sublinear_tf=True)),
        make_pipeline(parts, TfidfTransformer(sublinear_tf=True)),
    )
    # A fixed number of passes, because wrong labels keep the loss from converging.
    classifier = SGDClassifier(loss="log_loss", alpha=1e-5, max_iter=20, tol=None, random_state=seed, n_jobs=-1)
    return Estimator(
        classifier, vectorizer.fit_transform(texts), "logistic regression on hashed words and parts of words"
    )


def make_table_estimator(frame: Any, n_classes: int, seed: int) -> Estimator:
    """Return gradient boosting on the columns of a table.

    Parameters
    ----------
    frame : pandas.DataFrame
        Of float64 and category columns. Of a column with more than 254 categories, the rarest become one.
    n_classes : int
        With many classes there are fewer iterations, each of which has a tree per class.
    seed : int
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    classifier = HistGradientBoostingClassifier(
        max_iter=int(np.clip(500 // n_classes, 20, 100)),
        categorical_features="from_dtype",
        random_state=seed,
    )
    return Estimator(classifier, _merge_rare_categories(frame), "gradient boosting")


def _merge_rare_categories(frame: Any) -> Any:
    merged = frame.copy()
    for name in frame.columns:
        column = frame[name]
        if column.dtype == "category" and len(column.cat.categories) > MAX_CATEGORIES:
            frequent = column.value_counts().index[:MAX_CATEGORIES]
            texts = column.astype(object)
            merged[name] = texts.where(column.isna() | column.isin(frequent), REST).astype("category")
    return merged


def make_feature_estimator(features: Any, seed: int) -> Estimator:
    """Return a logistic regression on standardised features.

    Parameters
    ----------
    features : float32 array of shape (n, d)
    seed : int
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    classifier = LogisticRegression(C=0.1, max_iter=200, tol=1e-3, random_state=seed)
    return Estimator(classifier, StandardScaler().fit_transform(features), "logistic regression on the features")
