"""Data sets with wrong labels, natural or synthetic, and a recipe to train a small model on each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rrm_torch.data import images, noise
from rrm_torch.models import perceptron
from rrm_torch.training.pipeline import Task

from . import cifar10n
from .classify import subset
from .data.cifar_n import load_cifar_n
from .data.text_features import load_banking77, load_imdb
from .runner.jobs import find_data

CLEAN = "clean"
KINDS = ("symmetric", "pair", "instance")
HIDDEN = (256, 256)


@dataclass(frozen=True)
class DataSet:
    """A data set of the experiments.

    Attributes
    ----------
    files : tuple of str
        Names in the data folder; ``"a|b"`` means either.
    samples : int or None
        Number of training samples by default; None is all.
    recipe : dict
        Arguments of `rrm_torch.training.pipeline.Recipe`, as JSON.
    """

    files: tuple[str, ...]
    samples: int | None
    recipe: dict[str, Any]


def _adam(epochs: int, batch_size: int) -> dict[str, Any]:
    return {"optimizer": "adam", "lr": 1e-3, "batch_size": batch_size, "epochs": epochs}


DATA_SETS = {
    "cifar10n": DataSet(cifar10n.DATA, cifar10n.SAMPLES, cifar10n.RECIPE),
    "fashion": DataSet(("fashion_mnist.npz",), 10_000, _adam(40, 100)),
    "mnist": DataSet(("mnist.npz",), 10_000, _adam(40, 100)),
    "digits": DataSet((), None, _adam(60, 32)),
    "imdb": DataSet(("imdb.jsonl.xz|aclImdb",), 5_000, _adam(40, 100)),
    "banking77": DataSet(("banking77.tsv.xz",), None, _adam(40, 100)),
}


def task(data: Path, name: str, noise: str, samples: int | None, seed: int) -> Task:
    """Return a data set with wrong labels, and its model.

    Parameters
    ----------
    data : Path
        Folder with the data set's files, see `DATA_SETS`.
    name : str
        One of `DATA_SETS`. The models are a small residual network for CIFAR-10, whose images are flipped and
        cropped at random, and a perceptron with two hidden layers for the others. Texts are represented by features,
        see `experiments.data.text_features`.
    noise : str
        ``"clean"``; a kind of `KINDS` and the share of wrong labels, such as ``"symmetric 0.2"``, see
        `rrm_torch.data.noise`; or for ``"cifar10n"`` the human labels ``"aggre"``, ``"random1"`` or ``"worst"``.
    samples : int or None
        Number of training samples to draw; None is the number in `DATA_SETS`. The reviews of IMDb are the same for
        every seed, because the features are learned from them, and as many are drawn for the test set.
    seed : int
        Seed of the draw and of the noise.

    Returns
    -------
    Task

    Raises
    ------
    ValueError
        `name` or `noise` has another value, the data set holds fewer samples, or a module is missing.
    """
    if name not in DATA_SETS:
        raise ValueError(f"name must be one of {', '.join(DATA_SETS)}, got {name!r}")
    if samples is None:
        samples = DATA_SETS[name].samples
    if name == "cifar10n":
        assert samples is not None
        return _cifar10n(data, noise, samples, seed)
    clean_task = CLEAN_TASKS[name](data, samples, seed)
    return add_noise(clean_task, noise, seed)


def add_noise(clean_task: Task, kind_and_rate: str, seed: int) -> Task:
    """Return a task with synthetic noise in its labels, which are taken to be clean.

    Parameters
    ----------
    clean_task : Task
        Its labels are integers below the number of classes, and hold the largest class.
    kind_and_rate : str
        ``"clean"``, or a kind of `KINDS` and a rate.
    seed : int

    Raises
    ------
    ValueError
        `kind_and_rate` isn't of this form.
    """
    labels = clean_task.labels.numpy()
    kind, _, rate = kind_and_rate.partition(" ")
    n_classes = int(clean_task.y_test.max().maximum(clean_task.labels.max())) + 1
    if kind_and_rate == CLEAN:
        noisy = noise.symmetric(labels, 0, n_classes, rng=seed)
    elif kind not in KINDS or not _is_number(rate):
        raise ValueError(
            f"noise must be 'clean' or a kind of {', '.join(KINDS)} and a rate, such as 'pair 0.3', "
            f"got {kind_and_rate!r}; human labels exist for cifar10n: {', '.join(cifar10n.LABELS)}"
        )
    elif kind == "instance":
        noisy = noise.instance_dependent(
            clean_task.x_train.flatten(1).numpy(), labels, float(rate), n_classes, rng=seed
        )
    else:
        noisy = noise.KINDS[kind](labels, float(rate), n_classes, rng=seed)
    return replace(clean_task, labels=torch.from_numpy(noisy.labels), wrong=noisy.wrong)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _cifar10n(data: Path, kind: str, samples: int, seed: int) -> Task:
    if kind in cifar10n.LABELS:
        return cifar10n.task(data, kind, samples, seed)
    human = cifar10n.task(data, "aggre", samples, seed)
    labels = load_cifar_n(find_data(data, cifar10n.DATA[1]) or data / cifar10n.DATA[1])
    clean = labels["clean_label"]
    return add_noise(replace(human, labels=clean[subset(len(clean), samples, seed)]), kind, seed)


def _images(file: str, data: Path, samples: int | None, seed: int) -> Task:
    loaded = _load_npz(data / file)
    return perceptron_task(loaded.x_train, loaded.y_train, loaded.x_test, loaded.y_test, samples, seed)


@lru_cache(maxsize=1)
def _load_npz(path: Path) -> images.ImageData:
    """Return images, decoded once per process."""
    return images.load_npz(path)


def _digits(_data: Path, samples: int | None, seed: int) -> Task:
    loaded = images.load("digits")
    return perceptron_task(loaded.x_train, loaded.y_train, loaded.x_test, loaded.y_test, samples, seed)


def imdb_path(data: Path) -> Path:
    """Return the file or the folder of IMDb in a data folder."""
    return find_data(data, DATA_SETS["imdb"].files[0]) or data / "imdb.jsonl.xz"


def _imdb(data: Path, samples: int | None, _seed: int) -> Task:
    assert samples is not None
    loaded = load_imdb(imdb_path(data), samples)
    return perceptron_task(loaded.x_train, loaded.y_train, loaded.x_test, loaded.y_test)


def _banking77(data: Path, samples: int | None, seed: int) -> Task:
    loaded = load_banking77(data / "banking77.tsv.xz")
    return perceptron_task(loaded.x_train, loaded.y_train, loaded.x_test, loaded.y_test, samples, seed)


def perceptron_task(
    x: Tensor, y: Tensor, x_test: Tensor, y_test: Tensor, samples: int | None = None, seed: int = 0
) -> Task:
    """Return a task with a random part of the samples and clean labels; without `samples` all, in their order."""
    n_classes = int(y.max()) + 1
    if samples is not None:
        chosen = subset(len(y), samples, seed)
        x = x[chosen]
        y = y[chosen]
    model = partial(perceptron, x[0].numel(), HIDDEN, n_classes)
    return Task(x_train=x, labels=y, x_test=x_test, y_test=y_test, model=model)


CLEAN_TASKS: dict[str, Callable[[Path, int | None, int], Task]] = {
    "fashion": partial(_images, "fashion_mnist.npz"),
    "mnist": partial(_images, "mnist.npz"),
    "digits": _digits,
    "imdb": _imdb,
    "banking77": _banking77,
}
