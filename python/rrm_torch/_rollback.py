"""All or nothing: functions that put an object's state back if a change fails or is interrupted."""

from __future__ import annotations

import copy
import signal
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy


@contextmanager
def deferred_signals() -> Iterator[None]:
    """Run the handlers of signals, such as that of Ctrl-C, at the end of the block.

    Only handlers written in Python are deferred: those of C code can't raise. They run in the main thread only; in
    another thread this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pending: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        pending.append(number)

    handlers = {
        int(number): handler for number in signal.valid_signals() if callable(handler := signal.getsignal(number))
    }
    if signal.SIGINT in handlers:
        # The last to be put back, so that Ctrl-C can't interrupt the loop that does it.
        handlers[int(signal.SIGINT)] = handlers.pop(signal.SIGINT)
    try:
        for number in handlers:
            signal.signal(number, note)
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for number in dict.fromkeys(pending):
            signal.raise_signal(number)


def all_or_nothing(change: Callable[[], None], restorers: Mapping[str, Callable[[], None]]) -> None:
    """Call `change`; if it fails or is interrupted, call all restorers and raise what it raised.

    Signals are deferred meanwhile, so that no second one can interrupt the restorers.

    Parameters
    ----------
    change : callable
    restorers : dict of str to callable
        By the name of what they restore, for messages.

    Raises
    ------
    BaseException
        What `change` raised. If a restorer fails, too, a ValueError or RuntimeError that says so.
    """
    with deferred_signals():
        try:
            change()
        except BaseException as error:
            failures = []
            for name, restore in restorers.items():
                try:
                    restore()
                except Exception as failure:  # noqa: PERF203 - the others are put back nevertheless
                    failures.append(f"{name} can't be put back: {failure}")
            if failures:
                kind = ValueError if isinstance(error, ValueError) else RuntimeError
                raise kind("; ".join([str(error) or type(error).__name__, *failures])) from error
            raise


def module_restorer(module: nn.Module) -> Callable[[], None]:
    """Return a function that puts back the current parameters, buffers and extra states of a module.

    The copies are on the host; of sharded parameters (DTensor), of this rank's shards. No collective is called.
    """
    tables: list[dict[str, Any]] = [table for part in module.modules() for table in (part._parameters, part._buffers)]
    entries = [
        (table, name, tensor, None if tensor is None or is_lazy(tensor) else _copy(tensor))
        for table in tables
        for name, tensor in table.items()
    ]
    extra_states = [
        (part, copy.deepcopy(part.get_extra_state()))
        for part in module.modules()
        if type(part).get_extra_state is not nn.Module.get_extra_state
    ]

    def restore() -> None:
        with torch.inference_mode(False), torch.no_grad():
            for table, name, tensor, saved in entries:
                table[name] = tensor
                if saved is not None:
                    _local(tensor).copy_(saved)
        for part, extra_state in extra_states:
            part.set_extra_state(extra_state)

    return restore


def optimizer_restorer(optimizer: torch.optim.Optimizer) -> Callable[[], None]:
    """Return a function that puts back an optimizer's current groups and states.

    The tensors in them are not copied: ``Optimizer.load_state_dict`` replaces them.
    """
    groups = [(group, dict(group)) for group in optimizer.param_groups]
    states = {parameter: dict(values) for parameter, values in optimizer.state.items()}

    def restore() -> None:
        for group, entries in groups:
            group.clear()
            group.update(entries)
        optimizer.param_groups = [group for group, _ in groups]
        optimizer.state = defaultdict(dict, states)

    return restore


def attribute_restorer(value: object) -> Callable[[], None]:
    """Return a function that puts back an object's attributes, where loading replaces these without changing them."""
    attributes = dict(vars(value))

    def restore() -> None:
        vars(value).update(attributes)

    return restore


def state_restorer(value: Any) -> Callable[[], None]:
    """Return a function that loads a copy of the current ``value.state_dict()``."""
    state = copy.deepcopy(value.state_dict())

    def restore() -> None:
        value.load_state_dict(state)

    return restore


def generator_restorer(generator: torch.Generator) -> Callable[[], None]:
    """Return a function that puts back a generator's current state."""
    state = generator.get_state()

    def restore() -> None:
        generator.set_state(state)

    return restore


def _copy(tensor: Tensor) -> Tensor:
    """Return a copy on the host; of a tensor on the meta device, which has no values, a tensor there."""
    local = _local(tensor.detach())
    if local.device.type == "meta":
        return local
    return local.to("cpu", copy=True)


def _local(tensor: Any) -> Tensor:
    """Return this rank's shard of a DTensor, any other tensor as it is."""
    local: Tensor = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    return local
