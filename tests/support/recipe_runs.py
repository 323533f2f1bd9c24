"""The recipes on their stand-ins."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path

from experiments import registry


def module_of(name):
    """Return the module of a recipe."""
    return import_module(f"experiments.recipes.{name}")


def job_of(name, method, *, quick=True):
    """Return the job of a method with seed 0."""
    experiment = registry.load(name)
    if quick:
        experiment = experiment.quick_version()
    (job,) = (job for job in experiment.jobs(1) if job.method == method)
    return job


def run_quickly(name, method, folder, on_epoch=lambda done, total: None):
    """Execute the quick version of a method, as JSON returns its result."""
    execute = registry.load(name).execute
    result = execute(job_of(name, method), Path("no data"), folder / "run.pt", on_epoch)
    return json.loads(json.dumps(result, allow_nan=False))
