"""The state of RRM in the folder of a checkpoint of transformers' Trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rrm_core._atomic_write import atomic_write

from ..training import checkpoint_file

STATE_FILE = "rrm.pt"


def write_state(state: dict[str, Any], folder: Path) -> None:
    """Write a state to the folder of a checkpoint.

    Raises
    ------
    OSError
        It can't be written.
    """
    with atomic_write(folder / STATE_FILE) as file:
        checkpoint_file.write(state, file)


def read_state(folder: Path) -> dict[str, Any]:
    """Return the state in the folder of a checkpoint.

    Raises
    ------
    FileNotFoundError
        The checkpoint was saved without one.
    """
    path = folder / STATE_FILE
    if not path.exists():
        raise FileNotFoundError(
            f"the checkpoint {str(folder)!r} has no {STATE_FILE}: it was saved without RRM, or with "
            "save_only_model=True; begin the run again"
        )
    with path.open("rb") as file:
        state: dict[str, Any] = checkpoint_file.read(file)
    return state
