"""A process group and the collectives used here, each with a small, fixed message size."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

# Numbers per message: 1 MiB of int64.
PIECE = 1 << 17

# A row of `sync_or_raise` has WORDS words: a status, up to eleven numbers, and from MESSAGE_START an error message.
MESSAGE_START = 12
WORDS = 64

# The status of a rank without an error. It starts with the bytes "rrm", so that a message of another collective is not
# taken for a row.
STATUS_OK = 0x72726D_00

# Errors that are raised with their own type on the other ranks; others become a RuntimeError.
ERROR_TYPES = (ValueError, TypeError, IndexError, OSError)


def stable_hash(content: object) -> int:
    """Return a hash of an object's repr, the same in every process, by which ranks compare what they were given."""
    return int.from_bytes(hashlib.blake2b(repr(content).encode(), digest_size=7).digest(), "little")


def first_mismatch(numbers: Sequence[int]) -> int | None:
    """Return the first rank whose number differs from that of rank 0, or None if all are equal."""
    return next((rank for rank, number in enumerate(numbers) if number != numbers[0]), None)


class ProcessGroup:
    """The processes of a torch.distributed group. Its methods are collective: all ranks call them in the same order.

    Parameters
    ----------
    group : torch.distributed.ProcessGroup, optional
        By default all ranks.

    Attributes
    ----------
    rank, size : int
        This process's rank in the group, and the number of ranks.
    device : torch.device
        Where the group's backend needs tensors: the GPU for NCCL, the host for gloo.
    traffic : Counter of str
        For each kind of collective, the number of calls (``"sum calls"``) and the bytes that this rank sent
        (``"sum bytes"``).

    Raises
    ------
    RuntimeError
        torch.distributed is not initialised, or this process is not in the group.
    """

    def __init__(self, group: dist.ProcessGroup | None = None) -> None:
        if not (dist.is_available() and dist.is_initialized()):
            raise RuntimeError(
                "there are no ranks: start the script with torchrun, and call torch.distributed.init_process_group() "
                "before this"
            )
        self.group = group
        self.rank = dist.get_rank(group)
        self.size = dist.get_world_size(group)
        if self.rank < 0:
            raise RuntimeError("this process isn't in the group; give the group that it belongs to")
        self.device = torch.device("cpu")
        if dist.get_backend(group) == "nccl":
            self.device = torch.device("cuda", torch.cuda.current_device())
        self.traffic: Counter[str] = Counter()

    def all_reduce_sum(self, numbers: Tensor) -> Tensor:
        """Return the elementwise sums of the ranks' numbers, of one shape on all, on the device of `numbers`."""
        return self._all_reduce("sum", dist.ReduceOp.SUM, numbers)

    def all_reduce_min(self, numbers: Tensor) -> Tensor:
        """Return the elementwise minima of the ranks' numbers, of one shape on all, on the device of `numbers`."""
        return self._all_reduce("minimum", dist.ReduceOp.MIN, numbers)

    def all_reduce_max(self, numbers: Tensor) -> Tensor:
        """Return the elementwise maxima of the ranks' numbers, of one shape on all, on the device of `numbers`."""
        return self._all_reduce("maximum", dist.ReduceOp.MAX, numbers)

    def all_gather(self, row: Tensor) -> Tensor:
        """Return the ranks' rows of int64, which have one length: shape (size, length), on the host."""
        return torch.stack(self.all_gather_ragged(row.cpu(), [len(row)] * self.size))

    def all_gather_ragged(self, tensor: Tensor, lengths: Sequence[int]) -> list[Tensor]:
        """Return the tensors of all ranks, which may differ in length.

        Parameters
        ----------
        tensor : Tensor, shape (lengths[rank], ...)
            Of this rank.
        lengths : sequence of int
            The lengths on all ranks, the same on every rank.

        Returns
        -------
        list of Tensor
            In the order of the ranks, on the device of `tensor`.
        """
        item_bytes = tensor.new_empty(1, *tensor.shape[1:]).nbytes
        # Collectives need one length: each rank pads its bytes to the longest.
        padded = torch.zeros(max(lengths) * item_bytes, dtype=torch.uint8, device=self.device)
        padded[: tensor.nbytes] = tensor.contiguous().view(-1).view(torch.uint8).to(self.device)
        received: list[list[Tensor]] = [[] for _ in lengths]
        for piece in torch.split(padded, 8 * PIECE):
            pieces = [torch.empty_like(piece) for _ in lengths]
            self._call("gather", piece, partial(dist.all_gather, pieces, piece, self.group))
            for parts, part in zip(received, pieces, strict=True):
                parts.append(part)
        tensors = []
        for parts, length in zip(received, lengths, strict=True):
            content = torch.cat(parts)[: length * item_bytes].to(tensor.device)
            tensors.append(content.view(tensor.dtype).view(length, *tensor.shape[1:]))
        return tensors

    def sync_or_raise(self, error: Exception | None, *numbers: int) -> list[list[int]]:
        """Return the numbers of every rank; if a rank passes an error, raise it on all ranks instead.

        Parameters
        ----------
        error : Exception, optional
            The error of this rank.
        *numbers : int
            At most eleven.

        Raises
        ------
        Exception
            The error of the first rank that passes one, of its type, its message preceded by ``rank r:``.
        RuntimeError
            Another rank called something else.
        """
        try:
            rows = self.all_gather(_row(error, numbers))
        except RuntimeError as lost:
            # The other ranks exited or called another collective: only this rank can raise its error.
            if error is not None:
                raise error from lost
            raise
        statuses = [status - STATUS_OK for status in rows[:, 0].tolist()]
        if not set(statuses) <= set(range(len(ERROR_TYPES) + 2)):
            raise RuntimeError(
                "ranks called different collectives: all ranks must call the same methods in the same order"
            ) from error
        for rank, (status, row) in enumerate(zip(statuses, rows, strict=True)):
            if status:
                message = row[MESSAGE_START:].numpy().tobytes().rstrip(b"\0").decode(errors="ignore")
                error_type = (*ERROR_TYPES, RuntimeError)[status - 1]
                raise error_type(f"rank {rank}: {message}") from (error if rank == self.rank else None)
        return rows[:, 1 : 1 + len(numbers)].tolist()

    def _all_reduce(self, kind: str, operation: Any, numbers: Tensor) -> Tensor:
        reduced = numbers.to(self.device, copy=True).contiguous()
        for start in range(0, len(reduced), PIECE):
            piece = reduced[start : start + PIECE]
            self._call(kind, piece, partial(dist.all_reduce, piece, operation, self.group))
        return reduced.to(numbers.device)

    def _call(self, kind: str, sent: Tensor, collective: Callable[[], Any]) -> None:
        """Call a collective, count the bytes sent, and explain a failure."""
        self.traffic[f"{kind} calls"] += 1
        self.traffic[f"{kind} bytes"] += sent.nbytes
        try:
            collective()
        except RuntimeError as error:
            cause = " ".join(str(error).split("\n")[0].split())
            raise RuntimeError(
                f"a collective failed on rank {self.rank} of {self.size}: another rank exited, or exceeded the group's "
                f"timeout; restart all ranks from the last checkpoint, which is complete ({cause})"
            ) from error


def _row(error: Exception | None, numbers: Sequence[int]) -> Tensor:
    """Return what a rank sends in `sync_or_raise`: int64, shape (WORDS,)."""
    assert len(numbers) < MESSAGE_START
    row = torch.zeros(WORDS, dtype=torch.int64, device="cpu")
    row[0] = STATUS_OK
    row[1 : 1 + len(numbers)] = torch.tensor(numbers, dtype=torch.int64, device="cpu")
    if error is not None:
        row[0] += 1 + [isinstance(error, kind) for kind in (*ERROR_TYPES, object)].index(True)
        n_bytes = 8 * (WORDS - MESSAGE_START)
        text = (str(error) or type(error).__name__).encode(errors="replace")[:n_bytes]
        row[MESSAGE_START:] = torch.frombuffer(bytearray(text.ljust(n_bytes, b"\0")), dtype=torch.int64)
    return row
