"""The registry of experiments."""

from __future__ import annotations

import pickle

import pytest

from experiments import registry
from experiments.runner.jobs import Experiment, plan_jobs


def test_load_rejects_unknown_name():
    with pytest.raises(ValueError, match="no experiment 'x'; there are mnist-table6, "):
        registry.load("x")
    assert all(name == module.strip(".").replace("_", "-") for name, (module, _) in registry.EXPERIMENTS.items())


def test_recipes_are_named_after_their_modules():
    assert all(name == module.removeprefix(".recipes.") for name, (module, _) in registry.RECIPES.items())
    assert not set(registry.RECIPES) & set(registry.EXPERIMENTS)


@pytest.mark.parametrize("name", registry.names())
def test_experiment_matches_registry(name):
    experiment = registry.load(name)
    assert experiment.name == name
    once, twice = ({job.key for job in plan_jobs(experiment, seeds)} for seeds in (1, 2))
    assert once < twice
    there = pickle.loads(pickle.dumps(experiment.execute))  # as another process gets it
    for part, default in (("func", experiment.execute), ("args", ())):
        assert getattr(there, part, there if part == "func" else ()) == getattr(experiment.execute, part, default)


def test_load_rejects_missing_module(monkeypatch):
    monkeypatch.setitem(registry.EXPERIMENTS, "x", (".x", "x"))
    with pytest.raises(ValueError, match=r"x can't run here: there is no module experiments.x"):
        registry.load("x")
    monkeypatch.setitem(registry.EXPERIMENTS, "tiny", ("support.tiny_experiment", "x"))
    assert isinstance(registry.load("tiny"), Experiment)
