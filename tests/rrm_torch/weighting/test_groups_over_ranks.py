from __future__ import annotations

import numpy as np
import pytest

from support import layout_jobs, population_jobs
from support.layout_jobs import differences
from support.rank_jobs import on_ranks

N = 203
GROUPS = np.arange(N) * 7 % 10 % 4
SETTINGS = [
    {"contamination": (0.1, 0.0, 0.5, 0.25), "mu": 0.5},
    {"contamination": 0.2, "cap": 0.25, "mass": "group", "redistribute": 0.1},
    {"gamma": 0.5, "mass": "group", "nan": "prune", "mu": 0.3},
]


@pytest.mark.parametrize("settings", SETTINGS)
def test_groups_give_same_state_over_ranks_as_in_one_process(settings):
    settings = {"groups": GROUPS, "warmup": 1} | settings
    wanted = layout_jobs.outcome_of(None, N, settings)
    assert len(wanted["state"]["trajectory"]["rounds"][-1]["n_pruned_by_group"]) == 4
    for outcome in on_ranks(2, layout_jobs.differences_by_layout, N, [settings], [wanted], False):
        assert outcome == [[]] * 6


def test_rank_without_samples_takes_part_with_groups():
    settings = {"groups": [0, 1], "gamma": 0.1, "warmup": 1, "mass": "group"}
    wanted = layout_jobs.outcome_of(None, 2, settings)
    for outcome in on_ranks(3, layout_jobs.outcome_of, "sharded", 2, settings):
        assert not differences(outcome, wanted)


def test_populations_with_groups_give_same_state_over_ranks_as_in_one_process():
    settings = {"groups": GROUPS, "warmup": 1, "cap": 0.3, "mass": "group", "mu": 0.5}
    wanted = population_jobs.train((None,), N, settings, "recorded")
    for outcome in on_ranks(2, population_jobs.differences_by_layout, N, [(settings, "recorded", False, wanted)]):
        assert outcome == [[], []]


def test_other_groups_on_a_rank_are_refused_on_all():
    for message in on_ranks(2, layout_jobs.error_of_other_groups, N):
        assert message == "rank 1 differs from rank 0 in settings; make RRM with the same arguments on all ranks"
