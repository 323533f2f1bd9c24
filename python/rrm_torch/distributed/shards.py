"""The slice of the samples that a rank stores."""

from __future__ import annotations

# Samples whose bits share a byte.
BYTE = 8


def slice_of(n: int, rank: int, size: int) -> tuple[int, int]:
    """Return the first index of a rank's slice of n samples, and the one after its last.

    Slices begin at multiples of 8, so that bits packed by slice are the bytes of those packed as a whole, and are
    otherwise as equal as possible. With fewer than 8 samples a rank, some are empty.

    Parameters
    ----------
    n : int
        Number of samples.
    rank, size : int
        The rank, and the number of ranks.

    Returns
    -------
    start, end : int

    Examples
    --------
    >>> from rrm_torch.distributed import slice_of
    >>> [slice_of(100, rank, 3) for rank in range(3)]
    [(0, 32), (32, 64), (64, 100)]
    """
    n_bytes = -(-n // BYTE)
    start = BYTE * (n_bytes * rank // size)
    end = BYTE * (n_bytes * (rank + 1) // size)
    return min(start, n), min(end, n)
