"""How much memory the arrays of a file may take that is read as a whole."""

from __future__ import annotations

import math
import os
from pathlib import Path

from rrm_core._arguments import as_integer

SHARE_DIVISOR = 4  # one part in four of the memory
UNKNOWN_MEMORY = 8 << 30  # bytes, where the system does not say

# Limits of a container: of cgroup v2 and v1.
_CONTAINER_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def check_max_bytes(max_bytes: int | None) -> int:
    """Return the limit in bytes; by default a quarter of this machine's memory.

    Raises
    ------
    ValueError
        `max_bytes` is not a whole number of at least 1.
    """
    if max_bytes is None:
        return int(_memory() / SHARE_DIVISOR)
    return as_integer("max_bytes", max_bytes, 1, "a whole number of bytes, at least 1, or None")


def refuse_too_large(what: str, n_bytes: int, limit: int) -> None:
    """Raise a ValueError if `what` would take more than `limit` bytes."""
    if n_bytes > limit:
        raise ValueError(
            f"{what} would take {n_bytes:,} bytes, of {limit:,} that are left of max_bytes; pass a larger max_bytes if "
            "the file is trusted"
        )


def _memory() -> float:
    """Return the memory of this machine, or of the container, in bytes."""
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        memory = UNKNOWN_MEMORY
    return min([memory, *(_read_limit(path) for path in _CONTAINER_LIMITS)])


def _read_limit(path: str) -> float:
    """Return the limit of a container; infinity if there is none."""
    try:
        return int(Path(path).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return math.inf
