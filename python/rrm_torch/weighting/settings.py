"""Settings of `RRM` and `BatchRRM`: validated when they are made, constant afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from numbers import Real
from typing import Any, ClassVar, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

import rrm_core
from rrm_core._arguments import as_integer, check_mu

from .._checks import check_count
from . import schedule
from .fingerprint import Ids, fingerprint, hash_ids
from .sample_groups import GroupsLike, prepare_groups
from .sample_scores import DEFAULT_CAP, RankBy
from .schedule import Schedule, ShareSchedule

Unit: TypeAlias = Literal["epoch", "step"]
Scale: TypeAlias = Literal["mean", "paper"]
LossesFrom: TypeAlias = Literal["training", "pass"]
Unseen: TypeAlias = Literal["raise", "latest"]
Redistribute: TypeAlias = Literal["kept", "argmin", "drop"] | float
Mass: TypeAlias = Literal["all", "group"]
Auto: TypeAlias = Literal["auto"]

AUTO: Auto = "auto"

MIN_SAMPLES = 100
"""Fewest samples of which the share of wrong labels is estimated, and the end of a warm-up found."""


@dataclass(frozen=True, kw_only=True)
class BatchSettings:
    """Settings of `BatchRRM`, and those that `RRM` has as well; see there.

    Numbers are stored as Python's, whatever type they were given as.

    Attributes
    ----------
    n : int
    contamination, gamma : float, function of the epoch, or None
        Exactly one of them is not None.
    warmup : int
    redistribute : {"kept", "argmin", "drop"} or float
    ties : {"keep", "share"}
    nan : {"raise", "prune"}
    scale : {"mean", "paper"}
    weight_limit : float
    ids : str or None
        A hash of what identifies the samples, see `fingerprint`; made of the argument of this name.

    Raises
    ------
    TypeError, ValueError
        A setting has the wrong type or value. Of a schedule, the values that are known in advance are checked: the
        first one, and where a `Ramp` ends.
    """

    n: int
    contamination: npt.ArrayLike | ShareSchedule | Auto | None = None
    gamma: float | Schedule | None = None
    warmup: int | Auto = 10
    redistribute: Redistribute = "kept"
    ties: Literal["keep", "share"] = "keep"
    nan: Literal["raise", "prune"] = "raise"
    scale: Scale = "mean"
    weight_limit: float = 100.0
    ids: Ids | None = None

    # What a saved state must agree in, apart from n and ids: settings that may be a schedule or an array, and others.
    SCHEDULES: ClassVar[tuple[str, ...]] = ("contamination", "gamma")
    PLAIN: ClassVar[tuple[str, ...]] = ("redistribute", "ties", "nan", "warmup", "scale")

    def __post_init__(self) -> None:
        self._set("n", check_count("n", self.n))
        self._check_warmup()
        check_choice("scale", self.scale, Scale)
        self._check_rule()
        limit: object = self.weight_limit
        if not isinstance(limit, Real):
            raise TypeError(f"weight_limit must be a number, got {limit!r}")
        if not self.weight_limit >= 1:
            raise ValueError(
                f"weight_limit must be at least 1, the initial weight of every sample, got {self.weight_limit}"
            )
        self._set("weight_limit", float(self.weight_limit))
        self._set("ids", hash_ids(self.ids, self.n))

    def rule(self, epoch: int, contamination: npt.ArrayLike | None = None) -> rrm_core.Rule:
        """Return the rule of the reweight after `epoch`; a contamination replaces that of the settings, or gamma."""
        if contamination is not None:
            return self._make_rule(contamination=contamination)
        return self._make_rule(
            contamination=None if self.contamination is None else schedule.value(self.contamination, epoch),
            gamma=None if self.gamma is None else schedule.value(self.gamma, epoch),
        )

    def describe(self) -> dict[str, Any]:
        """Return numbers and strings that distinguish these settings from others, for the state.

        Raises
        ------
        TypeError
            A schedule can't be told from another one, see `schedule.describe`.
        """
        described: dict[str, Any] = {"n": self.n}
        for name in self.SCHEDULES:
            number = getattr(self, name)
            described[name] = None if number is None else schedule.describe(number)
        for name in self.PLAIN:
            described[name] = getattr(self, name)
        described["ids"] = self.ids
        return described

    @property
    def first_epoch(self) -> int:
        """The earliest epoch or step that a reweight may follow, where functions of the epoch are checked."""
        assert isinstance(self.warmup, int)
        return self.warmup

    def _check_warmup(self) -> None:
        self._set("warmup", check_count("warmup", self.warmup))

    def _check_rule(self) -> None:
        """Check the rule of the first reweight, and what is known of later ones."""
        first = self.rule(self.first_epoch)
        if not callable(self.contamination):
            self._set("contamination", first.contamination)
        if not callable(self.gamma):
            self._set("gamma", first.gamma)
        self._set("redistribute", first.redistribute)
        if self.gamma is not None:
            for gamma in schedule.known(self.gamma, self.first_epoch):
                self._make_rule(gamma=gamma)
        if self.contamination is not None:
            for contamination in schedule.known(self.contamination, self.first_epoch):
                self._make_rule(contamination=contamination)

    def _make_rule(self, **threshold: Any) -> rrm_core.Rule:
        """Return the rule with a contamination or gamma."""
        rule = rrm_core.Rule(**threshold, redistribute=self.redistribute, ties=self.ties, nan=self.nan)
        rule.check_without_groups()
        return rule

    def _set(self, name: str, value: object) -> None:
        """Store a validated value: the dataclass is frozen for everyone else."""
        object.__setattr__(self, name, value)


@dataclass(frozen=True, kw_only=True)
class Settings(BatchSettings):
    """Settings of `RRM`; see there.

    `contamination` and `gamma` may both be None: each reweight is then given a contamination. `contamination` and
    `warmup` may be ``"auto"``.

    Attributes
    ----------
    mu : float or function of the epoch
    every : int
    unit : {"epoch", "step"}
    losses_from : {"training", "pass"}
    unseen : {"raise", "latest"}
    groups : Groups or None
        Of all samples, on the host.
    cap : float, tuple of float, or None
    mass : {"all", "group"}
    rank_by : {"loss", "noise-aware", "prior-adjusted"}
    seed : int
        Of the choice of the samples that a warm-up holds out.

    Raises
    ------
    TypeError, ValueError
        A setting has the wrong type or value, or the contamination is too small to prune one of the n samples.
    """

    mu: float | Schedule = 1.0
    every: int = 1
    unit: Unit = "epoch"
    losses_from: LossesFrom = "training"
    unseen: Unseen = "raise"
    groups: GroupsLike | None = None
    cap: npt.ArrayLike | None = None
    mass: Mass = "all"
    rank_by: RankBy = "loss"
    seed: int = 0

    SCHEDULES: ClassVar[tuple[str, ...]] = ("contamination", "gamma", "mu", "cap")
    PLAIN: ClassVar[tuple[str, ...]] = (
        "redistribute",
        "ties",
        "nan",
        "warmup",
        "every",
        "unit",
        "unseen",
        "scale",
        "mass",
        "rank_by",
        "seed",
    )

    def __post_init__(self) -> None:
        self._set("every", check_count("every", self.every))
        check_choice("unit", self.unit, Unit)
        check_choice("losses_from", self.losses_from, LossesFrom)
        check_choice("unseen", self.unseen, Unseen)
        check_choice("rank_by", self.rank_by, RankBy)
        self._check_scores()
        self._set("seed", as_integer("seed", self.seed, 0, "a whole number, at least 0"))
        super().__post_init__()
        self._check_quota()
        steps = [check_mu(mu) for mu in schedule.known(self.mu, self.first_epoch)]
        if not callable(self.mu):
            self._set("mu", steps[0])

    def is_due(self, epoch: int, warmup_end: int | None = None) -> bool:
        """Return whether a reweight follows `epoch`, or the step where steps are counted.

        `warmup_end` is the last epoch or step of a warm-up that ends by itself; None if it hasn't ended.
        """
        warmup = self.warmup
        if not isinstance(warmup, int):
            if warmup_end is None:
                return False
            warmup = warmup_end
        return schedule.due(epoch, warmup=warmup, every=self.every)

    @property
    def is_estimated(self) -> bool:
        """Whether the contamination is estimated."""
        return isinstance(self.contamination, str)

    @property
    def needs_predictions(self) -> bool:
        """Whether the warm-up records predictions, and holds out samples: for an estimate, or its own end."""
        return self.is_estimated or not isinstance(self.warmup, int) or self.rank_by == "noise-aware"

    @property
    def reason_for_predictions(self) -> str:
        """The setting that `needs_predictions` follows from, for messages."""
        if self.rank_by != "loss":
            return f"rank_by={self.rank_by!r}"
        return "contamination='auto'" if self.is_estimated else "warmup='auto'"

    @property
    def estimates_by_group(self) -> bool:
        """Whether each group has a contamination of its own that is estimated."""
        return self.is_estimated and self.groups is not None and self.cap is None

    def estimated_contamination(self, estimate: rrm_core.ContaminationEstimate | None) -> npt.ArrayLike | None:
        """Return the contamination of a rule from an estimate; None if it isn't estimated."""
        if not self.is_estimated or estimate is None:
            return None
        return estimate.by_group if self.estimates_by_group else estimate.contamination

    @property
    def first_epoch(self) -> int:  # noqa: D102
        return self.warmup if isinstance(self.warmup, int) else 1

    @property
    def keeps_latest(self) -> bool:
        """Whether a sample's loss counts until its next one, rather than for one epoch."""
        return self.unit == "step" or self.unseen == "latest"

    @property
    def skips_nan(self) -> bool:
        """Whether a sample whose loss is NaN counts as unseen, rather than as an error or as pruned."""
        return self.unseen == "latest" and self.nan == "raise"

    @property
    def sample_groups(self) -> rrm_core.Groups | None:
        """`groups`, which were prepared when the settings were made."""
        assert self.groups is None or isinstance(self.groups, rrm_core.Groups)
        return self.groups

    @cached_property
    def groups_hash(self) -> str | None:
        """The number of groups and a hash of them, for the state; None without groups."""
        if self.sample_groups is None:
            return None
        return f"{self.sample_groups.n_groups} groups, {fingerprint(self.sample_groups.numbers)}"

    def describe(self) -> dict[str, Any]:  # noqa: D102
        return {**super().describe(), "groups": self.groups_hash}

    def rule(self, epoch: int, contamination: npt.ArrayLike | None = None) -> rrm_core.Rule:  # noqa: D102
        if contamination is None and self.is_estimated:
            # The rest of the rule is known, and checked, before the estimate.
            contamination = 0.0
        if contamination is None and not self.has_threshold:
            raise ValueError("RRM was made with neither contamination nor gamma: give step() a contamination")
        return super().rule(epoch, contamination)

    @property
    def has_threshold(self) -> bool:
        """Whether the settings say which samples to prune."""
        return self.contamination is not None or self.gamma is not None

    def mu_at(self, epoch: int) -> float:
        """Return the step from the current weights to the new ones in the reweight after `epoch`."""
        mu: float = schedule.value(self.mu, epoch)
        return mu

    def _check_scores(self) -> None:
        """Check what scores need, and set their default cap."""
        if self.rank_by == "loss":
            return
        if self.groups is None:
            raise ValueError(
                f"rank_by={self.rank_by!r} needs groups: the given classes of all samples, of which a cap keeps some"
            )
        if self.gamma is not None:
            raise ValueError(f"rank_by={self.rank_by!r} needs a contamination, got gamma={self.gamma}")
        if self.losses_from == "pass":
            raise ValueError(f"rank_by={self.rank_by!r} needs losses_from='training', in which the outputs are scored")
        contamination: Any = self.contamination
        if self.cap is None and np.ndim(contamination) == 0:
            self._set("cap", DEFAULT_CAP)

    def _check_warmup(self) -> None:
        if isinstance(self.contamination, str) and self.contamination != AUTO:
            raise ValueError(f"contamination must be 'auto' or a number, got {self.contamination!r}")
        if isinstance(self.warmup, str) and self.warmup != AUTO:
            raise ValueError(f"warmup must be 'auto' or a number of epochs, got {self.warmup!r}")
        if self.warmup != AUTO:
            super()._check_warmup()
        if self.needs_predictions and self.n < MIN_SAMPLES:
            raise ValueError(
                f"n={self.n} samples are too few for {self.reason_for_predictions}, which needs at least "
                f"{MIN_SAMPLES}; give numbers, and rank by the loss"
            )

    def _check_rule(self) -> None:
        if self.groups is not None:
            self._prepare_groups()
        if self.is_estimated and self.gamma is not None:
            raise ValueError(f"give contamination or gamma, not both, got contamination='auto' and gamma={self.gamma}")
        if self.has_threshold and not self.is_estimated:
            super()._check_rule()
        # The rest of the rule, with any contamination, where there is none.
        rule = self.rule(self.first_epoch, None if self.has_threshold else 0.0)
        self._set("redistribute", rule.redistribute)
        self._set("cap", rule.cap)

    def _prepare_groups(self) -> None:
        """Prepare the groups; an array of shares has as many elements as there are groups."""
        first = 0.0
        if self.contamination is not None and not self.is_estimated:
            first = schedule.value(self.contamination, self.first_epoch)
        cap: Any = self.cap
        groups: Any = self.groups
        n_groups = rrm_core.Rule(first, cap=cap).n_groups
        self._set("groups", prepare_groups(groups, self.n, n_groups))

    def _make_rule(self, **threshold: Any) -> rrm_core.Rule:
        cap: Any = self.cap
        rule = rrm_core.Rule(
            **threshold, redistribute=self.redistribute, ties=self.ties, nan=self.nan, cap=cap, mass=self.mass
        )
        if self.sample_groups is None:
            rule.check_without_groups()
        else:
            rule.check_n_groups(self.sample_groups.n_groups)
        return rule

    def _check_quota(self) -> None:
        """Raise a ValueError if a contamination above 0 would prune less than one sample."""
        if self.contamination is None or self.is_estimated:
            return
        known = schedule.known(self.contamination, self.first_epoch)
        rules = [self._make_rule(contamination=share) for share in known]
        if isinstance(rules[0].contamination, tuple):
            self._check_group_quotas(rules[0])
            return
        shares: list[Any] = [rule.contamination for rule in rules]
        if any(shares) and not any(rule.quota(self.n) for rule in rules):
            raise ValueError(
                f"n={self.n} samples are too few for contamination={max(shares):g}: it would prune less than "
                f"one; give at least {1 / self.n:.3g}, or 0 to prune none"
            )

    def _check_group_quotas(self, rule: rrm_core.Rule) -> None:
        """Raise a ValueError if shares above 0 would prune less than one sample of every group."""
        assert isinstance(rule.contamination, tuple)
        assert self.sample_groups is not None
        sizes = self.sample_groups.sizes
        if any(rule.contamination) and not (sizes > rule.group_ranks(sizes)).any():
            raise ValueError(
                f"groups of at most {sizes.max()} samples are too small for contamination of at most "
                f"{max(rule.contamination):g}: it would prune less than one of each; give 0 to prune none"
            )


def check_choice(name: str, value: object, choices: Any) -> None:
    """Raise a ValueError unless `value` is one of the values of a Literal type."""
    if value not in get_args(choices):
        raise ValueError(f"{name} must be one of {', '.join(map(repr, get_args(choices)))}, got {value!r}")
