"""The formulas of docs/scale.md against the bytes that were counted, and the tables made of records."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from benchmarks.pages import scale_tables

ROOT = Path(__file__).parents[3]
RESULTS = ROOT / "benchmarks" / "results"


def recorded(name):
    return json.loads((RESULTS / f"{name}.json").read_text())


@pytest.mark.parametrize("rule", ["contamination", "contamination, a fraction receives", "gamma"])
@pytest.mark.parametrize("size", ["1", "2", "3", "4", "8"])
def test_recorded_bytes_match_the_formula(size, rule):
    counted = recorded("ranks")["traffic of a plan"][size][rule]
    assert counted["bytes given by a rank"] == scale_tables.bytes_of_rank(counted["keys"])
    # On the wire they travel in a ring, with some headers.
    expected = scale_tables.ring(int(size), counted["keys"])
    assert expected <= counted["bytes over the wire, by rank"] <= 1.05 * expected + 100


def test_docs_state_the_formula():
    page = (ROOT / "docs" / "scale.md").read_text()
    whole, by_key = re.search(r"\*\*([\d,]+) \+ (\d) k\*\*", page).groups()
    assert scale_tables.bytes_of_rank(0) == int(whole.replace(",", ""))
    assert scale_tables.bytes_of_rank(1) - scale_tables.bytes_of_rank(0) == int(by_key)


def test_recorded_results_meet_the_goals():
    ranks, stream = recorded("ranks"), recorded("stream")
    assert all(ranks["killed and resumed: the same bits"])
    assert ranks["samples"] == 1_000_000
    assert max(ranks["MB held by each rank"]) <= 20
    assert stream["npy"]["n"] == 10**9
    assert stream["parquet"]["n"] == 10**8
    assert max(kind["bytes_of_memory"]["above_start"] for kind in (stream["npy"], stream["parquet"])) <= 300e6


def test_extrapolations_follow_from_the_record():
    made_up = {
        "threads": 2,
        "npy": {"n": 10**9, "seconds": {"plan": {"median": 1.0}}},
        "parquet": {
            "n": 10**8,
            "bytes": 8e8,
            "seconds": {name: {"median": s} for name, s in {"plan": 0.6, "plan, cold": 2.0, "reweight": 1.2}.items()},
        },
    }
    ranks, workers = scale_tables.scale_paper(made_up).split("\n\n")
    assert "Counting: 20 ms on one thread" in ranks  # 1e7 losses of 2e-9 s
    assert "Memory of RRM, sharded: 220 MB a rank, and 1.25 MB for each reweight" in ranks
    assert "1.57 MB through all-reduce and 2.05 MB of status messages, 4 ms at 10 Gbit/s" in ranks
    assert "0.8 s in rings of 1,000, 8 ms in trees" in ranks
    assert "A checkpoint is of all samples, 120 GB and 1.25 GB for each reweight" in ranks
    assert "0.8 TB as above, a billion rows on each: 20 s to plan, 33 s to plan and write 400 GB" in workers


def test_dataframes_name_faults():
    seconds = {"median": 2.0, "quartile1": 1.0, "quartile3": 3.0}
    exact = {"cpu_seconds": seconds, "peak_bytes": 10**8, "ranks_off": 0, "wrong_weights": 0, "runs_mixed": 0}
    rows = {"exact": exact, "mixed": exact | {"ranks_off": 2000, "wrong_weights": 3000, "runs_mixed": 1}}
    table = scale_tables.dataframes({"n": 10**8, "what": "What", "rounds": 5, "rows": rows})
    assert "| exact | 2.00 s (1.00–3.00) | 100 MB | exact | all correct |" in table
    assert "| 2,000 ranks off | up to 3,000 wrong, in another order in 1 of 5 runs |" in table
