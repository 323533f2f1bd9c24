from __future__ import annotations

import re

import pytest

from support import population_jobs
from support.rank_jobs import on_ranks

N = 203
CASES = [
    ({"mu": 1.0}, "all", False),
    ({"mu": 0.5}, "alone", False),
    ({"mu": 0.5}, "recorded", True),
    ({"mu": 0.3, "redistribute": "drop", "unseen": "latest"}, "recorded", True),
    ({"mu": 0.3, "unseen": "latest", "redistribute": 0.1}, "recorded", False),
]


@pytest.mark.parametrize("size", [2, 3])
def test_populations_and_rankings_give_same_state_in_every_layout(size):
    cases = [({"warmup": 1} | settings, form, ranked) for settings, form, ranked in CASES]
    wanted = [(*case, population_jobs.train((None,), N, *case[:2], ranked=case[2])) for case in cases]
    for settings, _, ranked, outcome in wanted:
        assert [entry["n_planned"] for entry in outcome["state"]["trajectory"]["rounds"]][3] == 5
        assert (outcome["state"]["ranking"] is None) != ranked
        mean = outcome["state"]["weights"].double().mean()
        assert mean == pytest.approx(1, abs=1e-6) if settings.get("redistribute") != "drop" else mean < 1
    for found in on_ranks(size, population_jobs.differences_by_layout, N, wanted):
        assert found == [[]] * (2 * len(cases))


SAID = {
    "outside": r"IndexError: rank 1: among must hold indices in \[.*\), the local samples; got 1 outside, .* 203",
    "missing": r"ValueError: rank 1 differs from rank 0 in among; give it to step\(\) on all ranks, or on none; .*",
    "other": r"ValueError: rank 1 differs from rank 0 in among; .* with layout='replicated', the same on all",
    "contamination": r"ValueError: rank 1 differs from rank 0 in contamination; give the same to step\(\) on all ranks",
    "none": r"ValueError: among must name at least one of the 203 samples, got none",
    "losses": r"ValueError: losses contain [12] NaN among 102, the first at index 1; .*",
}


@pytest.mark.parametrize("layout", ["replicated", "sharded"])
def test_error_of_population_is_raised_on_all_ranks(layout):
    for fault, pattern in SAID.items():
        found = on_ranks(2, population_jobs.error_on_ranks, layout, N, fault)
        assert found[0] == found[1]
        *raised, after = found[0]
        if (layout, fault) == ("sharded", "other"):
            assert not raised  # each rank names samples of its own slice
            continue
        assert re.fullmatch(pattern, raised[0]), raised[0]
        assert after == "pruned 40 after epoch 1"
        if (layout, fault) == ("replicated", "losses"):
            assert "(rank 0 recorded index 2)" in raised[0]
