"""What a saved state of `RRM` or `BatchRRM` holds, and how ranks merge it: one table.

`ENTRIES` is the definition. By it `export` makes a state, `state_checks` validates one, and `local` returns the part of
it that this process stores. A state is that of all samples, the same on all ranks; it depends neither on their number
nor on the layout. It is complete at any moment, in the middle of an epoch as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from .layout import Layout

VERSION = 8

Merge: TypeAlias = Literal["same", "shards", "bit shards"]


@dataclass(frozen=True)
class Entry:
    """One entry of a state.

    Attributes
    ----------
    name : str
        The key in its dict. The entries of the history are in the dict ``state["trajectory"]``, and ``"predictions"``
        and ``"estimate"`` are dicts too, or None; see `prediction_state`.
    owner : {"rrm", "history", "buffer"}
        The object that the entry belongs to: `RRM` or `BatchRRM`; its `PruningHistory`; its `LossBuffer`.
    merge : {"same", "shards", "bit shards"}
        How the ranks' values become one. ``"same"``: they are equal. ``"shards"``: a sample's value is that of the rank
        that stores it; concatenated along the last axis. ``"bit shards"``: likewise, eight samples a byte. Before that
        `Layout.merge_recorded` has merged the ranks' buffers, where each may hold a loss of any sample.
    dtypes : tuple of torch.dtype
        Of a tensor, one of these; empty for numbers, strings and containers of them.
    shape : str
        Of a tensor.
    optional : bool
        Whether None stands for a tensor that would say nothing: no loss is recorded in the epoch under way, the losses
        themselves rank the samples, or every sample took part in every reweight.
    """

    name: str
    owner: Literal["rrm", "history", "buffer"]
    merge: Merge
    dtypes: tuple[torch.dtype, ...] = ()
    shape: str = ""
    optional: bool = False


# float64 once a loss of float64 has come; the entries of a state agree.
FLOATS = (torch.float32, torch.float64)

ENTRIES = (
    Entry("version", "rrm", "same"),
    Entry("class", "rrm", "same"),
    Entry("settings", "rrm", "same"),
    Entry("epoch", "rrm", "same"),
    Entry("epochs", "rrm", "same"),
    Entry("weights", "rrm", "shards", FLOATS, "(n,)"),
    Entry("losses", "rrm", "shards", FLOATS, "(n,)"),
    Entry("ranking", "rrm", "shards", FLOATS, "(n,)", optional=True),
    Entry("recorded", "buffer", "shards", FLOATS, "(n,)", optional=True),
    Entry("recorded_ranking", "buffer", "shards", FLOATS, "(n,)", optional=True),
    Entry("marks", "buffer", "shards", (torch.uint8,), "(n,)", optional=True),
    Entry("trajectory", "rrm", "same"),
    Entry("predictions", "rrm", "same"),
    Entry("estimate", "rrm", "same"),
    Entry("rounds", "history", "same"),
    Entry("bits", "history", "bit shards", (torch.uint8,), "(reweights, ceil(n / 8))"),
    Entry("excess_sum", "history", "shards", (torch.float32,), "(n,)"),
    Entry("planned", "history", "shards", (torch.int32,), "(n,)", optional=True),
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
        if entry.dtypes and value is not None:
            value = layout.all_gather(value, packed=entry.merge == "bit shards")
            value = torch.where(value.isnan(), torch.nan, value) if value.is_floating_point() else value.clone()
        state[entry.name] = value
    return state


def local(state: Mapping[str, Any], table: Iterable[Entry], layout: Layout, device: torch.device) -> dict[str, Tensor]:
    """Return contiguous copies of a state's tensors, of the samples that this process stores, without optional ones."""
    tensors = {}
    for entry in table:
        if entry.dtypes and state[entry.name] is not None:
            part = layout.local_slice(state[entry.name], packed=entry.merge == "bit shards")
            tensors[entry.name] = part.detach().to(device, copy=True, memory_format=torch.contiguous_format)
    return tensors
