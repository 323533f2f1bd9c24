"""The state of all global random number generators: of torch, NumPy and Python."""

from __future__ import annotations

import hashlib
import random
from typing import Any

import numpy as np
import torch
from torch import Tensor


def capture() -> dict[str, Any]:
    """Return the states as tensors and numbers, which ``torch.load(weights_only=True)`` accepts."""
    # Asking for the states of GPUs would start CUDA.
    uses_cuda = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    version, words, gauss = random.getstate()
    # Training code may draw from NumPy's global generator.
    name, keys, position, has_gauss, cached_gaussian = np.random.get_state()  # noqa: NPY002
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if uses_cuda else [],
        "python": [version, torch.tensor(words), gauss],
        "numpy": [name, torch.from_numpy(np.asarray(keys).astype(np.int64)), position, has_gauss, cached_gaussian],
    }


def check(state: dict[str, Any]) -> None:
    """Raise ValueError if a generator's state is missing."""
    missing = {"torch", "cuda", "python", "numpy"} - state.keys()
    if missing:
        raise ValueError(f"it lacks the random state of {', '.join(sorted(missing))}")


def restore(state: dict[str, Any]) -> None:
    """Restore the states returned by `capture`."""
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_available():
        # There may be fewer GPUs than when the state was captured.
        for device, cuda_state in enumerate(state["cuda"][: torch.cuda.device_count()]):
            torch.cuda.set_rng_state(cuda_state, device)
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words.tolist()), gauss))
    name, keys, position, has_gauss, cached_gaussian = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, cached_gaussian))  # noqa: NPY002


def seed_from(torch_state: Tensor, rank: int) -> None:
    """Seed all global generators by a hash of a torch generator's state and a rank."""
    digest = hashlib.blake2b(torch_state.numpy().tobytes() + rank.to_bytes(8, "little"), digest_size=4)
    seed = int.from_bytes(digest.digest(), "little")
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
