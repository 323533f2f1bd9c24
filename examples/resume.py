"""Interrupt a training run and resume it: the result is the same, bit for bit.

    python examples/resume.py

The checkpoint holds every object that has a state, the generator that shuffles the samples included.
"""

import tempfile
from pathlib import Path

import torch

from rrm_torch import RRM, Checkpoint, batches, fit, load
from rrm_torch.data import noise

EPOCHS = 12
digits = load("digits")
labels = torch.from_numpy(noise.symmetric(digits.y_train.numpy(), 0.3, 10, rng=0).labels)


def train(path, epochs):
    """Train up to `epochs`, from the checkpoint at `path` if there is one; return the model and RRM."""
    torch.manual_seed(0)
    order = torch.Generator().manual_seed(0)
    loader = batches(digits.x_train, labels, 32, shuffle=True, generator=order)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    rrm = RRM(len(labels), contamination=0.3, warmup=4)
    checkpoint = Checkpoint(path, model=model, optimizer=optimizer, rrm=rrm, order=order)
    fit(model, loader, optimizer, epochs, rrm=rrm, checkpoint=checkpoint)
    return model, rrm


with tempfile.TemporaryDirectory() as folder:
    whole_model, whole_rrm = train(Path(folder, "whole.pt"), EPOCHS)
    train(Path(folder, "parts.pt"), 7)  # interrupted after 7 epochs
    model, rrm = train(Path(folder, "parts.pt"), EPOCHS)  # resumed by the same call

same_weights = torch.equal(rrm.weights, whole_rrm.weights)
pairs = zip(model.parameters(), whole_model.parameters(), strict=True)
same_model = all(torch.equal(resumed, whole) for resumed, whole in pairs)
print(f"resumed after 7 of {EPOCHS} epochs: same sample weights {same_weights}, same model {same_model}")
