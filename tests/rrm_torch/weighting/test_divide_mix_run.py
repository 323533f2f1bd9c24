"""A loop in which the population of each reweight is selected anew."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from support import divide_mix_run
from support.weighting import assert_identical


@pytest.mark.parametrize("mu", [1.0, 0.5])
def test_every_population_has_mean_weight_1(mu, tmp_path):
    populations = []

    def check(networks):
        for network in networks:
            population = network.population
            weights = network.rrm.weights
            assert weights[population].double().mean() == pytest.approx(1, abs=1e-6)
            assert_identical(weights[~population], torch.ones(int((~population).count_nonzero())))
            assert population[network.rrm.flagged()].all()
            entry = network.rrm.trajectory.rounds[-1]
            assert entry.n_planned == population.count_nonzero()
            assert entry.n_pruned == int(entry.contamination * entry.n_planned)
        populations.append(networks[0].population)

    divide_mix_run.run(tmp_path / "run.pt", mu, on_round=check)
    assert len(populations) == divide_mix_run.ROUNDS - 1
    members = torch.stack(populations)
    assert (members[1:] != members[:-1]).any(1).all(), "the population changes in every round"
    returned = (members[:-1].cummax(0).values[:-1] & ~members[1:-1] & members[2:]).any(0)
    assert returned.any(), "a sample leaves and returns"


def test_killed_run_ends_with_same_bits(tmp_path):
    script = Path(divide_mix_run.__file__)
    killed = subprocess.run(
        [sys.executable, script, tmp_path / "killed.pt", "0.5"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={"PYTHONPATH": str(script.parents[1]), "OMP_NUM_THREADS": "1"},
    )
    assert killed.returncode == 0, killed.stderr
    digest, n_killed = killed.stdout.split()
    assert digest == divide_mix_run.run(tmp_path / "whole.pt", 0.5)
    assert int(n_killed) >= 4
