"""The ranks of a job, and the few ways in which they talk: all of fixed, small size, on the group's device."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

PIECE = 1 << 17  # numbers that travel at a time: 1 MiB
NUMBERS, WORDS = 8, 64  # of a roll call's row: numbers, and in all; the rest holds what is wrong, as text
MARK = 0x72726D_00  # the first of them if nothing is wrong, by which a row is known
KINDS = (ValueError, TypeError, IndexError, OSError)  # errors that travel as what they are; others as RuntimeError


def stable_hash(content: object) -> int:
    """Return a hash of what something says of itself, for a roll call: by it ranks notice that theirs differ."""
    return int.from_bytes(hashlib.blake2b(repr(content).encode(), digest_size=7).digest(), "little")


def first_mismatch(numbers: Sequence[int]) -> int | None:
    """Return the first rank whose number differs from that of rank 0, or None if all are equal."""
    return next((rank for rank, number in enumerate(numbers) if number != numbers[0]), None)


class ProcessGroup:
    """The processes of a torch.distributed group.

    Parameters
    ----------
    group : ProcessGroup, optional
        By default all ranks.

    Attributes
    ----------
    rank, size : int
        This process's, within the group, and how many there are.
    device : torch.device
        Where the group's backend wants tensors: a GPU for NCCL, the host for gloo.
    traffic : Counter of str
        Of each kind of collective, how often it was called (``"sum calls"``) and how many bytes this rank gave
        (``"sum bytes"``).

    Raises
    ------
    RuntimeError
        torch.distributed isn't initialised, or this process isn't in the group.
    """

    def __init__(self, group: dist.ProcessGroup | None = None) -> None:
        if not (dist.is_available() and dist.is_initialized()):
            raise RuntimeError(
                "there are no ranks: start the script with torchrun, and call torch.distributed.init_process_group() "
                "before this"
            )
        self.group, self.rank, self.size = group, dist.get_rank(group), dist.get_world_size(group)
        if self.rank < 0:
            raise RuntimeError("this process isn't in the group; give the group that it belongs to")
        on_gpu = dist.get_backend(group) == "nccl"
        self.device = torch.device("cuda", torch.cuda.current_device()) if on_gpu else torch.device("cpu")
        self.traffic: Counter[str] = Counter()

    def all_reduce_sum(self, numbers: Tensor) -> Tensor:
        """Return the sums over all ranks of numbers, as many on every rank; on the device of `numbers`."""
        return self._reduced("sum", dist.ReduceOp.SUM, numbers)

    def all_reduce_min(self, numbers: Tensor) -> Tensor:
        """Return the least of all ranks' numbers, one by one."""
        return self._reduced("minimum", dist.ReduceOp.MIN, numbers)

    def all_reduce_max(self, numbers: Tensor) -> Tensor:
        """Return the greatest of all ranks' numbers, one by one."""
        return self._reduced("maximum", dist.ReduceOp.MAX, numbers)

    def all_gather(self, row: Tensor) -> Tensor:
        """Return all ranks' rows of int64, of the same length, in their order: shape (size, length), on the host."""
        return torch.stack(self.all_gather_ragged(row.cpu(), [len(row)] * self.size))

    def all_gather_ragged(self, own: Tensor, lengths: Sequence[int]) -> list[Tensor]:
        """Return all ranks' tensors, in their order, which differ at most in length; and all know all lengths."""
        size = own.new_empty(1, *own.shape[1:]).nbytes
        given = torch.zeros(max(lengths) * size, dtype=torch.uint8, device=self.device)
        given[: own.nbytes] = own.contiguous().view(-1).view(torch.uint8).to(self.device)
        found: list[list[Tensor]] = [[] for _ in lengths]
        for piece in torch.split(given, 8 * PIECE):
            pieces = [torch.empty_like(piece) for _ in lengths]
            self._call("gather", piece, partial(dist.all_gather, pieces, piece, self.group))
            for of_rank, part in zip(found, pieces, strict=True):
                of_rank.append(part)
        return [
            torch.cat(of_rank)[: length * size].to(own.device).view(own.dtype).view(length, *own.shape[1:])
            for of_rank, length in zip(found, lengths, strict=True)
        ]

    def sync_or_raise(self, error: Exception | None, *numbers: int) -> list[list[int]]:
        """Return the numbers that every rank gives; or raise the same on all, if there is an error on any of them.

        Parameters
        ----------
        error : Exception, optional
            What is wrong on this rank.
        *numbers : int
            At most seven.

        Raises
        ------
        Exception
            That of the first rank that has one, of its type, its message preceded by ``rank r:``.
        """
        row = torch.zeros(WORDS, dtype=torch.int64)
        row[0] = MARK
        row[1 : 1 + len(numbers)] = torch.tensor(numbers, dtype=torch.int64)
        if error is not None:
            row[0] += 1 + [isinstance(error, kind) for kind in (*KINDS, object)].index(True)
            text = (str(error) or type(error).__name__).encode(errors="replace")[: 8 * (WORDS - NUMBERS)]
            padded = text.ljust(8 * (WORDS - NUMBERS), b"\0")
            row[NUMBERS:] = torch.frombuffer(bytearray(padded), dtype=torch.int64)
        try:
            rows = self.all_gather(row)
        except RuntimeError as lost:
            if error is not None:  # the others went on to something else, and can't be told
                raise error from lost
            raise
        kinds = [number - MARK for number in rows[:, 0].tolist()]
        if not set(kinds) <= set(range(len(KINDS) + 2)):
            raise RuntimeError("ranks don't do the same: all must call the same methods, in the same order") from error
        for rank, (kind, found) in enumerate(zip(kinds, rows, strict=True)):
            if kind:
                what = found[NUMBERS:].numpy().tobytes().rstrip(b"\0").decode(errors="ignore")
                raise (*KINDS, RuntimeError)[kind - 1](f"rank {rank}: {what}") from (
                    error if rank == self.rank else None
                )
        return rows[:, 1 : 1 + len(numbers)].tolist()

    def _reduced(self, kind: str, operation: Any, numbers: Tensor) -> Tensor:
        own = numbers.to(self.device, copy=True).contiguous()
        for begin in range(0, len(own), PIECE):
            piece = own[begin : begin + PIECE]
            self._call(kind, piece, partial(dist.all_reduce, piece, operation, self.group))
        return own.to(numbers.device)

    def _call(self, kind: str, sent: Tensor, collective: Callable[[], Any]) -> None:
        self.traffic[f"{kind} calls"] += 1
        self.traffic[f"{kind} bytes"] += sent.nbytes
        try:
            collective()
        except RuntimeError as error:
            what = " ".join(str(error).split("\n")[0].split())
            raise RuntimeError(
                f"rank {self.rank} of {self.size} has lost the others: one has ended, or didn't come within the "
                f"group's timeout; start all again, from the last checkpoint, which is whole ({what})"
            ) from error
