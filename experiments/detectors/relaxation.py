"""Rockafellian Relaxation as users run it: `rrm_torch.fit` with an RRM."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from rrm_torch.training.fit import fit
from rrm_torch.training.pipeline import Recipe, Task, TrainingRun

from ..classify import Reporting, make_rrm
from ..detection_metrics import Listing


def detect_by_rrm(
    task: Task, settings: dict[str, Any], seed: int, checkpoint: Path, on_epoch: Callable[[int, int], None]
) -> dict[str, Listing]:
    """Train with RRM, and list what its last reweight pruned, in the order of its ranking.

    Parameters
    ----------
    task, seed, checkpoint, on_epoch
        See `experiments.classify.train`.
    settings : dict
        ``recipe`` and ``rrm``, see `experiments.classify.make_rrm`.

    Returns
    -------
    dict of str to Listing
    """
    recipe = Recipe(**settings["recipe"])
    rrm = make_rrm(settings["rrm"], task.labels)
    assert rrm is not None
    run = TrainingRun(task, recipe, seed, rrm)
    fit(
        run.model,
        task.train_loader(recipe.batch_size, run.order),
        run.optimizer,
        recipe.epochs,
        rrm=rrm,
        autocast=recipe.autocast_dtype,
        scheduler=run.scheduler,
        checkpoint=Reporting(checkpoint, lambda epoch: on_epoch(epoch, recipe.epochs), **run.stateful()),
    )
    n = len(task.labels)
    scores = np.empty(n)
    scores[rrm.ranking().numpy()] = np.arange(n, 0, -1)
    listed = np.zeros(n, np.bool_)
    listed[rrm.flagged().numpy()] = True
    return {"RRM": Listing(scores, listed)}
