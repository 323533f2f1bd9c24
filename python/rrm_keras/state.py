"""States of a run in a file: the last two, so that one of them fits the checkpoint that a run resumes from."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import astuple
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

import rrm_core
from rrm_core._agreement import Round
from rrm_core._atomic_write import atomic_write
from rrm_core._warmup_end import Agreement

from .run import RunState, held_out
from .settings import Settings
from .warmup import Predictions, Warmup

FORMAT = 2
"""Number of the format of the file."""

SAMPLE_ARRAYS = {
    "weights": np.dtype(np.float32),
    "losses": np.dtype(np.float32),
    "is_pruned": np.dtype(bool),
    "n_planned": np.dtype(np.int32),
    "n_pruned": np.dtype(np.int32),
    "excess_sum": np.dtype(np.float64),
}
"""Attributes of a `RunState` with a number for each sample."""

Arrays: TypeAlias = dict[str, npt.NDArray[Any]]


def save_states(path: str | os.PathLike[str], settings: Settings, states: list[RunState]) -> None:
    """Write states to a file, which is replaced as a whole.

    Raises
    ------
    OSError
        The file can't be written.
    """
    header = {"format": FORMAT, "settings": settings.describe(), "states": [_numbers(state) for state in states]}
    arrays: Arrays = {"header": np.array(json.dumps(header))}
    for position, state in enumerate(states):
        arrays |= {f"{position}.{name}": array for name, array in _arrays(state).items()}
    with atomic_write(path) as file:
        np.savez(file, allow_pickle=False, **arrays)


def load_states(path: str | os.PathLike[str], settings: Settings) -> list[RunState]:
    """Return the states in a file, without their plans; none if there is no file.

    Raises
    ------
    ValueError
        It is no file of states, or one of other settings or samples.
    """
    if not Path(path).exists():
        return []
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        header = json.loads(str(arrays["header"]))
        saved_settings = header["settings"]
        if header["format"] != FORMAT:
            raise ValueError(f"format {header['format']}")
        if saved_settings == settings.describe():
            return [_read(numbers, _part(arrays, k), settings) for k, numbers in enumerate(header["states"])]
    except (ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"state_path: {path} is no state of RRMCallback that can be read ({error}); delete it, and begin the run "
            "again"
        ) from error
    raise ValueError(
        f"state_path: {path} is the state of a run with other settings or another number of samples; give the settings "
        "that it began with, or delete it and begin the run again"
    )


def _part(arrays: Arrays, position: int) -> Arrays:
    """Return the arrays of one state by their names."""
    prefix = f"{position}."
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _numbers(state: RunState) -> dict[str, Any]:
    """Return what is not in arrays."""
    numbers: dict[str, Any] = {
        "epoch": state.epoch,
        "n_reweights": state.n_reweights,
        "warmup_end": state.warmup_end,
        "warmup": None,
        "estimate": None,
    }
    if state.warmup is not None:
        agreement = state.warmup.agreement
        numbers["warmup"] = {
            "rounds": [list(astuple(entry)) for entry in agreement.rounds],
            "n_calls": agreement.n_calls,
            "passes": len(state.warmup.passes),
            "best_passes": len(state.warmup.best_passes),
        }
    if state.estimate is not None:
        estimate = state.estimate
        numbers["estimate"] = {
            "contamination": estimate.contamination,
            "interval": estimate.interval,
            "n": estimate.n,
            "n_held_out": estimate.n_held_out,
            "basis": estimate.basis,
            "epoch": estimate.epoch,
        }
    return numbers


def _arrays(state: RunState) -> Arrays:
    arrays: Arrays = {name: getattr(state, name) for name in SAMPLE_ARRAYS}
    if state.warmup is not None:
        for kind in ("passes", "best_passes"):
            for number, entry in enumerate(getattr(state.warmup, kind)):
                arrays |= {f"{kind}.{number}.{name}": array for name, array in entry._asdict().items()}
    if state.estimate is not None:
        arrays["estimate.pairs"] = state.estimate.pairs
    return arrays


def _read(numbers: Mapping[str, Any], arrays: Arrays, settings: Settings) -> RunState:
    """Return a state; raise a ValueError, TypeError or KeyError if it has other parts than it should."""
    for name, dtype in SAMPLE_ARRAYS.items():
        if arrays[name].shape != (settings.n,) or arrays[name].dtype != dtype:
            raise ValueError(f"{name} has shape {arrays[name].shape} and type {arrays[name].dtype}")
    warmup = None
    if numbers["warmup"] is not None:
        saved = numbers["warmup"]
        agreement = Agreement(tuple(Round(*entry) for entry in saved["rounds"]), saved["n_calls"])
        passes = _read_predictions(arrays, "passes", saved["passes"])
        best_passes = _read_predictions(arrays, "best_passes", saved["best_passes"])
        warmup = Warmup(held_out(settings), agreement, passes, best_passes)
    estimate = None
    if numbers["estimate"] is not None:
        saved = dict(numbers["estimate"])
        interval = saved.pop("interval")
        pairs = arrays["estimate.pairs"]
        pairs.flags.writeable = False
        estimate = rrm_core.ContaminationEstimate(
            **saved, interval=None if interval is None else tuple(interval), by_group=None, pairs=pairs
        )
    per_sample: dict[str, Any] = {name: arrays[name] for name in SAMPLE_ARRAYS}
    return RunState(
        epoch=numbers["epoch"],
        n_reweights=numbers["n_reweights"],
        warmup_end=numbers["warmup_end"],
        warmup=warmup,
        estimate=estimate,
        **per_sample,
    )


def _read_predictions(arrays: Arrays, kind: str, n_passes: int) -> tuple[Predictions, ...]:
    names = Predictions._fields
    return tuple(Predictions(*(arrays[f"{kind}.{number}.{name}"] for name in names)) for number in range(n_passes))
