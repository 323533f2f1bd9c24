"""What methods with two networks share: a warm-up, an RRM for each network, and their common prediction."""

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
from .method import SCORING_BATCH, Method, update
from .rrm_checks import check_rrms
from .soft_labels import check_logits, negative_entropy
from .training_set import TrainingSet, check_training_set


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
        draws = self.data.draws(self.seed, epoch, k)
        model.train()
        losses = []
        for _, x, y in self.data.weak_batches(2 * self._batch_size, draws, device_of(model), index):
            with self._autocast_context(model):
                logits = model(x).float()
            loss = self._plain_loss(logits, y)
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


def check_models(models: Any) -> tuple[nn.Module, nn.Module]:
    """Return two networks.

    Raises
    ------
    TypeError, ValueError
        They aren't two modules, are the same one, or are on different devices.
    """
    if not isinstance(models, tuple) or len(models) != 2 or not all(isinstance(m, nn.Module) for m in models):
        kind = type(models).__name__
        if isinstance(models, (tuple, list)):
            kind += f" ({', '.join(type(model).__name__ for model in models)})"
        raise TypeError(f"models must be a tuple of two modules, got {kind}; pass (first, second)")
    if models[0] is models[1]:
        raise ValueError("models must be two networks, got the same one twice; initialise each by itself")
    devices = [device_of(model) for model in models]
    if devices[0] != devices[1]:
        raise ValueError(f"models must be on one device, got {devices[0]} and {devices[1]}; move both with .to(device)")
    return models
