"""Jobs for tests of ``contamination="auto"``: training on outputs that depend only on epoch and sample."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from rrm_torch import RRM, diagnose
from support.layout_jobs import differences, outcome, visited_samples

N = 600
N_CLASSES = 4


def labels_of(n: int) -> torch.Tensor:
    """Return the given labels, of which a fifth is wrong: those of `true_labels_of` plus 1."""
    true = true_labels_of(n)
    wrong = torch.from_numpy(np.random.default_rng(8).random(n) < 0.2)
    return torch.where(wrong, (true + 1) % N_CLASSES, true)


def true_labels_of(n: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(7).integers(0, N_CLASSES, n))


def logits_of_epoch(epoch: int, n: int, best: int = 4) -> torch.Tensor:
    """Return outputs that improve until epoch `best`, counted from 0, and then approach the given labels."""
    noise = np.random.default_rng(101 + epoch).standard_normal((n, N_CLASSES))
    logits = torch.from_numpy(noise.astype(np.float32))
    rows = torch.arange(n)
    logits[rows, true_labels_of(n)] += 0.8 * min(epoch + 1, best + 1)
    logits[rows, labels_of(n)] += 0.2
    logits[rows, rows % N_CLASSES] += 0.5 * max(epoch - best, 0)
    return logits


def train_epoch(rrm: RRM, epoch: int, samples: torch.Tensor, batch_size: int = 4) -> None:
    """Pass the outputs of some samples to `weighted_mean`, in batches."""
    n = rrm.n
    logits = logits_of_epoch(epoch, n)
    labels = labels_of(n)
    losses = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    for batch in samples.split(batch_size):
        rrm.weighted_mean(losses[batch], batch, logits=logits[batch], labels=labels[batch])


def train(
    layout: str | None, n: int, settings: dict[str, Any], epochs: range, state: dict[str, Any] | None = None
) -> RRM:
    """Train for some epochs, from a state if any."""
    rrm = RRM(n, layout=layout, **settings)
    if state is not None:
        rrm.load_state_dict(state)
    for epoch in epochs:
        train_epoch(rrm, epoch, visited_samples(layout, epoch, n))
        rrm.step()
    return rrm


def comparable(rrm: RRM) -> dict[str, Any]:
    """Return everything to compare, without the number of batches, which depends on the number of ranks. Collective."""
    found = outcome(rrm)
    predictions = found["state"]["predictions"]
    if predictions is not None:
        del predictions["n_calls"], predictions["n_earlier_calls"]
    found["estimate"] = repr(rrm.estimate)
    return found


def differences_by_layout(
    n: int, settings: dict[str, Any], expected: dict[int, dict[str, Any]], half: int
) -> list[list[str]]:
    """Return how each layout's outcome differs from the expected one, after some epochs and when resumed by another."""
    found = []
    for layout in ("replicated", "sharded"):
        for n_epochs, wanted in expected.items():
            found.append(differences(comparable(train(layout, n, settings, range(n_epochs))), wanted))
        other = "sharded" if layout == "replicated" else "replicated"
        state = train(layout, n, settings, range(half)).state_dict()
        last = max(expected)
        resumed = train(other, n, settings, range(half, last), state)
        found.append(differences(comparable(resumed), expected[last]))
    return found


def diagnoses_by_layout(n: int, settings: dict[str, Any], n_epochs: int) -> list[str]:
    """Return the diagnosis of a run in each layout, with the labels of all samples on every rank."""
    return [
        str(diagnose(train(layout, n, settings, range(n_epochs)), labels=labels_of(n)))
        for layout in ("replicated", "sharded")
    ]


def error_of_other_classes(n: int) -> str:
    """Return the error of a step where each rank has logits of another number of classes."""
    rank = torch.distributed.get_rank()
    rrm = RRM(n, contamination="auto", layout="replicated")
    index = torch.arange(n)
    rrm.weighted_mean(torch.rand(n), index, logits=torch.rand(n, 2 + rank), labels=torch.zeros(n, dtype=torch.int64))
    try:
        rrm.step()
    except ValueError as error:
        return str(error)
    return "no error"


def error_of_classes_as_groups(n: int, layout: str) -> str:
    """Return the error of the end of an epoch with the given classes as groups."""
    try:
        train(layout, n, {"contamination": "auto", "groups": labels_of(n)}, range(1))
    except ValueError as error:
        return str(error)
    return "no error"


def trained(n_epochs, **settings):
    return train(None, N, {"contamination": "auto", **settings}, range(n_epochs))


def until_estimate(limit=30, first=0, **settings):
    """Train until there is an estimate; the outputs are those from epoch `first` on."""
    rrm = RRM(N, **{"contamination": "auto", **settings})
    for epoch in range(first, first + limit):
        train_epoch(rrm, epoch, torch.arange(N))
        rrm.step()
        if rrm.estimate is not None:
            return rrm
    raise AssertionError("no estimate")
