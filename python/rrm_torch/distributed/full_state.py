"""A model and its optimiser as a part of a checkpoint, however ranks share their parameters."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class FullState:
    """The whole state of a model and its optimiser, the same on one process, under DDP and under FSDP.

    Parameters
    ----------
    model : nn.Module
        Plain, or wrapped by DDP or FSDP.
    optimizer : torch.optim.Optimizer
        Over its parameters.

    Notes
    -----
    All ranks must call both methods, and `state_dict` only after the optimiser's first step: to learn what a state will
    hold, torch makes one otherwise. Parameters are gathered to the host of the first. Of what ranks keep for
    themselves, such as BatchNorm's running statistics under FSDP, it is the first's that counts.
    """

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self.model, self.optimizer = model, optimizer

    def state_dict(self) -> dict[str, Any]:
        """Return the state: of the ranks, the first gets all of it."""
        import torch.distributed.checkpoint.state_dict as states  # slow to load, and seldom used

        whole = states.StateDictOptions(full_state_dict=True, cpu_offload=True)
        model, optimizer = states.get_state_dict(self.model, self.optimizer, options=whole)
        return {"model": model, "optimizer": optimizer}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a state, of which every rank passes all."""
        import torch.distributed.checkpoint.state_dict as states

        whole = states.StateDictOptions(full_state_dict=True, cpu_offload=True)
        states.set_state_dict(
            self.model,
            self.optimizer,
            model_state_dict=state["model"],
            optim_state_dict=state["optimizer"],
            options=whole,
        )
