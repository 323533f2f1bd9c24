"""RunResults: what a run has found so far, for its user."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

import rrm_core
from rrm_review import make_issues

from .run import RunState
from .settings import Floats, Integers, Settings


class RunResults:
    """The weights of a run, and what they say of the labels. `RRMCallback` sets its state."""

    _settings: Settings
    _state: RunState

    @property
    def weights(self) -> Floats:
        """The current weights: float32, shape (n,)."""
        return self._state.weights

    @property
    def losses(self) -> Floats:
        """The losses behind the last reweight: float32, shape (n,), NaN before."""
        return self._state.losses

    @property
    def plan(self) -> rrm_core.Plan | rrm_core.GroupedPlan | None:
        """Threshold and counts of the last reweight."""
        return self._state.plan

    @property
    def estimate(self) -> rrm_core.ContaminationEstimate | None:
        """The estimate made at the end of a warm-up that holds out samples."""
        return self._state.estimate

    @property
    def epoch(self) -> int:
        """Epochs that have ended."""
        return self._state.epoch

    def flagged(self) -> Integers:
        """Return the samples that the last reweight pruned, the most suspicious first: int64, shape (n_pruned,)."""
        excess = self._mean_excess()
        order = np.argsort(np.where(np.isnan(excess), np.inf, -excess), kind="stable")
        return order[self._state.is_pruned[order]]

    def issues(
        self,
        labels: npt.ArrayLike | None = None,
        ids: npt.ArrayLike | None = None,
        predictions: npt.ArrayLike | None = None,
        order: Literal["suspicion", "index"] = "suspicion",
    ) -> dict[str, npt.NDArray[Any]]:
        """Return the table of label issues, one row per sample.

        Parameters
        ----------
        labels : array of integers or strings, shape (n,), optional
            The given labels.
        ids : array of integers or strings, shape (n,), optional
            What identifies the samples, such as file names.
        predictions : array, shape (n,) or (n, n_classes), optional
            The predicted labels, or one number per class, such as ``model.predict(x)``.
        order : {"suspicion", "index"}, default "suspicion"
            The most suspicious sample first, or the order of the samples.

        Returns
        -------
        dict of str to array, shape (n,)
            See `rrm_review.make_issues`; `rrm_review.to_csv` writes it to a file.
        """
        state = self._state
        with np.errstate(invalid="ignore"):
            share_pruned = state.n_pruned / np.where(state.n_planned, state.n_planned, np.nan)
        return make_issues(
            is_label_issue=state.is_pruned,
            share_pruned=share_pruned,
            mean_excess=self._mean_excess(),
            sample_weight=state.weights,
            loss=state.losses,
            labels=labels,
            predictions=predictions,
            ids=ids,
            groups=None if self._settings.groups is None else self._settings.groups.numbers,
            order=order,
        )

    def _mean_excess(self) -> Floats:
        state = self._state
        mean: Floats = state.excess_sum / np.where(state.n_planned, state.n_planned, np.nan)
        return mean
