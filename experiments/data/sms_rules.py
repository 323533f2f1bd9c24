"""Text messages that hand-written rules label as spam or not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .text_columns import read_columns

CLASSES = ("ham", "spam")
SPLITS = ("train", "valid", "test")
COLUMNS = ("split", "label", "rule_label", "n_rules_fired", "text")
NO_LABEL = -1


@dataclass(frozen=True, eq=False)
class RuleLabelledTexts:
    """Texts of a split with their true labels and those of the rules.

    Attributes
    ----------
    texts : list of str
    labels : int64 array of shape (n,)
        True labels: 0 for ham, 1 for spam.
    rule_labels : int64 array of shape (n,)
        Labels of the rules; −1 where no rule fired.
    n_fired : int64 array of shape (n,)
        How many rules fired.
    """

    texts: list[str]
    labels: npt.NDArray[np.int64]
    rule_labels: npt.NDArray[np.int64]
    n_fired: npt.NDArray[np.int64]

    def labelled(self) -> RuleLabelledTexts:
        """Return the texts on which a rule fired."""
        members = np.flatnonzero(self.n_fired > 0)
        return RuleLabelledTexts(
            [self.texts[i] for i in members], self.labels[members], self.rule_labels[members], self.n_fired[members]
        )


def read_sms_rules(path: Path) -> dict[str, RuleLabelledTexts]:
    """Read SMS Spam (Almeida et al. 2011) with the labels of the 73 rules of Awasthi et al. (2020).

    Parameters
    ----------
    path : Path
        Tab-separated text, compressed by xz if the name ends with ``.xz``, with the columns split (train, valid, test),
        label (ham, spam), rule_label (the same, or empty), n_rules_fired and text.

    Returns
    -------
    dict of str to RuleLabelledTexts
        By the split.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        A column or a split is missing, a value is not one of these, or a rule label is empty where a rule fired, or not
        empty where none fired.
    """
    columns = read_columns(path, COLUMNS, delimiter="\t")
    splits = np.array(_numbers(path, "split", columns["split"], SPLITS))
    labels = np.array(_numbers(path, "label", columns["label"], CLASSES))
    # Position 0 is the empty label, of number −1.
    rule_labels = np.array(_numbers(path, "rule_label", columns["rule_label"], ("", *CLASSES))) + NO_LABEL
    n_fired = np.array([_count(path, value) for value in columns["n_rules_fired"]])
    contradictions = np.flatnonzero((rule_labels == NO_LABEL) != (n_fired == 0))
    if len(contradictions):
        row = int(contradictions[0])
        raise ValueError(
            f"rule_label in {path} must be empty exactly where n_rules_fired is 0, got {columns['rule_label'][row]!r} "
            f"for {n_fired[row]} rules"
        )
    parts = {}
    for number, split in enumerate(SPLITS):
        members = np.flatnonzero(splits == number)
        if not len(members):
            raise ValueError(f"{path} must have rows of the splits {', '.join(SPLITS)}, lacks {split}")
        texts = [columns["text"][i] for i in members]
        parts[split] = RuleLabelledTexts(texts, labels[members], rule_labels[members], n_fired[members])
    return parts


def _numbers(path: Path, column: str, values: list[str], names: tuple[str, ...]) -> list[int]:
    """Return the position of each value among the names."""
    unknown = next((value for value in values if value not in names), None)
    if unknown is not None:
        raise ValueError(f"{column} in {path} must be one of {', '.join(map(repr, names))}, got {unknown!r}")
    return [names.index(value) for value in values]


def _count(path: Path, text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"n_rules_fired in {path} must be integers of at least 0, got {text!r}")
    return int(text)
