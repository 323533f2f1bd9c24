"""Interleaved timing: disturbances affect all rivals alike, so that ratios of medians are meaningful."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable, Mapping
from typing import Any, Protocol

SAMPLE = 2e-3  # seconds of a sample, long enough for timer and interpreter noise not to matter
MAX_CALLS = 100
MAX_SAMPLES = 60
SLOW = 0.1  # seconds above which a call is timed once to estimate its duration


class Timed(Protocol):
    def seconds(self, calls: int) -> float: ...


def interleaved(
    rivals: Mapping[str, Timed], share: float, min_samples: int, progress: Callable[[str], None]
) -> dict[str, dict[str, float]]:
    """Time all rivals in interleaved rounds, each in another order: what one leaves in the caches may delay the next.

    Parameters
    ----------
    rivals : mapping of str to Timed
    share : float
        Time in seconds for each rival. A slow rival takes part in every second, third, ... round only.
    min_samples : int
        Samples of each rival at least.
    progress : callable
        Called with a description of the current step.

    Returns
    -------
    dict of str to dict
        For each rival median and quartiles in milliseconds, the number of samples, and of calls in a sample.
    """
    calls = {}
    samples = {}
    for name, rival in rivals.items():
        progress(f"{name}: first call")
        duration = rival.seconds(1)
        if duration < SLOW:
            duration = min(duration, rival.seconds(1))
        calls[name] = min(max(math.ceil(SAMPLE / duration), 1), MAX_CALLS)
        samples[name] = min(max(int(share / (duration * calls[name])), min_samples), MAX_SAMPLES)
    rounds = max(samples.values())
    times: dict[str, list[float]] = {name: [] for name in rivals}
    order = list(rivals)
    chance = random.Random(0)
    for round in range(rounds):
        progress(f"round {round + 1} of {rounds}")
        chance.shuffle(order)
        for name in order:
            rival = rivals[name]
            if samples[name] * (round + 1) // rounds > samples[name] * round // rounds:
                times[name].append(1e3 * rival.seconds(calls[name]))
    return {name: {**_summary(times[name]), "samples": samples[name], "calls": calls[name]} for name in rivals}


def _summary(times: list[float]) -> dict[str, float]:
    low, median, high = statistics.quantiles(times, n=4, method="inclusive")
    return {"median": _short(median), "quartile1": _short(low), "quartile3": _short(high)}


def _short(x: float) -> float:
    return float(f"{x:.5g}")


def line(times: Mapping[str, Any]) -> str:
    """Return a result as text."""
    return f"{times['median']:11.4f} ms ({times['quartile1']:.4f}–{times['quartile3']:.4f}), {times['samples']} samples"
