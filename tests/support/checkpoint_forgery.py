"""Forged checkpoints: files with a right digest and a content that no run has."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from rrm_torch.training import checkpoint_file

VALUES = (
    *(None, True, -1, 0, 3, 2**31, 2**63, 2**80, -(2**70), 0.5, float("nan"), float("inf"), 1e300),
    *("", "x", "\udcff", b"", b"x", (), [], {}, [1], {"a": 1}, (1, 2), {1, 2}),
    *(
        torch.zeros(0),
        torch.zeros(3),
        torch.tensor(1.0),
        torch.full((2,), torch.nan),
        torch.zeros(2, dtype=torch.int64),
    ),
    *(torch.zeros(5056, dtype=torch.uint8), torch.zeros(1).expand(4, 5), torch.zeros(2, dtype=torch.complex64)),
)


def seal(content: Any) -> bytes:
    """Return the file of a content, with the right digest."""
    file = io.BytesIO()
    checkpoint_file.write(content, file)
    return file.getvalue()


def places(content: Any) -> list[tuple[Any, Any]]:
    """Return a container and a key or index for every entry of the dicts and lists in a content."""
    found = []
    pending = [content]
    while pending:
        container = pending.pop()
        if isinstance(container, dict):
            entries = list(container.items())
        elif isinstance(container, list):
            # All but the first words of a generator are alike.
            entries = list(enumerate(container))[:4]
        else:
            continue
        found += [(container, key) for key, _ in entries]
        pending += [value for _, value in entries]
    return found


def forge(content: dict[str, Any], generator: random.Random) -> None:
    """Replace, remove, add or rename an entry of a content, or change the type, shape or values of a tensor."""
    container, key = generator.choice(places(content))
    value = container[key]
    if isinstance(value, Tensor) and generator.random() < 0.7:
        container[key] = _other_tensor(value, generator)
    elif isinstance(container, dict) and generator.random() < 0.3:
        del container[key]
        if generator.random() < 0.5:
            container[generator.choice(("epoch", "x", 7, "model", "weights"))] = value
    else:
        container[key] = generator.choice(VALUES)


def _other_tensor(tensor: Tensor, generator: random.Random) -> Tensor:
    dtype = generator.choice((torch.float64, torch.int64, torch.uint8, torch.bfloat16, torch.bool, tensor.dtype))
    changed = tensor.to(dtype, copy=True)
    kind = generator.randrange(4)
    if kind == 0:
        return changed.flatten()[: generator.randrange(5)]
    if kind == 1:
        return changed.unsqueeze(0)
    if kind == 2 and changed.is_floating_point():
        return torch.full_like(changed, generator.choice((torch.nan, torch.inf, -1.0, 1e30)))
    return changed


def damaged(data: bytes, generator: random.Random) -> Iterator[bytes]:
    """Yield copies of a file: a flipped bit, a changed run of bytes, a cut, bytes inserted, removed or appended."""
    while True:
        copy = bytearray(data)
        place = generator.randrange(len(data))
        # Half of them in the first or the last bytes, where the headers and the digest are.
        if generator.random() < 0.5:
            place = generator.choice((0, len(data))) + generator.randrange(-600, 600)
            place = min(max(place, 0), len(data) - 1)
        length = generator.choice((1, 2, 16, 300))
        kind = generator.randrange(6)
        if kind == 0:
            copy[place] ^= 1 << generator.randrange(8)
        elif kind == 1:
            copy[place : place + length] = generator.randbytes(len(copy[place : place + length]))
        elif kind == 2:
            del copy[place:]
        elif kind == 3:
            copy[place:place] = generator.randbytes(length)
        elif kind == 4:
            del copy[place : place + length]
        else:
            copy += generator.randbytes(length)
        if copy != data:
            yield bytes(copy)
