"""Co-teaching (Han et al. 2018): two networks, each trained on the samples with a small loss under the other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from rrm_torch.losses import per_sample as losses
from rrm_torch.methods import co_teaching
from rrm_torch.training.evaluate import evaluate
from rrm_torch.training.fit import Seconds
from rrm_torch.training.history import History
from rrm_torch.training.pipeline import Recipe, Task

from .classify import Reporting, evaluate_run


def train_two(
    task: Task, settings: dict[str, Any], seed: int, checkpoint: Path, on_epoch: Callable[[int, int], None]
) -> dict[str, Any]:
    """Train two networks that select samples for each other, from their checkpoint if there is one.

    Parameters
    ----------
    task, seed, checkpoint, on_epoch
        See `classify.train`.
    settings : dict
        ``recipe``, ``loss``, and ``contamination`` and ``over`` of `rrm_torch.methods.co_teaching`.

    Returns
    -------
    dict
        The results of the first network, see `classify.evaluate_run`.
    """
    recipe = Recipe(**settings["recipe"])
    loss = losses.by_name(settings["loss"])
    torch.manual_seed(seed)
    models = [task.model(), task.model()]
    order = torch.Generator().manual_seed(seed)
    optimizers = [recipe.make_optimizer(model) for model in models]
    schedulers = [recipe.make_scheduler(optimizer) for optimizer in optimizers]
    selections = [
        co_teaching(len(task.labels), settings["contamination"], over=settings["over"], ids=task.labels) for _ in models
    ]
    history = History(task.wrong)
    parts: dict[str, Any] = {"history": history, "order": order}
    for i in range(2):
        parts |= {f"rrm_{i}": selections[i], f"model_{i}": models[i]}
        parts |= {f"optimizer_{i}": optimizers[i], f"scheduler_{i}": schedulers[i]}
    reporting = Reporting(checkpoint, lambda epoch: on_epoch(epoch, recipe.epochs), **parts)
    for epoch in range(reporting.load() + 1, recipe.epochs + 1):
        total = 0.0
        for model in models:
            model.train()
        for index, x, y in task.train_loader(recipe.batch_size, order):
            with recipe.autocast_context(models[0]):
                both = [loss(model(x).float(), y) for model in models]
            for i in range(2):
                batch_loss = selections[i].weighted_mean(both[i], index, ranking=both[1 - i])
                optimizers[i].zero_grad()
                batch_loss.backward()  # type: ignore[no-untyped-call]
                optimizers[i].step()
            total += float(both[0].detach().sum())
        for selection, scheduler in zip(selections, schedulers, strict=True):
            selection.step()
            scheduler.step()
        with recipe.autocast_context(models[0]):
            accuracy = evaluate(models[0], task.test_loader())
        history.record(epoch, total / len(task.labels), accuracy, selections[0])
        reporting.save(epoch)
    with recipe.autocast_context(models[0]):
        return evaluate_run(task, models[0], history, selections[0], Seconds())
