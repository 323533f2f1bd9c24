"""Which samples a rank owns."""

from __future__ import annotations

BYTE = 8  # samples whose bits share one


def slice_of(n: int, rank: int, size: int) -> tuple[int, int]:
    """Return the first index of a rank's slice of n samples, and the one after its last.

    Slices are as even as multiples of 8 allow, so that bits packed by slice are those packed as a whole. With fewer
    than 8 samples a rank, some are empty.

    Parameters
    ----------
    n : int
        Samples in all.
    rank, size : int
        The rank, and how many there are.

    Returns
    -------
    begin, end : int

    Examples
    --------
    >>> [slice_of(100, rank, 3) for rank in range(3)]
    [(0, 32), (32, 64), (64, 100)]
    """
    blocks = -(-n // BYTE)
    return min(BYTE * (blocks * rank // size), n), min(BYTE * (blocks * (rank + 1) // size), n)
