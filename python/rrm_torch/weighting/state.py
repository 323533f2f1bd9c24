"""What a saved state of `RRM` or `BatchRRM` holds, and how ranks merge it: one table.

`ENTRIES` is the definition. By it `export` makes a state, the checks validate one, and `local` returns the part of it
that this process stores. A state is that of all samples, the same on all ranks; it depends neither on their number nor
on the layout.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from .layout import Layout
from .settings import BatchSettings

VERSION = 2

Merge: TypeAlias = Literal["same", "shards", "bit shards"]


@dataclass(frozen=True)
class Entry:
    """One entry of a state.

    Attributes
    ----------
    name : str
        The key in its dict. The entries of the history are in the dict ``state["trajectory"]``.
    owner : {"rrm", "history", "buffer"}
        The object that the entry belongs to: `RRM` or `BatchRRM`; its `PruningHistory`; its `LossBuffer`, of which only
        one that outlives an epoch is saved (``unit="step"``).
    merge : {"same", "shards", "bit shards"}
        How the ranks' values become one. ``"same"``: they are equal. ``"shards"``: a sample's value is that of the rank
        that stores it; concatenated along the last axis. ``"bit shards"``: likewise, eight samples a byte. Before that
        `Layout.merge_recorded` has merged the ranks' buffers, where each may hold a loss of any sample.
    dtype : torch.dtype or None
        Of a tensor; None for numbers, strings and containers of them.
    shape : str
        Of a tensor.
    """

    name: str
    owner: Literal["rrm", "history", "buffer"]
    merge: Merge
    dtype: torch.dtype | None = None
    shape: str = ""


ENTRIES = (
    Entry("version", "rrm", "same"),
    Entry("class", "rrm", "same"),
    Entry("settings", "rrm", "same"),
    Entry("epoch", "rrm", "same"),
    Entry("weights", "rrm", "shards", torch.float32, "(n,)"),
    Entry("losses", "rrm", "shards", torch.float32, "(n,)"),
    Entry("recorded", "buffer", "shards", torch.float32, "(n,)"),
    Entry("is_recorded", "buffer", "shards", torch.uint8, "(n,)"),
    Entry("trajectory", "rrm", "same"),
    Entry("rounds", "history", "same"),
    Entry("bits", "history", "bit shards", torch.uint8, "(reweights, ceil(n / 8))"),
    Entry("rank_sum", "history", "shards", torch.float32, "(n,)"),
)


def entries(*owners: str) -> list[Entry]:
    """Return the entries of some owners, in the order of the table."""
    return [entry for entry in ENTRIES if entry.owner in owners]


def export(values: Mapping[str, Any], table: Iterable[Entry], layout: Layout) -> dict[str, Any]:
    """Return the state of all samples, made of the values of this process. Collective where the layout has ranks.

    Tensors are copies, in which every NaN has the same bits: those of an arithmetic result depend on the processor.
    """
    state: dict[str, Any] = {}
    for entry in table:
        value = values[entry.name]
        if entry.dtype is not None:
            value = layout.all_gather(value, packed=entry.merge == "bit shards")
            value = torch.where(value.isnan(), torch.nan, value) if value.is_floating_point() else value.clone()
        state[entry.name] = value
    return state


def check_entries(state: Mapping[str, Any], table: Iterable[Entry], name: str, source: str) -> None:
    """Raise a ValueError if `state`, called `name` in the message and made by `source`, lacks an entry."""
    missing = sorted(entry.name for entry in table if entry.name not in state)
    if missing:
        raise ValueError(f"{name} lacks {', '.join(missing)}; pass what {source} returned")


def check_shapes(state: Mapping[str, Any], table: Iterable[Entry], n: int) -> None:
    """Raise a ValueError if an entry with one element per sample is not a tensor of n of them."""
    for entry in table:
        if entry.shape != "(n,)":
            continue
        value = state[entry.name]
        shape = tuple(value.shape) if isinstance(value, Tensor) else None
        if shape != (n,):
            raise ValueError(f"state's {entry.name} must have shape ({n},), got {shape}")


def check_origin(state: Mapping[str, Any], class_name: str, settings: BatchSettings) -> None:
    """Raise a ValueError if a state is of another version or class, another data set, or other settings."""
    if state["version"] != VERSION:
        raise ValueError(f"state has version {state['version']!r}, and this rrm_torch reads version {VERSION}")
    if state["class"] != class_name:
        raise ValueError(f"state was saved by {state['class']}, and this is {class_name}")
    saved = state["settings"]
    own = settings.describe()
    if saved.get("n") == own["n"] and saved.get("ids") != own["ids"]:
        raise ValueError(
            f"state was saved for another data set: the hash of its ids is {saved.get('ids')} there and "
            f"{own['ids']} here"
        )
    differences = [
        f"{name} is {saved.get(name)!r} there and {value!r} here"
        for name, value in own.items()
        if saved.get(name) != value
    ]
    if differences:
        raise ValueError(f"state was saved with other settings: {', '.join(differences)}")


def check_values(state: Mapping[str, Any]) -> None:
    """Raise a ValueError if a state's epoch or weights can't be right."""
    epoch = state["epoch"]
    weights = state["weights"]
    if not isinstance(epoch, int) or isinstance(epoch, bool) or epoch < 0:
        raise ValueError(f"state's epoch must be an integer of at least 0, got {epoch!r}")
    if not weights.is_floating_point() or not bool((weights.isfinite() & (weights >= 0)).all()):
        raise ValueError("state's weights must be floating, finite and at least 0; the file may be damaged")


def local(state: Mapping[str, Any], table: Iterable[Entry], layout: Layout, device: torch.device) -> dict[str, Tensor]:
    """Return copies of the tensors of a state, of the samples that this process stores."""
    tensors = {}
    for entry in table:
        if entry.dtype is not None:
            part = layout.local_slice(state[entry.name], packed=entry.merge == "bit shards")
            tensors[entry.name] = part.detach().to(device, entry.dtype, copy=True)
    return tensors
