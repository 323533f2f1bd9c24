"""The arguments of `RRM` that a user gives an adapter, checked, and what they are by default there."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping
from typing import Any

from .._checks import check_count
from ..weighting.rrm import DEFAULT_WARMUP, RRM
from ..weighting.settings import AUTO, Settings

SET_BY_ADAPTER = {
    "n": "the number of training samples",
    "unit": "set by the adapter",
    "losses_from": "'training'",
    "layout": "the one that fits the processes",
    "group": "all processes",
}
"""Arguments of `RRM` that users do not give, and what they are."""

ARGUMENTS = frozenset(inspect.signature(RRM).parameters) - frozenset(SET_BY_ADAPTER)
"""Arguments of `RRM` that users give."""


def read_settings(rrm: object, n: int) -> dict[str, Any]:
    """Check the arguments of `RRM` that a user gives an adapter, and return them.

    Parameters
    ----------
    rrm : mapping or None
        Arguments by name, in epochs; None stands for ``contamination="auto"``.
    n : int
        Number of training samples.

    Returns
    -------
    dict
        The arguments, with ``unseen="latest"`` unless they say otherwise.

    Raises
    ------
    TypeError, ValueError
        It is not a mapping, such as an RRM; or an argument is unknown, set by the adapter, or invalid.
    """
    if rrm is None:
        rrm = {"contamination": AUTO}
    if not isinstance(rrm, Mapping):
        raise TypeError(
            f"rrm must be a dict of RRM's arguments, such as dict(contamination='auto'), got {type(rrm).__name__}; "
            "each run makes an RRM of its own from them"
        )
    settings = {"unseen": "latest", **rrm}
    for name, value in SET_BY_ADAPTER.items():
        if name in settings:
            raise ValueError(f"rrm must not have {name}={settings[name]!r}: it is {value}; leave it out")
    for name in settings:
        if name not in ARGUMENTS:
            close = difflib.get_close_matches(str(name), ARGUMENTS, 1)
            remedy = f"did you mean {close[0]}" if close else f"RRM has {', '.join(sorted(ARGUMENTS))}"
            raise TypeError(f"rrm must have arguments of RRM, got {name!r}; {remedy}")
    if settings.get("contamination") is None and settings.get("gamma") is None:
        raise ValueError("rrm must have a contamination or a gamma; contamination='auto' estimates it")
    if settings.get("epochs") is not None:
        check_count("epochs", settings["epochs"])
    Settings(n=n, **{name: value for name, value in with_warmup(settings, None).items() if name != "epochs"})
    return settings


def with_warmup(settings: Mapping[str, Any], epochs: int | None) -> dict[str, Any]:
    """Return settings with a warm-up: that of `RRM` by default, but no longer than a third of the planned epochs."""
    if settings.get("warmup") is not None:
        return dict(settings)
    if isinstance(settings.get("contamination"), str):
        return {**settings, "warmup": AUTO}
    warmup = DEFAULT_WARMUP
    if epochs is not None:
        warmup = min(warmup, max(1, epochs // 3))
    return {**settings, "warmup": warmup}
