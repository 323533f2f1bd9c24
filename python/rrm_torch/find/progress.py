"""The progress of a search."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Progress: TypeAlias = Callable[[int, "int | None", str], None]
"""Called as ``progress(done, total, what)``: `done` of `total` samples, in the activity `what`."""
