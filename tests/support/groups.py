"""Losses with groups: layouts, rules, and an implementation of the definition, sample by sample."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np

from rrm_core import Rule

# Number of samples, and the groups among which they are distributed. Some groups are empty, and some tiny.
LAYOUTS = {
    "one": (300, 1),
    "two": (301, 2),
    "ten": (1_000, 10),
    "thousand": (6_000, 1_000),
    "one per sample": (257, 257),
    "some empty": (400, 40),
    "in order": (500, 7),
    "one large": (9_000, 5),
}


def group_numbers(layout: str) -> np.ndarray:
    """Return the group of each sample, the same in every call."""
    n, n_groups = LAYOUTS[layout]
    rng = np.random.default_rng([n, n_groups])
    if layout == "one per sample":
        return rng.permutation(n)
    if layout == "some empty":
        return 3 * rng.integers(0, n_groups // 3, n)
    if layout == "in order":
        return np.sort(rng.integers(0, n_groups, n))
    if layout == "one large":
        return np.where(rng.random(n) < 0.9, 2, rng.integers(0, n_groups, n))
    return rng.integers(0, n_groups, n)


def rules(n_groups: int, nan: str = "raise") -> list[Rule]:
    """Return rules of all kinds for this number of groups."""
    rng = np.random.default_rng(n_groups)
    shares = rng.choice([0.0, 0.1, 0.29, 0.5, 0.9], n_groups)
    caps = rng.choice([0.0, 0.2, 0.5], n_groups)
    made = []
    for redistribute in ("argmin", "kept", "drop", 0.3):
        for mass in ("all", "group"):
            common: dict[str, Any] = {"redistribute": redistribute, "mass": mass, "nan": nan}
            made += [
                Rule(contamination=shares, **common),
                Rule(contamination=shares, ties="share", **common),
                Rule(contamination=0.3, cap=caps, **common),
                Rule(contamination=0.3, cap=0.4, **common),
                Rule(gamma=0.75, **common),
                Rule(contamination=0.3, **common),
                Rule(contamination=0.3, ties="share", **common),
            ]
    return made


def quota(share: float, n: int) -> int:
    """Return floor(share * n) for the decimal fraction as which the share is written; fewer than n."""
    return min(math.floor(Fraction(repr(share)) * n), n - 1)


class ByHand:
    """Thresholds and target weights by the definition, for losses without NaN as Python floats.

    Parameters
    ----------
    losses : list of float
        Numbers of the losses' type.
    groups : list of int
    rule : Rule
    round_down : callable
        Rounds a threshold down to a number of the losses' type.
    """

    def __init__(self, losses: list[float], groups: list[int], rule: Rule, round_down: Any) -> None:
        self.losses = losses
        self.groups = groups
        self.rule = rule
        self.members = {k: sorted(c for c, g in zip(losses, groups, strict=True) if g == k) for k in set(groups)}
        ordered = sorted(losses)
        n = len(losses)
        self.minimum = ordered[0]
        of_all = None
        if isinstance(rule.contamination, float):
            of_all = ordered[n - quota(rule.contamination, n) - 1]
        self.thresholds = {k: self._threshold(k, of_all, round_down) for k in self.members}
        self.recipients = {k: self._recipient_threshold(k, ordered) for k in self.members}

    def _threshold(self, k: int, of_all: float | None, round_down: Any) -> float:
        rule = self.rule
        own = self.members[k]
        if rule.gamma is not None:
            return round_down((own[0] if rule.mass == "group" else self.minimum) + rule.gamma)
        shares = rule.contamination if rule.cap is None else rule.cap
        if rule.cap is None and isinstance(shares, float):
            return of_all
        share = shares[k] if isinstance(shares, tuple) else shares
        limit = own[len(own) - quota(share, len(own)) - 1]
        return limit if of_all is None else max(of_all, limit)

    def _recipient_threshold(self, k: int, ordered: list[float]) -> float:
        rule = self.rule
        if rule.redistribute == "drop":
            return -math.inf
        if rule.redistribute == "kept":
            return self.thresholds[k]
        of = self.members[k] if rule.mass == "group" else ordered
        rank = 1
        if rule.redistribute != "argmin":
            rank = max(math.ceil(Fraction(repr(rule.redistribute)) * len(of)), 1)
        return min(of[rank - 1], self.thresholds[k])

    def removed(self) -> dict[int, Fraction]:
        """Return the mass that each group loses, in samples."""
        n_pruned = {k: sum(c > self.thresholds[k] for c in own) for k, own in self.members.items()}
        n_tied = {k: own.count(self.thresholds[k]) for k, own in self.members.items()}
        if self.rule.ties == "keep":
            return {k: Fraction(count) for k, count in n_pruned.items()}
        if isinstance(self.rule.contamination, tuple):
            shares = self.rule.contamination
            return {k: Fraction(max(quota(shares[k], len(own)), n_pruned[k])) for k, own in self.members.items()}
        total = max(quota(self.rule.contamination, len(self.losses)), sum(n_pruned.values()))
        shared = Fraction(total - sum(n_pruned.values()), sum(n_tied.values()))
        return {k: n_pruned[k] + shared * n_tied[k] for k in self.members}

    def targets(self) -> list[float]:
        """Return the target weight of each sample, rounded once."""
        removed = self.removed()
        n_recipients = {k: sum(c <= self.recipients[k] for c in own) for k, own in self.members.items()}
        result = []
        for c, k in zip(self.losses, self.groups, strict=True):
            own = self.members[k]
            t = self.thresholds[k]
            n_pruned = sum(x > t for x in own)
            size, mass, receiving = len(own), removed[k], n_recipients[k]
            if self.rule.mass == "all":
                size, mass, receiving = len(self.losses), sum(removed.values()), sum(n_recipients.values())
            weight = Fraction(int(c <= t))
            if c == t:
                weight = 1 - (removed[k] - n_pruned) / own.count(t)
            if self.rule.redistribute == "kept":
                weight *= Fraction(size, 1) / (size - mass)
            elif c <= self.recipients[k]:
                weight += mass / receiving
            result.append(float(weight))
        return result
