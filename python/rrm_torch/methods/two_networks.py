"""What methods with two networks share: optimizers, a warm-up, an RRM for each network, and their common prediction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from .._models import device_of
from ..training.score import score
from ..training.stateful import Stateful
from ..weighting.rrm import RRM
from .division import Division
from .method import MakeOptimizer, MakeScheduler, Method, update
from .soft_labels import check_logits, negative_entropy
from .training_set import TrainingSet, check_training_set

SCORING_BATCH = 1000


class Ensemble(nn.Module):
    """The sum of the logits of two networks."""

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, shape (batch, n_classes)."""
        return torch.stack([network(x).float() for network in self.networks]).sum(0)


class TwoNetworkMethod(Method):
    """A method that trains two networks.

    Attributes
    ----------
    models : tuple of two nn.Modules
    rrm : tuple of two RRMs, or None
        The weights of each network's labels.
    divisions : tuple of two Divisions, or None
        The samples as each network trained on them in the last epoch, where the method divides them; None in the
        warm-up, and after a state was loaded.
    """

    divisions: tuple[Division, Division] | None = None

    def __init__(
        self,
        models: tuple[nn.Module, nn.Module],
        data: TrainingSet,
        *,
        parts: dict[str, Stateful],
        settings: dict[str, Any],
        rrm: tuple[RRM, RRM] | None,
        batch_size: int,
        confidence_penalty: float,
        autocast: torch.dtype | None,
        seed: int,
    ) -> None:
        check_training_set(data)
        self.models = check_models(models)
        parts = {"model_1": models[0], "model_2": models[1], **parts}
        if rrm is not None:
            check_rrms(rrm, len(data))
            parts |= {"rrm_1": rrm[0], "rrm_2": rrm[1]}
        super().__init__(data, parts, settings, seed, autocast)
        self.rrm = rrm
        self._batch_size = batch_size
        self._confidence_penalty = confidence_penalty

    @property
    def predictor(self) -> nn.Module:
        """The classifier that adds the logits of both networks; call ``eval()`` before you call it yourself."""
        return Ensemble(self.models)

    def load_state_dict(self, state: dict[str, Any]) -> None:  # noqa: D102
        super().load_state_dict(state)
        self.divisions = None

    def losses_of(self, k: int, among: Tensor | None = None) -> Tensor:
        """Return the cross-entropy of the samples under network k, without augmentation, in evaluation mode.

        Parameters
        ----------
        k : {0, 1}
        among : Tensor of int64, shape (m,), optional
            The samples, ascending; by default all.

        Returns
        -------
        Tensor, shape (n,) or (m,)
        """
        loader = self.data.batches(SCORING_BATCH, among)
        return score(self.models[k], loader, autocast=self._autocast, among=among)

    def _train_plainly(self, k: int, optimizer: torch.optim.Optimizer, epoch: int, index: Tensor) -> float:
        """Train a network on the given labels of some samples for an epoch; return the mean loss."""
        model = self.models[k]
        device = device_of(model)
        draws = self.data.draws(self.seed, epoch, k)
        model.train()
        losses = []
        for part in self.data.shuffled(index.to(self.data.device), 2 * self._batch_size, draws):
            x = self.data.weak_view(self.data.inputs[part], draws).to(device)
            with self._autocast_context(model):
                logits = model(x).float()
            loss = self._plain_loss(logits, self.data.labels[part].to(device))
            update(optimizer, loss)
            losses.append(loss.detach())
        return float(torch.stack(losses).mean())

    def _plain_loss(self, logits: Tensor, y: Tensor) -> Tensor:
        """Return the loss of the warm-up: cross-entropy, and the confidence penalty if there is one."""
        check_logits(logits, self.data.n_classes)
        loss = F.cross_entropy(logits, y)
        if self._confidence_penalty:
            loss = loss + self._confidence_penalty * negative_entropy(logits)
        return loss


def make_optimizers(
    names: Sequence[str], parameters: Sequence[Any], optimizer: MakeOptimizer, scheduler: MakeScheduler | None
) -> tuple[list[torch.optim.Optimizer], dict[str, Stateful]]:
    """Return an optimizer for each group of parameters; and these and their schedules, by name, for a state.

    Raises
    ------
    TypeError
        `optimizer` or `scheduler` isn't callable.
    """
    if not callable(optimizer):
        raise TypeError(
            f"optimizer must be callable with parameters, got {type(optimizer).__name__}; such as "
            "partial(torch.optim.SGD, lr=0.02)"
        )
    if scheduler is not None and not callable(scheduler):
        raise TypeError(
            f"scheduler must be callable with an optimizer, got {type(scheduler).__name__}; such as "
            "partial(torch.optim.lr_scheduler.MultiStepLR, milestones=[150])"
        )
    optimizers = [optimizer(group) for group in parameters]
    parts: dict[str, Stateful] = dict(zip(names, optimizers, strict=True))
    if scheduler is not None:
        parts |= {f"{name}_schedule": scheduler(part) for name, part in zip(names, optimizers, strict=True)}
    return optimizers, parts


def check_models(models: Any) -> tuple[nn.Module, nn.Module]:
    """Return two networks.

    Raises
    ------
    TypeError, ValueError
        They aren't two modules, or they are the same one.
    """
    if not isinstance(models, tuple) or len(models) != 2 or not all(isinstance(m, nn.Module) for m in models):
        kind = type(models).__name__
        if isinstance(models, (tuple, list)):
            kind += f" ({', '.join(type(model).__name__ for model in models)})"
        raise TypeError(f"models must be a tuple of two modules, got {kind}; pass (first, second)")
    if models[0] is models[1]:
        raise ValueError("models must be two networks, got the same one twice; initialise each by itself")
    return models


def check_rrms(rrm: Any, n: int) -> None:
    """Raise unless a method gets an RRM for each of its two networks.

    Raises
    ------
    TypeError, ValueError
        They aren't two RRMs for n samples in one process, or hold out samples in a warm-up.
    """
    if not isinstance(rrm, tuple) or len(rrm) != 2 or not all(isinstance(each, RRM) for each in rrm):
        raise TypeError(f"rrm must be a tuple of two RRMs, one for each network, or None, got {rrm!r:.200}")
    if rrm[0] is rrm[1]:
        raise ValueError("rrm must be two objects, got the same one twice; each network has weights of its own")
    for each in rrm:
        if each.n != n:
            raise ValueError(f"rrm must be made for the {n} samples of the training set, got n={each.n}")
        if each.layout is not None:
            raise ValueError(f"rrm must hold all samples in one process, got layout={each.layout!r}; leave layout out")
        if each.settings.needs_predictions:
            raise ValueError(
                "rrm can't estimate here, since it sees no predictions: leave contamination='auto' out, and warmup an "
                "integer"
            )
        if each.settings.rank_by != "loss":
            raise ValueError(
                f"rrm must rank by the loss, got rank_by={each.settings.rank_by!r}; it sees no outputs of the networks"
            )
        if each.unit != "epoch":
            raise ValueError("rrm must count epochs, got unit='step'; the method reweights once an epoch")
