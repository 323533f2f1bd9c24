"""Stand-ins for CIFAR-100N, Animal-10N and MedMNIST: files that hold pixels."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...data.animal10n import RECORD
from ...data.cifar100 import N_CLASSES, N_COARSE
from ...data.medmnist import CLASSES
from .pictures import noisy, pictures


def write_cifar100n(data: Path) -> None:
    """Write two training images of each class, a third of them wrongly labelled, and one test image of each."""
    folder = data / "cifar-100-python"
    folder.mkdir()
    rng = np.random.default_rng(0)
    labels = {"train": np.arange(2 * N_CLASSES) % N_CLASSES, "test": np.arange(N_CLASSES)}
    for part, true in labels.items():
        pixels = pictures(true, N_CLASSES, 32, rng).transpose(0, 3, 1, 2)
        content = {
            b"data": pixels.reshape(len(true), -1),
            b"fine_labels": true.tolist(),
            b"coarse_labels": (true % N_COARSE).tolist(),
        }
        (folder / part).write_bytes(pickle.dumps(content, 2))
    names = {
        b"fine_label_names": [b"class %d" % number for number in range(N_CLASSES)],
        b"coarse_label_names": [b"superclass %d" % number for number in range(N_COARSE)],
    }
    (folder / "meta").write_bytes(pickle.dumps(names, 2))
    noisy_labels = noisy(labels["train"], 1 / 3, N_CLASSES)
    human = {
        "clean_label": labels["train"],
        "noisy_label": noisy_labels,
        "clean_coarse_label": labels["train"] % N_COARSE,
        "noisy_coarse_label": noisy_labels % N_COARSE,
    }
    torch.save(human, data / "CIFAR-100_human.pt")


def write_animal10n(data: Path) -> None:
    """Write the binary form: 100 training images, a tenth of them wrongly labelled, and 20 test images."""
    folder = data / "animal10n"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name, n in (("data_batch_1", 100), ("test_batch", 20)):
        true = np.arange(n) % 10
        records = np.empty(n, RECORD)
        records["id"] = np.arange(n)
        records["label"] = true
        if name == "data_batch_1":
            records["label"] = noisy(true, 0.1, 10)
        records["pixels"] = pictures(true, 10, 64, rng).transpose(0, 3, 1, 2)
        records.tofile(folder / f"{name}.bin")


def write_medmnist(data: Path) -> None:
    """Write 120 training images of each set, 30 for validation and 30 for testing, with right labels."""
    rng = np.random.default_rng(0)
    for name, classes in CLASSES.items():
        arrays: dict[str, Any] = {}
        for part, n in (("train", 120), ("val", 30), ("test", 30)):
            labels = np.arange(n) % len(classes)
            images = pictures(labels, len(classes), 28, rng)
            arrays[f"{part}_images"] = images[..., 0] if name == "pneumoniamnist" else images
            arrays[f"{part}_labels"] = labels.astype(np.uint8)[:, None]
        np.savez(data / f"{name}.npz", **arrays)
