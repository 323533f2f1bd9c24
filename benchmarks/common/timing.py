"""Interleaved rounds: whatever else the machine does hits all rivals alike, and ratios of medians mean something."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping
from typing import Any, Protocol

SAMPLE = 2e-3  # seconds that a sample should take, so that neither timer nor interpreter noise matters
MOST_CALLS = 100
MOST_SAMPLES = 60
SLOW = 0.1  # seconds of a call whose first attempt tells enough


class Timed(Protocol):
    def seconds(self, calls: int) -> float: ...


def interleaved(
    rivals: Mapping[str, Timed], share: float, fewest: int, progress: Callable[[str], None]
) -> dict[str, dict[str, float]]:
    """Return for each rival its median and quartiles in milliseconds, and the samples and calls they come from.

    `share` is the time in seconds that each rival gets. A slow one takes part in every second, third, ... round only,
    but in at least `fewest`.
    """
    calls = {}
    samples = {}
    for name, rival in rivals.items():
        progress(f"{name}: first call")
        one = rival.seconds(1)
        if one < SLOW:
            one = min(one, rival.seconds(1))
        calls[name] = min(max(math.ceil(SAMPLE / one), 1), MOST_CALLS)
        samples[name] = min(max(int(share / (one * calls[name])), fewest), MOST_SAMPLES)
    rounds = max(samples.values())
    times: dict[str, list[float]] = {name: [] for name in rivals}
    for round in range(rounds):
        progress(f"round {round + 1} of {rounds}")
        for name, rival in rivals.items():
            if samples[name] * (round + 1) // rounds > samples[name] * round // rounds:
                times[name].append(1e3 * rival.seconds(calls[name]))
    return {name: {**_summary(times[name]), "samples": samples[name], "calls": calls[name]} for name in rivals}


def _summary(times: list[float]) -> dict[str, float]:
    low, median, high = statistics.quantiles(times, n=4, method="inclusive")
    return {"median": _short(median), "quartile1": _short(low), "quartile3": _short(high)}


def _short(x: float) -> float:
    return float(f"{x:.5g}")


def line(times: Mapping[str, Any]) -> str:
    """Return a result as people read it."""
    return f"{times['median']:11.4f} ms ({times['quartile1']:.4f}–{times['quartile3']:.4f}), {times['samples']} samples"
