"""FullState: the state of a model and its optimizer, whether or not ranks share their parameters."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class FullState:
    """The full state of a model and its optimizer, the same in one process, under DDP and under FSDP.

    Parameters
    ----------
    model : nn.Module
        Plain, or wrapped by DDP or FSDP.
    optimizer : torch.optim.Optimizer
        Of its parameters.

    Notes
    -----
    All ranks must call both methods. Call `state_dict` only after the optimizer's first step: torch would otherwise
    make one to find out what the optimizer's state contains. Parameters are gathered on the host of rank 0. Of values
    that differ between ranks, such as BatchNorm's running statistics under FSDP, those of rank 0 are saved.
    """

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self.model = model
        self.optimizer = optimizer

    def state_dict(self) -> dict[str, Any]:
        """Return the state: all of it on rank 0."""
        # Slow to import, and seldom needed.
        import torch.distributed.checkpoint.state_dict as states

        options = states.StateDictOptions(full_state_dict=True, cpu_offload=True)
        model, optimizer = states.get_state_dict(self.model, self.optimizer, options=options)
        return {"model": model, "optimizer": optimizer}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state, of which every rank passes all."""
        import torch.distributed.checkpoint.state_dict as states

        options = states.StateDictOptions(full_state_dict=True, cpu_offload=True)
        states.set_state_dict(
            self.model,
            self.optimizer,
            model_state_dict=state["model"],
            optim_state_dict=state["optimizer"],
            options=options,
        )
