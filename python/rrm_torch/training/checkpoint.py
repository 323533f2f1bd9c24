"""Checkpoints: an interrupted run resumes bit for bit."""

from __future__ import annotations

import io
import operator
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from rrm_core._atomic_write import atomic_write, resolve_output

from .._rollback import all_or_nothing
from ..distributed import FullState, ProcessGroup
from ..distributed.process_group import first_mismatch, stable_hash
from ..losses.elr import ELR
from ..weighting.base import BaseRRM
from . import checkpoint_file, random_state
from .stateful import Stateful, load_into, restorer_of

MAX_EPOCH = 2**53
"""More epochs than any run has."""


class Checkpoint:
    """A file with everything that a training run needs to resume, written atomically after each epoch.

    It holds the states of the objects, the number of epochs done, and the states of the global random number
    generators: of torch, on the CPU and on every GPU, of NumPy and of Python. It is a file of ``torch.save`` with a
    SHA-256 in the comment of the archive, by which `load` detects damage.

    Parameters
    ----------
    path : str or Path
        The file, which need not exist. Its folder must exist, and all ranks must see it.
    ranks : ProcessGroup, optional
        `rrm_torch.distributed.ProcessGroup` of a run with several ranks. All ranks must call `save` and `load`; rank 0
        writes the file, with the random states of all ranks. A run may resume with another number of ranks.
    **objects : Stateful or torch.Generator
        Everything whose state changes during training, by name: at least the model, its optimizer, the RRM, and the
        generator that shuffles the loader if it has its own.

    Raises
    ------
    TypeError
        An object is neither Stateful nor a generator; or it is an ELR and there are several ranks, because each rank's
        ELR has the averages of other samples.
    OSError
        No file can be written at the path: for example, the folder doesn't exist, or the path is that of a folder.

    Examples
    --------
    >>> import tempfile, torch
    >>> from rrm_torch import Checkpoint
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
        self, path: str | Path, ranks: ProcessGroup | None = None, /, **objects: Stateful | torch.Generator
    ) -> None:
        self.path = Path(path)
        self.objects = objects
        self._ranks = ranks
        self._is_loadable = False
        for name, value in objects.items():
            if not isinstance(value, (torch.Generator, Stateful)):
                raise TypeError(
                    f"{name} must be a torch.Generator or have state_dict() and load_state_dict(), "
                    f"got {type(value).__name__}"
                )
            if ranks is not None and isinstance(value, ELR):
                raise TypeError(f"{name} can't be saved: each rank's ELR has only the averages of its own samples")
        resolve_output(self.path, "checkpoint")

    def contents(self) -> list[Any]:
        """Return the objects, and those inside them: the model and the optimizer of a FullState."""
        pairs = [value for value in self.objects.values() if isinstance(value, FullState)]
        return [*self.objects.values(), *(value for pair in pairs for value in (pair.model, pair.optimizer))]

    def save(self, epoch: int) -> None:
        """Replace the file by the state after `epoch`. If the process is killed, the file is the old or the new one.

        Killed while it writes, the process leaves a file ``NAME.<16 hexadecimal digits>.tmp`` in the same folder, which
        can be removed.

        Parameters
        ----------
        epoch : int
            Number of epochs done, at least 0.

        Raises
        ------
        OSError
            The file can't be written; an old file is left unchanged.
        ValueError
            The objects' names differ between ranks, or `epoch` is negative.
        TypeError
            A state contains a value that ``torch.load(weights_only=True)`` rejects, such as a NumPy scalar; or `epoch`
            isn't an integer.
        """
        epoch = operator.index(epoch)
        if not 0 <= epoch < MAX_EPOCH:
            raise ValueError(f"epoch must lie in [0, 2**53), got {epoch}; it is the number of epochs done")
        hashes = [row[0] for row in self._sync_or_raise(None, stable_hash(sorted(self.objects)))]
        if other := first_mismatch(hashes):
            raise ValueError(
                f"rank {other} has other objects than rank 0; pass objects of the same names to Checkpoint on all ranks"
            )
        states = self._states()
        rank_0_random, other_random = self._random_states()
        content = {"epoch": epoch, "parts": states, "random": rank_0_random, "others": other_random}
        error: Exception | None = None
        if self._rank == 0:
            try:
                if not self._is_loadable:
                    _check_loadable(states | {"NumPy's global generator": rank_0_random["numpy"]})
                    self._is_loadable = True
                with atomic_write(self.path) as file:
                    checkpoint_file.write(content, file)
            except Exception as write_error:
                error = write_error
        self._sync_or_raise(error)

    def load(self) -> int:
        """Restore the state in the file, if there is one.

        The file is read and verified before anything changes. Then all objects and the global random number generators
        are restored, or none: if one fails or is interrupted, the others are put back. Ctrl-C and other signals with a
        Python handler take effect once this is done. Until then there is a copy of the old model on the host, and of
        the old states of objects that are neither torch's nor rrm_torch's.

        Returns
        -------
        int
            Number of epochs done; 0 without a file.

        Raises
        ------
        ValueError
            The file isn't a valid checkpoint, or is damaged; it holds other objects, or was saved for another data set
            or with other settings; or the ranks see different files. Nothing has changed.
        OSError
            The file can't be read. Nothing has changed.

        Notes
        -----
        Objects that are neither torch's nor rrm_torch's are put back by their own ``load_state_dict``; if that fails,
        its error is raised. Of a module, parameters, buffers and extra states are put back, but a lazy module keeps the
        parameters that it has made. If a rank is killed while the ranks end this call, others may have the new state.
        """
        # Tensors made in inference mode could not be trained later.
        with torch.inference_mode(False):
            content = self._read_on_all_ranks()
            if content is None:
                return 0
            other_random = content["others"]
            random = content["random"]
            if 1 <= self._rank <= len(other_random):
                random = other_random[self._rank - 1]
            states = content["parts"] | random.get("generators", {})
            # If the file was saved with fewer ranks, this rank must not repeat the random numbers of another one.
            seeds_rank = self._rank > len(other_random)
            all_or_nothing(lambda: self._restore_all(states, random, seeds_rank=seeds_rank), self._restorers())
        epoch: int = content["epoch"]
        return epoch

    @property
    def _rank(self) -> int:
        return 0 if self._ranks is None else self._ranks.rank

    def _sync_or_raise(self, error: Exception | None, *numbers: int) -> list[list[int]]:
        """Return the numbers of every rank; raise the same error on all ranks if there is an error on one."""
        if self._ranks is not None:
            return self._ranks.sync_or_raise(error, *numbers)
        if error is not None:
            raise error
        return [[*numbers]]

    def _states(self) -> dict[str, Any]:
        """Return the states of all objects by name; raise on all ranks if that fails on one."""
        states: dict[str, Any] = {}
        first_error: Exception | None = None
        # In the same order on all ranks, because some states need communication.
        for name in sorted(self.objects):
            value = self.objects[name]
            try:
                states[name] = value.get_state() if isinstance(value, torch.Generator) else value.state_dict()
            except Exception as error:
                # RRM and FullState communicate: the other ranks have failed, too, or would wait in another collective.
                if isinstance(value, (BaseRRM, FullState)):
                    raise
                first_error = first_error or error
        self._sync_or_raise(first_error)
        return states

    def _random_states(self) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Return this rank's random state, and those of ranks 1, 2, ..."""
        local = random_state.capture()
        if self._ranks is None:
            return local, []
        local["generators"] = {
            name: value.get_state() for name, value in self.objects.items() if isinstance(value, torch.Generator)
        }
        file = io.BytesIO()
        torch.save(local, file)
        data = torch.frombuffer(bytearray(file.getvalue()), dtype=torch.uint8)
        lengths = [row[0] for row in self._ranks.sync_or_raise(None, len(data))]
        _, *others = self._ranks.all_gather_ragged(data, lengths)
        return local, [torch.load(io.BytesIO(other.numpy().tobytes()), weights_only=True) for other in others]

    def _read_on_all_ranks(self) -> dict[str, Any] | None:
        """Return the file's content, or None without a file; raise on all ranks if that fails on one."""
        content = None
        error: Exception | None = None
        try:
            content = self._read()
        except Exception as read_error:  # any error, so that no rank waits for this one
            error = read_error
        epoch = -1 if content is None else content["epoch"]
        epochs = [row[0] for row in self._sync_or_raise(error, epoch)]
        if len(set(epochs)) > 1:
            raise ValueError(
                f"ranks find different checkpoints at {str(self.path)!r}, after epochs {epochs} (-1: no file); all "
                "ranks must see the same folder"
            )
        return content

    def _read(self) -> dict[str, Any] | None:
        """Return the file's content after checking it, or None without a file."""
        if not self.path.exists():
            return None
        hint = "; remove it to start afresh"
        try:
            with self.path.open("rb") as file:
                content = checkpoint_file.read(file)
            self._check_entries(content)
        except ValueError as error:
            reason = checkpoint_file.first_line(error)
            raise ValueError(f"{str(self.path)!r} isn't a checkpoint ({reason}){hint}") from error
        states: dict[str, Any] = content["parts"]
        if states.keys() != self.objects.keys():
            saved = ", ".join(sorted(map(str, states)))
            expected = ", ".join(sorted(self.objects))
            raise ValueError(f"checkpoint {str(self.path)!r} holds {saved}, not {expected}{hint}")
        checked: dict[str, Any] = content
        return checked

    def _check_entries(self, content: Any) -> None:
        """Raise ValueError unless a file's content has the types and values that `save` writes."""
        types = {"epoch": int, "parts": dict, "random": dict, "others": list}
        for name, expected in types.items():
            value = content.get(name) if isinstance(content, dict) else None
            if type(value) is not expected:
                raise ValueError(f"its entry {name!r} is a {type(value).__name__}, not a {expected.__name__}")
        if not 0 <= content["epoch"] < MAX_EPOCH:
            raise ValueError(f"its epoch is {content['epoch']}")
        own_generators = {name for name, value in self.objects.items() if isinstance(value, torch.Generator)}
        for random in [content["random"], *content["others"]]:
            random_state.check(random)
            generators = random.get("generators", {})
            if not isinstance(generators, dict) or not generators.keys() <= own_generators:
                raise ValueError("its random states are those of other generators")

    def _restorers(self) -> dict[str, Callable[[], None]]:
        """Return functions that put back the current states, by name; raise on all ranks if that fails on one."""
        restorers: dict[str, Callable[[], None]] = {}
        error: Exception | None = None
        try:
            for name, value in self.objects.items():
                restorers[name] = restorer_of(value)
            restorers["the random state"] = random_state.restorer()
        except Exception as failure:
            error = failure
        self._sync_or_raise(error)
        return restorers

    def _restore_all(self, states: dict[str, Any], random: dict[str, Any], *, seeds_rank: bool) -> None:
        """Restore all objects and the global generators; raise on all ranks if that fails on one."""
        # RRM first: it detects another data set before the model is overwritten.
        for name in sorted(states, key=lambda name: not isinstance(self.objects[name], BaseRRM)):
            self._restore(name, states[name])
        error: Exception | None = None
        try:
            random_state.restore(random)
            if seeds_rank:
                random_state.seed_from(random["torch"], self._rank)
        except Exception as failure:
            error = failure
        self._sync_or_raise(error)

    def _restore(self, name: str, state: Any) -> None:
        """Restore the state of an object; raise on all ranks if that fails on one."""
        error: ValueError | None = None
        try:
            load_into(self.objects[name], state)
        except Exception as cause:  # any error, so that no rank waits for this one
            reason = " ".join(str(cause).split()) or type(cause).__name__
            error = ValueError(f"{name} of checkpoint {str(self.path)!r} doesn't match: {reason}")
            error.__cause__ = cause
        self._sync_or_raise(error)


def _check_loadable(states: dict[str, Any]) -> None:
    """Raise TypeError if a state can be saved, but not loaded."""
    for name, state in states.items():
        file = io.BytesIO()
        checkpoint_file.write(state, file)
        try:
            checkpoint_file.read(file)
        except ValueError as error:
            raise TypeError(
                f"the state of {name} must consist of tensors, numbers, strings and containers of these, otherwise it "
                f"can't be loaded with weights_only=True: {error}"
            ) from error
