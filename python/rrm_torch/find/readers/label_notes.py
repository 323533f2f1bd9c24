"""What about the labels a user should know."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

from .labelled_data import join_names

MISSING_TOKENS = frozenset({"na", "n/a", "nan", "null", "none", "?", "-", "<na>"})
"""What often stands for a missing value, in lower case."""

MANY_CLASSES = 20
FEW_SAMPLES = 10
"""Integers of more values than this, with fewer samples of each on average, may be measurements."""


def note_classes(counts: list[int], names: tuple[str, ...]) -> list[str]:
    """Describe classes that lack samples or look alike."""
    notes = []
    without = [name for name, count in zip(names, counts, strict=True) if not count]
    if without:
        notes.append(f"No sample has these classes that the data names: {join_names(without)}.")
    single = [name for name, count in zip(names, counts, strict=True) if count == 1]
    if single:
        notes.append(f"Classes of one sample can't be judged: {join_names(single)}.")
    spellings = defaultdict(list)
    for name in names:
        spellings[name.casefold()].append(repr(name))
    variants = [" and ".join(group) for group in spellings.values() if len(group) > 1]
    if variants:
        notes.append(f"Classes that differ in upper and lower case are separate classes: {join_names(variants)}.")
    tokens = [repr(name) for name, count in zip(names, counts, strict=True) if count and name.lower() in MISSING_TOKENS]
    if tokens:
        notes.append(
            f"These labels are read as classes: {join_names(tokens)}; if they stand for a missing label, leave them "
            "empty."
        )
    return notes


def note_gaps(counts: Counter[Any]) -> list[str]:
    """Name the integers between the labels that no sample has, if they are few: 1000 and 2000 are codes."""
    if not all(isinstance(label, int) for label in counts):
        return []
    low = min(counts)
    high = max(counts)
    if high - low + 1 > 2 * len(counts):
        return []
    gaps = [str(label) for label in range(low, high) if label not in counts]
    if not gaps:
        return []
    return [f"No sample has these labels between the others: {join_names(gaps)}."]


def note_measurements(counts: Counter[Any]) -> list[str]:
    """Doubt that integers are classes if there are many and most have few samples."""
    n = counts.total()
    if len(counts) <= MANY_CLASSES or len(counts) <= n / FEW_SAMPLES:
        return []
    if not all(isinstance(label, int) for label in counts):
        return []
    doubt = f"The labels are {len(counts):,} different integers for {n:,} samples; if they are measurements"
    return [f"{doubt}, this is regression, for which rrm_sklearn.RRMRegressor is made."]
