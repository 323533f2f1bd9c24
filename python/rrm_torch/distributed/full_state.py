"""FullState: the state of a model and its optimizer, whether or not ranks share their parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from .._checks import check_state_of_module
from .._models import unwrap_ddp
from .._rollback import all_or_nothing, module_restorer, optimizer_restorer


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
        """Restore a state, of which every rank passes all.

        If this fails or is interrupted, model and optimizer are as before on this rank. Ctrl-C takes effect once it is
        done.

        Raises
        ------
        ValueError
            `state` lacks the model or the optimizer, or a tensor has another type than in the model.
        Exception
            The errors of torch, such as RuntimeError for another model.
        """
        all_or_nothing(lambda: load_full_state(self, state), {"FullState": full_state_restorer(self)})


def load_full_state(target: FullState, state: dict[str, Any]) -> None:
    """Restore the state of `target`; if this fails, a part may have changed."""
    import torch.distributed.checkpoint.state_dict as states

    missing = {"model", "optimizer"} - state.keys()
    if missing:
        raise ValueError(f"state lacks {', '.join(sorted(missing))}; pass what FullState.state_dict() returned")
    check_state_of_module(unwrap_ddp(target.model), state["model"])
    options = states.StateDictOptions(full_state_dict=True, cpu_offload=True)
    states.set_state_dict(
        target.model,
        target.optimizer,
        # torch changes this dict under DDP.
        model_state_dict=dict(state["model"]),
        optim_state_dict=state["optimizer"],
        options=options,
    )


def full_state_restorer(target: FullState) -> Callable[[], None]:
    """Return a function that puts back the current model and optimizer, without communication."""
    restore_model = module_restorer(target.model)
    restore_optimizer = optimizer_restorer(target.optimizer)

    def restore() -> None:
        restore_model()
        restore_optimizer()

    return restore
