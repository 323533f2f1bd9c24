"""The experiments that there are, known without being imported."""

from __future__ import annotations

from importlib import import_module

from .runner.jobs import Experiment

# name on the command line -> module that defines EXPERIMENT, and its description
EXPERIMENTS: dict[str, tuple[str, str]] = {
    "mnist-table6": (".mnist_table6", "MNIST, 20 % wrong labels: what becomes of the weights, round by round"),
    "mnist-adversarial": (
        ".mnist_adversarial",
        "MNIST, wrong labels and adversarial examples: A-RRM against adversarial training",
    ),
    "cifar10n": (".cifar10n", "CIFAR-10 with the wrong labels that people gave: real noise"),
    "fashion-synthetic": (
        ".fashion_synthetic",
        "Fashion-MNIST, 10 to 30 % wrong labels: four losses with and without RRM",
    ),
    "ablation": (".ablation", "what each setting of RRM is worth, on Fashion-MNIST"),
}


def load(name: str) -> Experiment:
    """Return an experiment, whose module is imported now.

    Raises
    ------
    ValueError
        There is none of that name, or its module can't be imported here.
    """
    if name not in EXPERIMENTS:
        raise ValueError(f"there is no experiment {name!r}; there are {', '.join(EXPERIMENTS)}")
    module, _ = EXPERIMENTS[name]
    try:
        experiment: Experiment = import_module(module, __package__).EXPERIMENT
    except ModuleNotFoundError as error:
        raise ValueError(f"{name} can't run here: there is no module {error.name}") from error
    return experiment
