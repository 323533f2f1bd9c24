"""Checks of a saved state: every entry is validated before anything is restored. All errors are ValueErrors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .._checks import is_dense
from .held_out import warmup_weights
from .prediction_state import check_predictions, read_estimate
from .reweight import Reweight
from .reweight_checks import MAX_EPOCH, TOLERANCE, check_bits, check_groups, equals, is_int, read_rounds
from .settings import BatchSettings, Settings
from .state import FLOATS, VERSION, Entry, entries


def check_state(state: Any, class_name: str, settings: BatchSettings) -> list[Reweight]:
    """Raise unless a state can be one of a class with these settings; return its reweights.

    Raises
    ------
    ValueError
        The settings or the data set differ, or an entry is missing or can't be right; the message says which.
    """
    if isinstance(state, Mapping) and "version" in state:  # before the entries, which depend on it
        _check_version(state["version"])
    check_entries(state, entries("rrm", "buffer"), "state", f"{class_name}.state_dict()")
    _check_origin(state, class_name, settings)
    n = settings.n
    epoch = state["epoch"]
    if not is_int(epoch) or not 0 <= epoch <= MAX_EPOCH:
        raise ValueError(f"state's epoch must be an integer in [0, {MAX_EPOCH}], got {epoch!r}")
    epochs = state["epochs"]
    if epochs is not None and not (is_int(epochs) and 0 < epochs <= MAX_EPOCH):
        raise ValueError(f"state's epochs must be None or an integer in [1, {MAX_EPOCH}], got {epochs!r}")
    _check_tensors(state, entries("rrm", "buffer"), n, "state's")
    floats = [state[entry.name] for entry in entries("rrm", "buffer") if entry.dtypes == FLOATS]
    dtypes = {value.dtype for value in floats if value is not None}
    if len(dtypes) > 1:
        raise ValueError(f"state's weights and losses must have one dtype, got {sorted(map(str, dtypes))}")
    _check_weights(state["weights"], n)
    _check_recorded(state)
    rounds = check_history(state["trajectory"], n)
    if rounds and rounds[-1].epoch > epoch:
        raise ValueError(f"state's last reweight followed epoch {rounds[-1].epoch}, after its epoch {epoch}")
    return rounds


def check_consistency(state: Mapping[str, Any], rounds: list[Reweight], settings: Settings) -> None:
    """Raise a ValueError unless the weights and losses of a state of `RRM` go with its reweights."""
    weights = state["weights"]
    losses = state["losses"]
    ranking = state["ranking"]
    warmup_end = _check_estimation(state, settings)
    if not rounds:
        if not _are_initial(weights, settings) or not bool(losses.isnan().all()) or ranking is not None:
            raise ValueError(
                "state's weights must be those of a warm-up, its losses NaN and its ranking None before the first "
                "reweight"
            )
        return
    for entry in rounds:
        _check_is_due(entry, settings, warmup_end)
    if settings.sample_groups is not None:
        check_groups(state["trajectory"]["bits"], rounds, settings.sample_groups)
    mean = float(weights.double().mean())
    if mean > 1 + TOLERANCE or (mean < 1 - TOLERANCE and settings.redistribute != "drop"):
        raise ValueError(f"state's weights must have mean 1, got {mean:g}; the file may be damaged")
    last = rounds[-1]
    if float(weights.max()) != last.largest_weight:
        raise ValueError(
            f"state's largest weight is {float(weights.max()):g}, and its last reweight says {last.largest_weight:g}; "
            "the file may be damaged"
        )
    if last.threshold is None:
        # With groups: their thresholds follow from the plan, which is made again.
        return
    numbers = losses if ranking is None else ranking
    pruned = (numbers > last.threshold).cpu().numpy()
    recorded_bits = state["trajectory"]["bits"][-1].cpu().numpy()
    was_pruned = np.unpackbits(recorded_bits, count=len(pruned)).view(bool)
    # Of a loss that is NaN, the bits say whether it was pruned or took no part.
    if bool((pruned != was_pruned)[~numbers.isnan().cpu().numpy()].any()):
        raise ValueError("state's bits don't say which losses are above the threshold; the file may be damaged")


def _check_estimation(state: Mapping[str, Any], settings: Settings) -> int | None:
    """Raise a ValueError unless a state has the predictions or estimate that its settings need.

    Returns the epoch or step that the estimate followed; None without one.
    """
    predictions = state["predictions"]
    estimate = read_estimate(state["estimate"])
    n_held = (predictions is not None) + (estimate is not None)
    if n_held != settings.needs_predictions:
        raise ValueError(
            f"state must hold {'either predictions or an estimate' if settings.needs_predictions else 'neither'}, as "
            f"its settings say, got {n_held} of them; the file may be damaged"
        )
    if predictions is not None:
        check_predictions(predictions, settings.n)
    if estimate is None:
        return None
    n_groups = settings.sample_groups.n_groups if settings.sample_groups is not None else 0
    if settings.estimates_by_group and (estimate.by_group is None or len(estimate.by_group) != n_groups):
        raise ValueError(f"state's estimate must have a share for each of {n_groups} groups; the file may be damaged")
    if estimate.epoch is None or estimate.epoch > state["epoch"]:
        raise ValueError(f"state's estimate follows epoch {estimate.epoch}, after its epoch {state['epoch']}")
    return estimate.epoch


def _are_initial(weights: Tensor, settings: Settings) -> bool:
    """Return whether the weights of all samples are those before the first reweight."""
    if not settings.needs_predictions:
        return bool((weights == 1).all())
    keeps_mass = settings.redistribute != "drop"
    expected = warmup_weights(settings.n, 0, settings.n, settings.seed, keeps_mass=keeps_mass)
    return bool((weights.cpu() == expected).all())


def _check_is_due(entry: Reweight, settings: Settings, warmup_end: int | None) -> None:
    """Raise a ValueError unless `RRM` reweights after the epoch of a reweight, with the rule that this had."""
    has_groups = entry.n_pruned_by_group is not None
    if has_groups != (settings.groups is not None) or (entry.threshold is None) != has_groups:
        raise ValueError(
            f"state has a reweight after {settings.unit} {entry.epoch} with the threshold {entry.threshold} and "
            f"{'' if has_groups else 'no '}counts by group, which do not go with its settings; the file may be damaged"
        )
    if not settings.is_due(entry.epoch, warmup_end):
        raise ValueError(f"state has a reweight after {settings.unit} {entry.epoch}, which isn't due then")
    if not (entry.is_given or settings.has_threshold):
        raise ValueError(
            f"state has a reweight after {settings.unit} {entry.epoch} without a contamination, which each step must "
            "be given; the file may be damaged"
        )


def check_history(state: Any, n: int) -> list[Reweight]:
    """Raise unless a state can be one of a `PruningHistory` of n samples; return its reweights.

    Raises
    ------
    ValueError
        An entry is missing or can't be right; the message says which.
    """
    table = entries("history")
    check_entries(state, table, "state's trajectory", "state_dict()")
    rounds = read_rounds(state["rounds"], n)
    bits = state["bits"]
    shape = (len(rounds), -(-n // 8))
    if not is_dense(bits, (torch.uint8,)) or bits.shape != shape:
        raise ValueError(
            f"state's trajectory must hold {len(rounds)} rounds of {n} samples, in bits of shape {shape} and "
            f"torch.uint8, got {_kind(bits)}"
        )
    _check_tensors(state, table, n, "state's trajectory's")
    times = torch.from_numpy(check_bits(bits.cpu().numpy(), rounds, n))
    planned = torch.full_like(times, len(rounds)) if state["planned"] is None else state["planned"].cpu()
    n_planned = sum(entry.n_planned for entry in rounds)
    if int(planned.sum(dtype=torch.int64)) != n_planned:
        raise ValueError(
            f"state's planned must add up to the samples that its rounds planned, {n_planned}; the file may be damaged"
        )
    if bool(((planned < times) | (planned > len(rounds))).any()):
        raise ValueError(
            "state's planned must lie between the number of reweights that pruned a sample and that of all; the file "
            "may be damaged"
        )
    excess_sum = state["excess_sum"].cpu()
    if bool(excess_sum.isnan().any()):
        raise ValueError("state's excess_sum must not hold NaN; the file may be damaged")
    if bool((excess_sum != 0)[planned == 0].any()):
        raise ValueError(
            "state's excess_sum must be 0 for samples that took part in no reweight; the file may be damaged"
        )
    return rounds


def check_entries(state: Any, table: Iterable[Entry], name: str, source: str) -> None:
    """Raise a ValueError if `state`, called `name` in the message and made by `source`, lacks an entry."""
    if not isinstance(state, Mapping):
        raise ValueError(f"{name} must be a dict, got {type(state).__name__}; pass what {source} returned")
    missing = sorted(entry.name for entry in table if entry.name not in state)
    if missing:
        raise ValueError(f"{name} lacks {', '.join(missing)}; pass what {source} returned")


def _check_version(version: Any) -> None:
    """Raise a ValueError if a state is of another version."""
    if not is_int(version) or version != VERSION:
        raise ValueError(
            f"state has version {version!r}, and this rrm_torch reads version {VERSION}; "
            "resume with the release that saved it"
        )


def _check_origin(state: Mapping[str, Any], class_name: str, settings: BatchSettings) -> None:
    """Raise a ValueError if a state is of another class, another data set, or other settings."""
    if not isinstance(state["class"], str) or state["class"] != class_name:
        raise ValueError(f"state was saved by {state['class']}, and this is {class_name}")
    saved = state["settings"]
    if not isinstance(saved, Mapping):
        raise ValueError(f"state's settings must be a dict, got {type(saved).__name__}")
    current = settings.describe()
    ids = saved.get("ids")
    if equals(saved.get("n"), current["n"]) and not equals(ids, current["ids"]):
        raise ValueError(
            f"state was saved for another data set: the hash of its ids is {ids} there and {current['ids']} here"
        )
    differences = [
        f"{name} is {saved.get(name)!r} there and {value!r} here"
        for name, value in current.items()
        if not equals(saved.get(name), value)
    ]
    if differences:
        raise ValueError(f"state was saved with other settings: {', '.join(differences)}")


def _check_tensors(state: Mapping[str, Any], table: Iterable[Entry], n: int, owner: str) -> None:
    """Raise a ValueError if an entry with one element per sample is not a tensor of n of them, of its dtype."""
    for entry in table:
        value = state[entry.name]
        if entry.shape != "(n,)" or (value is None and entry.optional):
            continue
        if not is_dense(value, entry.dtypes) or value.shape != (n,):
            dtypes = " or ".join(map(str, entry.dtypes))
            raise ValueError(
                f"{owner} {entry.name} must be a dense tensor of shape ({n},) and {dtypes}, got {_kind(value)}"
            )


def _check_weights(weights: Tensor, n: int) -> None:
    if not bool((weights.isfinite() & (weights >= 0)).all()):
        raise ValueError("state's weights must be finite and at least 0; the file may be damaged")
    largest = float(weights.max())
    if largest > n * (1 + TOLERANCE):
        raise ValueError(f"state's weights must be at most n={n}, got {largest:g}; the file may be damaged")


def _check_recorded(state: Mapping[str, Any]) -> None:
    recorded = state["recorded"]
    marks = state["marks"]
    if (recorded is None) != (marks is None):
        raise ValueError("state must hold both recorded and marks, or neither; the file may be damaged")
    if recorded is None and state["recorded_ranking"] is not None:
        raise ValueError("state must hold recorded if it holds recorded_ranking; the file may be damaged")
    if marks is not None and int(marks.max()) > 3:
        raise ValueError(f"state's marks must lie in [0, 3], got {int(marks.max())}; the file may be damaged")


def _kind(value: Any) -> str:
    """Return what a message calls a value that is not the tensor it should be."""
    if not isinstance(value, Tensor):
        return type(value).__name__
    if value.is_nested or value.is_meta or value.layout != torch.strided:
        return "a nested tensor" if value.is_nested else f"a tensor of {value.layout} on {value.device}"
    return f"{tuple(value.shape)} and {value.dtype}"
