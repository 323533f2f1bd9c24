from __future__ import annotations

from benchmarks.pages import reweight_tables


def cell(n, n_busy, one, two):
    return {"n": n, "busy processes": n_busy, "ms": {"1": [one, one, one], "2": [two, two, two]}}


def test_busy():
    cells = [cell(10**6, 0, 1.0, 1.0), cell(10**7, 0, 10.0, 8.0), cell(10**6, 2, 2.0, 2.5), cell(10**7, 2, 30.0, 20.0)]
    text = reweight_tables.busy({"what": "elapsed time: quartiles in ms", "cells": cells})
    note = "Ratios of medians of the elapsed time; the calls alternate. A call for fewer than"
    assert text.splitlines() == [
        "| 2 threads are so many times as fast as one | 10⁶ | 10⁷ |",
        "|---|---:|---:|",
        "| beside nothing else | 1.00 | 1.25 |",
        "| beside 2 busy processes | 0.80 | 1.50 |",
        "",
        f"{note} 2 million losses uses one thread in any case.",
    ]


def microseconds(median):
    return {"median": median, "quartile1": median - 0.1, "quartile3": median + 0.1}


def test_call():
    run = {
        "what": "100 losses",
        "processes": 3,
        "us": {"kernel": microseconds(0.5), "NumPy": microseconds(3.5)},
        "us before": {"NumPy": microseconds(5.0)},
        "commit before": "c" * 40,
    }
    assert reweight_tables.call(run).splitlines() == [
        "| 100 losses | a call | above its kernel | a call at commit cccccccccc |",
        "|---|---:|---:|---:|",
        "| NumPy | 3.5 µs (3.4–3.6) | 3.0 µs | 5.0 µs (4.9–5.1) |",
        "",
        "100 losses: medians (quartiles) of 3 processes in turns; the kernel takes 0.50 µs.",
    ]
    del run["us before"]
    assert reweight_tables.call(run).splitlines()[0] == "| 100 losses | a call | above its kernel |"
