"""A run that was killed goes on where it was, to the same bits."""

from __future__ import annotations

import hashlib
import io
import pickle
import random
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from rrm_core._atomic_write import atomic_write

from ..distributed import FullState, ProcessGroup
from ..distributed.process_group import first_mismatch, stable_hash
from ..losses.elr import ELR
from ..weighting.rrm import RRM


@runtime_checkable
class Stateful(Protocol):
    """What a checkpoint can hold: models, optimisers, schedulers, RRM, History, ELR, gradient scalers ..."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state."""

    def load_state_dict(self, state: dict[str, Any], /) -> Any:
        """Take it over."""


class Checkpoint:
    """Everything that a run needs to go on, in one file that is whole or isn't there.

    Besides the parts it holds the epoch and the random numbers of torch (on the host and on every GPU), of NumPy's
    global generator, and of Python's.

    Parameters
    ----------
    path : str or Path
        The file, which need not exist yet. Its folder must, and all ranks must see it.
    ranks : ProcessGroup, optional
        `rrm_torch.distributed.ProcessGroup`, where the run has several: the first of them writes the file, which holds
        the random numbers of all, and all must call `save` and `load`. With fewer ranks, or more, the run goes on too.
    **parts : Stateful or torch.Generator
        What changes while training, each under a name: at least the model and its optimiser, the RRM, and the generator
        that shuffles the loader if it has one of its own.

    Raises
    ------
    TypeError
        A part is neither; or it is an ELR, of which each rank's remembers other samples, and there are several ranks.
    FileNotFoundError, IsADirectoryError
        The folder doesn't exist, or the path is one.

    Examples
    --------
    >>> import tempfile, torch
    >>> model = torch.nn.Linear(3, 2)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     checkpoint = Checkpoint(folder + "/run.pt", model=model, optimizer=optimizer)
    ...     for epoch in range(checkpoint.load(), 5):
    ...         checkpoint.save(epoch + 1)  # after training for an epoch
    ...     checkpoint.load()
    5
    """

    def __init__(
        self, path: str | Path, ranks: ProcessGroup | None = None, /, **parts: Stateful | torch.Generator
    ) -> None:
        self.path, self.parts, self._ranks, self._proven = Path(path), parts, ranks, False
        for name, part in parts.items():
            if not isinstance(part, (torch.Generator, Stateful)):
                raise TypeError(
                    f"{name} must be a torch.Generator or have state_dict() and load_state_dict(), "
                    f"got {type(part).__name__}"
                )
            if ranks is not None and isinstance(part, ELR):
                raise TypeError(f"{name} can't be saved: each rank's ELR remembers the samples that this rank has seen")
        if not self.path.parent.is_dir():
            raise FileNotFoundError(f"folder {str(self.path.parent)!r} of the checkpoint doesn't exist; create it")
        if self.path.is_dir():
            raise IsADirectoryError(f"checkpoint {str(self.path)!r} is a folder; name a file in it")

    def held(self) -> list[Any]:
        """Return the parts, and what parts hold of others: the model and the optimiser of a FullState."""
        pairs = [part for part in self.parts.values() if isinstance(part, FullState)]
        return [*self.parts.values(), *(held for pair in pairs for held in (pair.model, pair.optimizer))]

    def save(self, epoch: int) -> None:
        """Replace the file by the state after `epoch`. Killed at any moment, the file is the old or the new one.

        Raises
        ------
        OSError
            The file can't be written; an old one is as it was.
        ValueError
            Ranks have other parts.
        TypeError
            A part's state has something that ``torch.load(weights_only=True)`` refuses, such as a NumPy scalar.
        """
        if other := first_mismatch([row[0] for row in self._agree(None, stable_hash(sorted(self.parts)))]):
            raise ValueError(f"rank {other} has other parts than rank 0; give checkpoints the same on all ranks")
        parts: dict[str, Any] = {}
        error: Exception | None = None
        for name in sorted(self.parts):  # in one order: some talk to the other ranks
            try:
                parts[name] = _state(self.parts[name])
            except Exception as failure:  # noqa: PERF203 - whatever it is, the other ranks shall not wait in vain
                if isinstance(self.parts[name], (RRM, FullState)):  # unless it broke off such a talk
                    raise
                error = error or failure
        self._agree(error)
        own, others = self._random_states()
        state = {"epoch": epoch, "parts": parts, "random": own, "others": others}
        if self._ranks is None or self._ranks.rank == 0:
            try:
                if not self._proven:
                    _prove(parts)
                    self._proven = True
                with atomic_write(self.path) as file:
                    torch.save(state, file)
            except Exception as failure:
                error = failure
        self._agree(error)

    def load(self) -> int:
        """Take over what the file holds, if there is one.

        Returns
        -------
        int
            How many epochs are done; 0 without a file.

        Raises
        ------
        ValueError
            The file isn't a whole checkpoint, or one of other parts, another data set or other settings; or ranks find
            different ones. Parts may have been loaded by then, RRM first; the file is as it was.
        """
        state, error = None, None
        try:
            state = self._read()
        except Exception as failure:  # an OSError, too, shall not leave the other ranks waiting
            error = failure
        epochs = [row[0] for row in self._agree(error, -1 if state is None else state["epoch"])]
        if len(set(epochs)) > 1:
            raise ValueError(
                f"ranks find different checkpoints at {str(self.path)!r}, after epochs {epochs} (-1: none); all must "
                "see the same folder"
            )
        if state is None:
            return 0
        parts, rank, others = state["parts"], 0 if self._ranks is None else self._ranks.rank, state.get("others", [])
        own = others[rank - 1] if 1 <= rank <= len(others) else state["random"]
        parts |= own.get("generators", {})
        # Whether it belongs to this data set shall be known before a model is overwritten.
        for name in sorted(parts, key=lambda name: not isinstance(self.parts[name], RRM)):
            part, misfit = self.parts[name], None
            try:
                if isinstance(part, torch.Generator):
                    part.set_state(parts[name])
                else:
                    part.load_state_dict(parts[name])
            except Exception as error:  # whatever it is, the other ranks shall not wait in vain
                why = " ".join(str(error).split()) or type(error).__name__
                misfit = ValueError(f"{name} of checkpoint {str(self.path)!r} doesn't fit: {why}")
                misfit.__cause__ = error
            self._agree(misfit)
        _set_random_state(own)
        if rank > len(others):  # there were fewer ranks: its numbers shall not be those of another
            _seed(own["torch"], rank)
        return int(state["epoch"])

    def _read(self) -> dict[str, Any] | None:
        """Return what the file holds, if there is one."""
        if not self.path.exists():
            return None
        remedy, content = "; remove it to start afresh", io.BytesIO(self.path.read_bytes())
        try:
            state: dict[str, Any] = torch.load(content, map_location="cpu", weights_only=True)
            state["epoch"], parts, random_numbers = int(state["epoch"]), dict(state["parts"]), dict(state["random"])
            if lacking := {"torch", "cuda", "python", "numpy"} - random_numbers.keys():
                raise ValueError(f"it lacks the random numbers of {', '.join(sorted(lacking))}")
        except (RuntimeError, pickle.UnpicklingError, EOFError, KeyError, TypeError, ValueError, OSError) as error:
            raise ValueError(f"{str(self.path)!r} isn't a checkpoint ({_first_line(error)}){remedy}") from error
        if parts.keys() != self.parts.keys():
            there, here = (", ".join(sorted(names)) for names in (parts, self.parts))
            raise ValueError(f"checkpoint {str(self.path)!r} holds {there}, not {here}{remedy}")
        return state

    def _agree(self, error: Exception | None, *numbers: int) -> list[list[int]]:
        """Return the numbers of every rank; or raise the same on all, if there is an error on one."""
        if self._ranks is not None:
            return self._ranks.sync_or_raise(error, *numbers)
        if error is not None:
            raise error
        return [[*numbers]]

    def _random_states(self) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Return the random numbers of this rank, and those of all ranks but the first."""
        own = _random_state()
        if self._ranks is None:
            return own, []
        own["generators"] = {
            name: part.get_state() for name, part in self.parts.items() if isinstance(part, torch.Generator)
        }
        file = io.BytesIO()
        torch.save(own, file)
        given = torch.frombuffer(bytearray(file.getvalue()), dtype=torch.uint8)
        lengths = [row[0] for row in self._ranks.sync_or_raise(None, len(given))]
        _, *others = self._ranks.all_gather_ragged(given, lengths)
        return own, [torch.load(io.BytesIO(state.numpy().tobytes()), weights_only=True) for state in others]


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split("\n")[0].split())[:200] or type(error).__name__


def _prove(parts: dict[str, Any]) -> None:
    """See to it that what is saved can be loaded, while there is something to be done about it."""
    for name, state in parts.items():
        file = io.BytesIO()
        torch.save(state, file)
        file.seek(0)
        try:
            torch.load(file, weights_only=True)
        except pickle.UnpicklingError as error:
            raise TypeError(
                f"the state of {name} must be of tensors, numbers, strings and containers of these, or it can't be "
                f"loaded with weights_only=True: {_first_line(error)}"
            ) from error


def _state(part: Stateful | torch.Generator) -> Any:
    return part.get_state() if isinstance(part, torch.Generator) else part.state_dict()


def _random_state() -> dict[str, Any]:
    """Return the states of all global generators as tensors and numbers, which load with weights_only=True."""
    version, words, gauss = random.getstate()
    on_gpus = torch.cuda.is_initialized()  # type: ignore[no-untyped-call] # asking for the states would start CUDA
    name, keys, position, has_gauss, cached = np.random.get_state()  # noqa: NPY002 - what training code may draw from
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if on_gpus else [],
        "python": [version, torch.tensor(words), gauss],
        "numpy": [name, torch.from_numpy(np.asarray(keys).astype(np.int64)), position, has_gauss, cached],
    }


def _seed(state: Tensor, rank: int) -> None:
    """Seed all global generators with a number made of a generator's state and a rank."""
    digest = hashlib.blake2b(state.numpy().tobytes() + rank.to_bytes(8, "little"), digest_size=4)
    seed = int.from_bytes(digest.digest(), "little")
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002


def _set_random_state(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_available():
        for device, numbers in enumerate(state["cuda"][: torch.cuda.device_count()]):  # there may be fewer now
            torch.cuda.set_rng_state(numbers, device)
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words.tolist()), gauss))
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, cached))  # noqa: NPY002
