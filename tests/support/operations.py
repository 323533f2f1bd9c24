"""The operations of torch in a block of code, each a launch of a kernel on a GPU."""

from __future__ import annotations

from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

from rrm_torch.weighting import batch_recorder, packed_bits, reweight_scan, suspicion

# These read or write no element.
VIEWS = (
    "alias",
    "as_strided",
    "detach",
    "expand",
    "lift_fresh",
    "scalar_tensor",
    "select",
    "slice",
    "unsqueeze",
    "view",
)


class Operations(TorchDispatchMode):
    """Records the names of the operations, without views."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.name().partition("::")[2].partition(".")[0]
        if name not in VIEWS:
            self.names.append(name)
        return func(*args, **(kwargs or {}))


def without_compiled_loops(monkeypatch: Any) -> None:
    """Make trainers use on the CPU the operations of torch that they use on a GPU."""
    for module in (batch_recorder, packed_bits, reweight_scan, suspicion):
        monkeypatch.setattr(module, "compiled_loops", lambda: None)
