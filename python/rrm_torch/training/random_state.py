"""The state of all global random number generators: of torch, NumPy and Python."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

GENERATORS = ("torch", "cuda", "python", "numpy")

# Fields of NumPy's states that are used as an index without a check, and the highest valid one.
LAST_POSITIONS = {"pos": 624, "buffer_pos": 4}

NUMPY_BIT_GENERATORS = ("MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64")
"""The types that NumPy has; `np.random.set_bit_generator` accepts others, too."""


def capture() -> dict[str, Any]:
    """Return the states as tensors, numbers and lists, which ``torch.load(weights_only=True)`` accepts."""
    # Asking for the states of GPUs would start CUDA.
    uses_cuda = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    version, words, gauss = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if uses_cuda else [],
        "python": [version, list(words), gauss],
        # Training code may draw from NumPy's global generator, which need not be a Mersenne Twister.
        "numpy": _as_lists(np.random.get_state(legacy=False)),  # noqa: NPY002
    }


def check(state: Any) -> None:
    """Raise ValueError unless each generator would accept its state; the generators are left unchanged."""
    if not isinstance(state, dict):
        raise ValueError(f"its random state is a {type(state).__name__}, not a dict")
    missing = set(GENERATORS) - state.keys()
    if missing:
        raise ValueError(f"it lacks the random state of {', '.join(sorted(missing))}")
    checks = {"torch": _check_torch, "cuda": _check_cuda, "python": _check_python, "numpy": _check_numpy}
    try:
        for name in GENERATORS:
            checks[name](state[name])
    except Exception as error:  # the generators document none of theirs
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"its random state of {name} is invalid: {reason}") from error


def restore(state: dict[str, Any]) -> None:
    """Restore a state returned by `capture`; if it is invalid or this is interrupted, none or all are restored.

    Raises
    ------
    ValueError
        See `check`.
    """
    check(state)
    put_back = restorer()
    try:
        _set(state)
    except BaseException:
        put_back()
        raise


def restorer() -> Callable[[], None]:
    """Return a function that restores the current states, and NumPy's current bit generator."""
    state = capture()
    bit_generator = _bit_generator()

    def put_back() -> None:
        _set_bit_generator(bit_generator)
        _set(state)

    return put_back


def seed_from(torch_state: Tensor, rank: int) -> None:
    """Seed all global generators by a hash of a torch generator's state and a rank."""
    digest = hashlib.blake2b(torch_state.numpy().tobytes() + rank.to_bytes(8, "little"), digest_size=4)
    seed = int.from_bytes(digest.digest(), "little")
    torch.manual_seed(seed)
    random.seed(seed)
    bit_generator = _bit_generator()
    if isinstance(bit_generator, np.random.MT19937):
        np.random.seed(seed)  # noqa: NPY002
    else:
        # np.random.seed accepts no other type.
        bit_generator.state = type(bit_generator)(seed).state


def _set(state: dict[str, Any]) -> None:
    """Set the states of the global generators."""
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_available():
        # There may be fewer GPUs than when the state was captured.
        for device, cuda_state in enumerate(state["cuda"][: torch.cuda.device_count()]):
            torch.cuda.set_rng_state(cuda_state, device)
    random.setstate(_python_state(state["python"]))
    name = state["numpy"]["bit_generator"]
    if name != _bit_generator().state["bit_generator"]:
        _set_bit_generator(getattr(np.random, name)())
    np.random.set_state(_as_arrays(state["numpy"]))  # noqa: NPY002


def _bit_generator() -> np.random.BitGenerator:
    """Return NumPy's global bit generator."""
    # The function is documented, but NumPy's type stubs lack it.
    generator: np.random.BitGenerator = np.random.get_bit_generator()  # type: ignore[attr-defined]
    return generator


def _set_bit_generator(generator: np.random.BitGenerator) -> None:
    """Replace NumPy's global bit generator."""
    np.random.set_bit_generator(generator)  # type: ignore[attr-defined]


def _check_torch(state: Any) -> None:
    generator = torch.Generator(device="cpu")
    generator.set_state(state)
    if not torch.equal(generator.get_state(), state):
        raise ValueError("it is not what a generator returns")


def _check_cuda(states: Any) -> None:
    if not isinstance(states, list):
        raise ValueError(f"expected a list of tensors, got {type(states).__name__}")
    n_devices = torch.cuda.device_count() if torch.cuda.is_available() else 0
    for device, state in enumerate(states):
        if not isinstance(state, Tensor) or state.dtype != torch.uint8 or state.dim() != 1:
            raise ValueError(f"that of GPU {device} is not a tensor of bytes")
        if device < n_devices:
            torch.Generator(device=f"cuda:{device}").set_state(state)


def _check_python(state: Any) -> None:
    generator = random.Random()
    generator.setstate(_python_state(state))
    if generator.getstate() != _python_state(state):
        raise ValueError("it is not what a generator returns")


def _check_numpy(state: Any) -> None:
    name = state["bit_generator"]
    current = _bit_generator()
    if name == current.state["bit_generator"]:
        scratch = type(current)()
    elif name in NUMPY_BIT_GENERATORS:
        scratch = getattr(np.random, name)()
    else:
        raise ValueError(f"call np.random.set_bit_generator with a {name!r} first")
    for field, position in [*state.items(), *state["state"].items()]:
        if field in LAST_POSITIONS and not 0 <= position <= LAST_POSITIONS[field]:
            raise ValueError(f"{field} must lie in [0, {LAST_POSITIONS[field]}], got {position}")
    generator = np.random.RandomState(scratch)
    generator.set_state(_as_arrays(state))
    if _as_lists(generator.get_state(legacy=False)) != state:
        raise ValueError("it is not what a generator returns")


def _python_state(state: Any) -> tuple[Any, ...]:
    version, words, gauss = state
    if not isinstance(gauss, (float, type(None))):
        raise ValueError(f"its cached Gaussian number is a {type(gauss).__name__}")
    return version, tuple(words), gauss


def _as_lists(value: Any) -> Any:
    """Return a bit generator's state with arrays as lists of int."""
    if isinstance(value, dict):
        return {name: _as_lists(entry) for name, entry in value.items()}
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    return value


def _as_arrays(value: Any) -> Any:
    """Return a bit generator's state with its lists of words as arrays, the inverse of `_as_lists`."""
    if isinstance(value, dict):
        return {name: _as_arrays(entry) for name, entry in value.items()}
    return np.array(value, dtype=np.uint64) if isinstance(value, list) else value
