"""RRM with other numbers that rank the samples, for comparison."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rrm_torch.weighting.rrm import RRM


class MeanOutputsRRM(RRM):
    """Scores from the mean softmax of a sample's last epochs, in place of the batch's own outputs."""

    N_EPOCHS = 5

    def __init__(self, n: int, **options: Any) -> None:
        super().__init__(n, **options)
        self._outputs: Tensor | None = None

    def _use_outputs(
        self, losses: Tensor, index: Tensor, ranking: Tensor | None, logits: Tensor | None, labels: Tensor | None
    ) -> Tensor | None:
        assert logits is not None
        assert labels is not None
        probabilities = logits.detach().float().softmax(1)
        if self._outputs is None:
            shape = (self.N_EPOCHS, self.n, probabilities.shape[1])
            self._outputs = torch.full(shape, torch.nan)
        self._outputs[self.epoch % self.N_EPOCHS, index] = probabilities
        if self._state.predictions is not None:
            self._record_predictions(losses, index, logits, labels)
        mean = self._outputs[:, index].nanmean(0)
        return self._score(losses, index, ranking, mean.clamp(min=1e-12).log(), labels)

    def state_dict(self) -> dict[str, Any]:
        """Return the state with the outputs."""
        return {**super().state_dict(), "outputs": self._outputs}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state returned by `state_dict`."""
        outputs = state["outputs"]
        super().load_state_dict({name: value for name, value in state.items() if name != "outputs"})
        self._outputs = None if outputs is None else outputs.clone()


class DisagreementRRM(RRM):
    """Rank by the number of epochs in which the model predicted another class than the given one, then by the loss."""

    def __init__(self, n: int, **options: Any) -> None:
        super().__init__(n, **options)
        self._n_disagreed = torch.zeros(n)

    @property
    def _needs_outputs(self) -> bool:
        return True

    def _use_outputs(
        self, losses: Tensor, index: Tensor, ranking: Tensor | None, logits: Tensor | None, labels: Tensor | None
    ) -> Tensor | None:
        assert logits is not None
        assert labels is not None
        super()._use_outputs(losses, index, ranking, logits, labels)
        self._n_disagreed[index] += (logits.detach().argmax(1) != labels).float()
        losses = losses.detach().float()
        return self._n_disagreed[index] + losses / (1 + losses)

    def state_dict(self) -> dict[str, Any]:
        """Return the state with the counts."""
        return {**super().state_dict(), "n_disagreed": self._n_disagreed.clone()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state returned by `state_dict`."""
        counts = state["n_disagreed"]
        super().load_state_dict({name: value for name, value in state.items() if name != "n_disagreed"})
        self._n_disagreed = counts.clone()
