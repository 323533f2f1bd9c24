"""Texts that labelling rules voted on (WRENCH, Zhang et al. 2021): the vote itself, and training on its labels."""

from __future__ import annotations

from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rrm_core._arguments import MAX_CONTAMINATION
from rrm_torch.methods import TrainingSet

from ..data.rule_votes import ABSTAIN, Votes, group_by_rule, majority_vote
from ..data.text_features import TextData, tfidf_features
from ..data.wrench import VotedData, VotedSamples, read_wrench
from ..runner.jobs import Experiment, Job, OnEpoch
from .recipe import Settings, data_folder, quick_jobs, seeded_jobs, with_rrm
from .recipe_data import TEST, VALIDATION, CheckedLabels, RecipeData
from .run import train
from .stand_ins.text_sets import write_wrench

NAME = "wrench"
DATA = ("wrench",)

DATA_SETS = ("youtube", "sms", "imdb", "yelp", "agnews", "trec")
"""Names of folders in the folder wrench."""

VOTE = "majority vote"

# Zhang et al. 2021 train on features of RoBERTa or on counts of words. Chosen: as for IMDb.
CE: Settings = {
    "network": "perceptron",
    "system": None,
    "optimizer": "adam",
    "lr": 1e-3,
    "weight_decay": 0.0,
    "milestones": [],
    "epochs": 40,
    "autocast": False,
    "options": {"batch_size": 100},
}
# A group is the texts on which one rule alone fired; those on which several did are one more. Its share of wrong labels
# is estimated; or that of the validation texts in it, whose true labels stand for labels that a person has checked.
VARIANTS: dict[str, Settings] = {
    "RRM, auto": {"contamination": "auto"},
    "RRM, rules, auto": {"contamination": "auto", "by_source": True},
    "RRM, rules, checked": {"contamination": "group", "by_source": True, "warmup": 2},
}


def methods() -> dict[str, dict[str, Any]]:
    """Return the vote, plain training and RRM on each data set."""
    table: dict[str, dict[str, Any]] = {}
    for name in DATA_SETS:
        settings = CE | {"data": name}
        table[f"{name}: {VOTE}"] = settings | {"system": VOTE, "rrm": None}
        table |= with_rrm(f"{name}: CE", settings, VARIANTS)
    return table


QUICK: Settings = {}


def load(data: Path, settings: Settings, _seed: int) -> RecipeData:
    """Return the training samples with a majority, labelled by it, and the true labels of the other parts."""
    return _load(data / DATA[0] / settings["data"])


@lru_cache(maxsize=1)
def _load(folder: Path) -> RecipeData:
    voted = read_wrench(folder)
    n_classes = len(voted.classes)
    labels = majority_vote(voted.train.votes, n_classes)
    used = np.flatnonzero(labels != ABSTAIN)
    x_train, x_val, x_test = _features(voted, labels, used)
    votes = voted.train.votes[used]
    groups, _ = group_by_rule(votes)
    return RecipeData(
        train=TrainingSet(x_train, torch.from_numpy(labels[used]), n_classes),
        tests={
            VALIDATION: TrainingSet(x_val, torch.from_numpy(voted.valid.labels), n_classes),
            TEST: TrainingSet(x_test, torch.from_numpy(voted.test.labels), n_classes),
        },
        checked=CheckedLabels.of_all(labels[used] != voted.train.labels[used]),
        groups=groups,
        group_shares=checked_shares(votes, voted.valid, n_classes),
    )


def _features(
    voted: VotedData, labels: npt.NDArray[np.int64], used: npt.NDArray[np.int64]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the features of the training samples that are used, of the validation and of the test samples."""
    train = voted.train
    valid = voted.valid
    test = voted.test
    if train.texts is None or valid.texts is None or test.texts is None:
        assert train.features is not None
        assert valid.features is not None
        assert test.features is not None
        mean = train.features[used].mean(axis=0)
        std = train.features[used].std(axis=0) + 1e-6
        x_train, x_val, x_test = (
            torch.from_numpy((part - mean) / std) for part in (train.features[used], valid.features, test.features)
        )
        return x_train, x_val, x_test
    texts = TextData(
        [train.texts[i] for i in used],
        labels[used],
        valid.texts + test.texts,
        np.concatenate([valid.labels, test.labels]),
    )
    features = tfidf_features(texts)
    n_valid = len(valid.texts)
    return features.x_train, features.x_test[:n_valid], features.x_test[n_valid:]


def checked_shares(votes: Votes, valid: VotedSamples, n_classes: int) -> npt.NDArray[np.float64]:
    """Return the share of wrong labels in each group of the training samples, as the validation samples show it.

    Parameters
    ----------
    votes : int8 array of shape (n, n_rules)
        Of the training samples; `group_by_rule` makes groups of them.
    valid : VotedSamples
    n_classes : int

    Returns
    -------
    float64 array of shape (n_groups,)
        A group without a validation sample has the share of all of them.
    """
    _, rules = group_by_rule(votes)
    labels = majority_vote(valid.votes, n_classes)
    is_used = labels != ABSTAIN
    if not is_used.any():
        raise ValueError("rules must vote on some validation samples, got no vote; use other shares")
    wrong = labels[is_used] != valid.labels[is_used]
    groups, valid_rules = group_by_rule(valid.votes[is_used])
    by_rule = {int(rule): float(wrong[groups == number].mean()) for number, rule in enumerate(valid_rules)}
    shares = np.array([by_rule.get(int(rule), float(wrong.mean())) for rule in rules])
    capped: npt.NDArray[np.float64] = np.minimum(shares, MAX_CONTAMINATION)
    return capped


def vote_accuracy(data: Path, name: str) -> dict[str, Any]:
    """Return how well the majority predicts the test samples.

    Returns
    -------
    dict
        ``coverage``, the share of the test samples with a majority; ``decided_accuracy`` of these; ``accuracy`` of all,
        where the others are predicted as the most frequent class of the training samples' majorities.
    """
    voted = read_wrench(data / DATA[0] / name)
    n_classes = len(voted.classes)
    train_labels = majority_vote(voted.train.votes, n_classes)
    most_frequent = np.bincount(train_labels[train_labels != ABSTAIN], minlength=n_classes).argmax()
    labels = majority_vote(voted.test.votes, n_classes)
    is_decided = labels != ABSTAIN
    decided_accuracy = None
    if is_decided.any():
        decided_accuracy = float((labels == voted.test.labels)[is_decided].mean())
    predicted = np.where(is_decided, labels, most_frequent)
    return {
        "accuracy": float((predicted == voted.test.labels).mean()),
        "coverage": float(is_decided.mean()),
        "decided_accuracy": decided_accuracy,
    }


def execute(job: Job, data: Path, checkpoint: Path, on_epoch: OnEpoch) -> dict[str, Any]:
    """Execute a job, see `Experiment`; the vote needs no training."""
    settings: Settings = dict(job.settings)
    with data_folder(data, settings, partial(write_wrench, DATA_SETS)) as folder:
        if settings["system"] == VOTE:
            return vote_accuracy(folder, settings["data"])
        return train(load(folder, settings, job.seed), settings, job.seed, checkpoint, on_epoch)


EXPERIMENT = Experiment(
    NAME,
    DATA,
    partial(seeded_jobs, methods()),
    execute,
    packages=("scikit-learn",),
    quick=partial(quick_jobs, methods(), QUICK),
)
