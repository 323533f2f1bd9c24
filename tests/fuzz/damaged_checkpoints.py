"""Damage and forge checkpoint files: loading one raises a ValueError and changes nothing, or restores all of it.

``python -m fuzz.damaged_checkpoints 20000`` (with tests/ on the path) damages that many files and forges a quarter as
many, and prints what came of them. `read` and `read_archive` are entry points for a coverage-guided fuzzer.
"""

from __future__ import annotations

import collections
import copy
import hashlib
import io
import random
import sys
import tempfile
import warnings
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fuzz.forged_values import PLAIN, TENSORS
from rrm_torch import Checkpoint
from rrm_torch.training import checkpoint_file
from support.run_state import digest, make_checkpoint

# The last is as long as the state of torch's generator.
VALUES = (*PLAIN, *TENSORS, torch.zeros(5056, dtype=torch.uint8))


def seal(content: Any) -> bytes:
    """Return the file of a content, with the right digest."""
    file = io.BytesIO()
    checkpoint_file.write(content, file)
    return file.getvalue()


def seal_archive(archive: bytes) -> bytes:
    """Return the file of an archive of any bytes, with the right digest."""
    return archive[:-2] + checkpoint_file._tail(hashlib.sha256(archive).hexdigest())


def read(data: bytes) -> None:
    """Read a file of any bytes, as `Checkpoint.load` does; only a ValueError is allowed, which the digest raises."""
    try:
        checkpoint_file.read(io.BytesIO(data))
    except ValueError:
        return


def read_archive(data: bytes) -> None:
    """Read a file with the right digest, so that any bytes reach the parsers of the archive and of its pickle."""
    read(seal_archive(data + checkpoint_file.NO_COMMENT))


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


def load(checkpoint: Checkpoint, data: bytes, before: str) -> str:
    """Load a file; return what came of it. Raise an AssertionError if that isn't allowed."""
    checkpoint.path.write_bytes(data)
    try:
        checkpoint.load()
    except ValueError:
        assert digest(checkpoint.objects) == before, "a refused file has changed an object"
        return "refused"
    return "loaded"


def run(count: int, seed: int = 0) -> dict[str, int]:
    """Damage `count` files, and forge a quarter as many; return how many were refused and loaded."""
    rng = random.Random(seed)
    outcomes: collections.Counter[str] = collections.Counter()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder, "run.pt")
        make_checkpoint(path, seed=1, steps=4).save(4)
        data = path.read_bytes()
        content = torch.load(path, weights_only=True)
        checkpoint = make_checkpoint(path)
        before = digest(checkpoint.objects)
        for changed in islice(damaged(data, rng), count):
            outcomes["damaged, " + load(checkpoint, changed, before)] += 1
            read_archive(changed[: -checkpoint_file.TAIL_BYTES])
        for _ in range(count // 4):
            forged = copy.deepcopy(content)
            forge(forged, rng)
            outcome = load(checkpoint, seal(forged), before)
            outcomes["forged, " + outcome] += 1
            if outcome == "loaded":
                checkpoint = make_checkpoint(path)
    assert not outcomes["damaged, loaded"]
    return dict(outcomes)


if __name__ == "__main__":
    print(run(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0))
