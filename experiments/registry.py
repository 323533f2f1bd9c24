"""The experiments by name; each is imported only when it is loaded."""

from __future__ import annotations

from importlib import import_module

from .runner.jobs import Experiment

# Name on the command line -> module that defines EXPERIMENT, and its description.
EXPERIMENTS: dict[str, tuple[str, str]] = {
    "mnist-table6": (".mnist_table6", "MNIST, 20 % wrong labels: sample weights in the course of training"),
    "mnist-adversarial": (
        ".mnist_adversarial",
        "MNIST, wrong labels and adversarial examples: A-RRM against adversarial training",
    ),
    "cifar10n": (".cifar10n", "CIFAR-10 with human label errors (CIFAR-10N)"),
    "fashion-synthetic": (
        ".fashion_synthetic",
        "Fashion-MNIST, 10 to 30 % wrong labels: four losses with and without RRM",
    ),
    "ablation": (".ablation", "each setting of RRM varied separately, on Fashion-MNIST"),
    "detection": (".detection", "how well RRM, cleanlab, AUM and small loss list wrong labels, at equal budget"),
    "auto": (".auto", "the contamination estimated, against the true one, half and twice of it, on five data sets"),
    "auto-large": (".auto_large", "the contamination estimated from all 50,000 images of CIFAR-10N"),
    "groups": (
        ".groups",
        "labels of 20 rules and of 20 annotators, and rare classes, on Fashion-MNIST: quotas and caps",
    ),
    "tabular": (".tabular", "tables: RRM around LogisticRegression, LightGBM, XGBoost and CatBoost, and CleanLearning"),
    "systems": (".systems", "DivideMix, ProMix and CC with and without RRM, on CIFAR-10 with human label errors"),
    "linear-probe": (".linear_probe", "CIFAR-10N: a linear classifier of MobileNetV2's features, plain and with RRM"),
    "meta": (".meta", "Meta-Weight-Net and Ren et al., which need clean samples, against RRM, which needs none"),
    "scores": (".scores", "the loss, two scores and counts of disagreement as what ranks the samples"),
    "text": (".text", "texts: flipped labels of IMDb and BANKING77, and labels of rules for text messages"),
}

# The same for the recipes of docs/recipes.md, which need a GPU and large data sets.
RECIPES: dict[str, tuple[str, str]] = {
    "cifar100n": (".recipes.cifar100n", "CIFAR-100 with human labels: ProMix, DivideMix"),
    "clothing1m": (".recipes.clothing1m", "Clothing1M: cross-entropy, CC"),
    "food101n": (".recipes.food101n", "Food-101N: cross-entropy"),
    "animal10n": (".recipes.animal10n", "Animal-10N: cross-entropy, CC"),
    "webvision": (".recipes.webvision", "WebVision-mini: cross-entropy, DivideMix"),
    "medmnist": (".recipes.medmnist", "PathMNIST and PneumoniaMNIST, with synthetic noise"),
    "imdb": (".recipes.imdb", "all of IMDb, with synthetic noise"),
    "jigsaw": (".recipes.jigsaw", "toxic comments, with and without synthetic noise"),
    "wrench": (".recipes.wrench", "texts with labels by a vote of rules (WRENCH)"),
}


def names() -> list[str]:
    """Return the names of all experiments and recipes."""
    return [*EXPERIMENTS, *RECIPES]


def load(name: str) -> Experiment:
    """Import an experiment or a recipe.

    Raises
    ------
    ValueError
        There is no experiment of that name, or a module that it needs is not installed.
    """
    if name not in names():
        raise ValueError(f"there is no experiment {name!r}; there are {', '.join(names())}")
    module, _ = (EXPERIMENTS | RECIPES)[name]
    try:
        experiment: Experiment = import_module(module, __package__).EXPERIMENT
    except ModuleNotFoundError as error:
        raise ValueError(f"{name} can't run here: there is no module {error.name}") from error
    return experiment
