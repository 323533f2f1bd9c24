"""Text messages with labels of rules, grouped by how many rules fired."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .data.rule_votes import group_by_count
from .data.sms_rules import RuleLabelledTexts, read_sms_rules
from .data.text_features import TextData, tfidf_features
from .grouped_tasks import GroupedTask
from .noisy_tasks import perceptron_task

FILE = "sms_rules.tsv.xz"


@lru_cache(maxsize=1)
def load_sms(path: Path) -> GroupedTask:
    """Return the training messages on which a rule fired, with the labels of the rules; computed once per process.

    The test messages have their true labels. The groups are those of `group_by_count`. The checked shares are those of
    the validation messages, whose true labels stand for labels that a person has checked.

    Parameters
    ----------
    path : Path
        The file, see `read_sms_rules`.
    """
    parts = read_sms_rules(path)
    train = parts["train"].labelled()
    test = parts["test"]
    features = tfidf_features(TextData(train.texts, train.rule_labels, test.texts, test.labels))
    task = perceptron_task(features.x_train, features.y_train, features.x_test, features.y_test)
    groups = group_by_count(train.n_fired)
    n_groups = int(groups.max()) + 1
    return GroupedTask(
        task=replace(task, wrong=train.rule_labels != train.labels),
        groups=groups,
        true_shares=_wrong_shares(train, n_groups),
        checked_shares=_wrong_shares(parts["valid"].labelled(), n_groups),
    )


def _wrong_shares(part: RuleLabelledTexts, n_groups: int) -> npt.NDArray[np.float64]:
    """Return the share of wrong labels in each group; 0 in a group without a message, of which nothing is known."""
    groups = group_by_count(part.n_fired)
    n_wrong = np.bincount(groups[part.rule_labels != part.labels], minlength=n_groups)
    return n_wrong / np.maximum(np.bincount(groups, minlength=n_groups), 1)
