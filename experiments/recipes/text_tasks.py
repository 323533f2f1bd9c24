"""Training and test sets of texts, as TF-IDF features."""

from __future__ import annotations

from rrm_torch.methods import TrainingSet

from ..data.text_features import TextData, tfidf_features
from .recipe_data import TEST, RecipeData


def text_data(texts: TextData, n_classes: int) -> RecipeData:
    """Return labelled texts as features, see `experiments.data.text_features`, with the labels as they are."""
    features = tfidf_features(texts)
    return RecipeData(
        train=TrainingSet(features.x_train, features.y_train, n_classes),
        tests={TEST: TrainingSet(features.x_test, features.y_test, n_classes)},
    )
