"""Labels of test sets that annotators were asked to check (Northcutt, Athalye and Mueller 2021)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ACCEPTING = ("given", "both")
"""Answers by which an annotator accepts the given label; ``"both"`` accepts another one as well."""


@dataclass(frozen=True)
class CheckedLabel:
    """A label that annotators checked.

    Attributes
    ----------
    key : int or str
        What identifies the sample in its data set.
    given : int or str
        The given label, as the file has it.
    is_wrong : bool
        Whether most of the annotators rejected it.
    """

    key: int | str
    given: int | str
    is_wrong: bool


def is_rejected(votes: Mapping[str, int]) -> bool:
    """Return whether most of the annotators rejected the given label.

    Parameters
    ----------
    votes : mapping of str to int
        Number of annotators by their answer: ``"given"`` for the given label, ``"guessed"`` for the one that a model
        predicted, ``"both"``, or another word for neither.
    """
    n_accepting = sum(votes.get(answer, 0) for answer in ACCEPTING)
    return 2 * n_accepting < sum(votes.values())


def read_checked_labels(path: Path) -> list[CheckedLabel]:
    """Read the labels that annotators checked.

    Parameters
    ----------
    path : Path
        A JSON list of objects with the keys id, given_original_label and mturk (the votes).

    Returns
    -------
    list of CheckedLabel

    Raises
    ------
    ValueError
        The file isn't of this form.
    """
    try:
        return [
            CheckedLabel(entry["id"], entry["given_original_label"], is_rejected(entry["mturk"]))
            for entry in json.loads(path.read_text(encoding="utf-8"))
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} can't be read as a list of checked labels: {type(error).__name__} {error}; it is a file "
            "*_mturk.json of the project label-errors"
        ) from error
