"""What all recipes share: jobs from a table of methods, their execution, and a quick version on generated data."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from ..runner.jobs import Experiment, Job, OnEpoch
from .recipe_data import RecipeData
from .run import train

Settings: TypeAlias = "dict[str, Any]"
Methods: TypeAlias = Mapping[str, Settings]

Load: TypeAlias = Callable[[Path, Settings, int], RecipeData]
"""Called with the data folder, the settings of a job and its seed."""

WriteStandIn: TypeAlias = Callable[[Path], None]
"""Writes a small generated data set to an empty data folder, in the layout of the real one."""

QUICK: Settings = {"autocast": False, "epochs": 3, "milestones": [2], "stand_in": True}
QUICK_OPTIONS: Settings = {"batch_size": 32, "warmup": 1, "epoch_samples": 56, "discrepancy_batches": 3}


def make_experiment(
    name: str,
    files: tuple[str, ...],
    methods: Methods,
    load: Load,
    write_stand_in: WriteStandIn,
    *,
    quick: Settings,
    packages: tuple[str, ...] = (),
) -> Experiment:
    """Return the experiment of a recipe.

    Parameters
    ----------
    name : str
    files : tuple of str
        Names of the files or folders that the data folder must hold.
    methods : mapping of str to dict
        The settings of each method, see `experiments.recipes.run.make_method`.
    load : callable
    write_stand_in : callable
    quick : dict
        Settings that the quick version replaces, beside those of `QUICK`.
    packages : tuple of str
    """
    return Experiment(
        name,
        files,
        partial(seeded_jobs, methods),
        partial(execute, load, write_stand_in),
        packages,
        quick=partial(quick_jobs, methods, quick),
    )


def seeded_jobs(methods: Methods, seeds: int) -> list[Job]:
    """Return all methods with all seeds."""
    return [Job(method, dict(settings), seed) for method, settings in methods.items() for seed in range(seeds)]


def quick_jobs(methods: Methods, quick: Settings, seeds: int) -> list[Job]:
    """Return all methods with one seed, made to run in seconds."""
    return seeded_jobs({method: quick_settings(settings, quick) for method, settings in methods.items()}, min(seeds, 1))


def quick_settings(settings: Settings, quick: Settings) -> Settings:
    """Return the settings of the quick version of a method."""
    options = {name: QUICK_OPTIONS.get(name, value) for name, value in settings["options"].items()}
    rrm = settings["rrm"]
    if rrm is not None and "warmup" in rrm:
        rrm = rrm | {"warmup": 1}
    return settings | QUICK | quick | {"options": options, "rrm": rrm}


def execute(
    load: Load, write_stand_in: WriteStandIn, job: Job, data: Path, checkpoint: Path, on_epoch: OnEpoch
) -> dict[str, Any]:
    """Execute a job, see `Experiment`."""
    settings: Settings = dict(job.settings)
    with data_folder(data, settings, write_stand_in) as folder:
        return train(load(folder, settings, job.seed), settings, job.seed, checkpoint, on_epoch)


@contextmanager
def data_folder(data: Path, settings: Settings, write_stand_in: WriteStandIn) -> Iterator[Path]:
    """Give a job its data folder: in the quick version a temporary one with a generated data set."""
    if not settings.get("stand_in"):
        yield data
        return
    with tempfile.TemporaryDirectory() as folder:
        write_stand_in(Path(folder))
        yield Path(folder)


def with_rrm(name: str, settings: Settings, variants: Methods) -> dict[str, Settings]:
    """Return a method without RRM, and with RRM by each of some settings.

    Parameters
    ----------
    name : str
        Of the method.
    settings : dict
        Of the method without RRM.
    variants : mapping of str to dict
        Arguments of `RRM`, see `experiments.recipes.run.make_method`, by what is added to the name.
    """
    methods = {name: settings | {"rrm": None}}
    for variant, rrm in variants.items():
        methods[f"{name} + {variant}"] = settings | {"rrm": rrm}
    return methods
