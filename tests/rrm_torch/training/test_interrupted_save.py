"""Ctrl-C at any instruction of a save: the checkpoint is the old one or the new one, whole."""

from __future__ import annotations

from itertools import chain

import pytest
import torch
from torch import nn

from rrm_torch import RRM, Checkpoint
from support.interrupts import interrupted

SAMPLES = 20


def fill(model, value):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(value)


# Interrupted before an opened file has a name, Python closes it with a warning.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("exists", [True, False])
def test_interrupted_save_leaves_the_old_checkpoint_or_the_new_one(exists, tmp_path):
    path = tmp_path / "run.pt"
    model = nn.Linear(30, 20)
    rrm = RRM(50, contamination=0.2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    checkpoint = Checkpoint(path, model=model, optimizer=optimizer, rrm=rrm)
    other = nn.Linear(30, 20)
    reader = Checkpoint(path, model=other, optimizer=torch.optim.SGD(other.parameters(), lr=0.1), rrm=rrm)

    def make():
        path.unlink(missing_ok=True)
        if exists:
            fill(model, 1.0)
            checkpoint.save(1)
        fill(model, 2.0)

    old = 1 if exists else 0
    found = set()
    # Of the whole call; and of its end, where the file is put in place.
    parts = (interrupted(make, lambda _: checkpoint.save(2), samples=SAMPLES, last=last) for last in (None, 200))
    for point, _ in chain.from_iterable(parts):
        assert {entry.name for entry in tmp_path.iterdir()} <= {"run.pt"}, point
        fill(other, 0.0)
        epoch = reader.load()
        assert epoch in (old, 2), point
        values = {value for parameter in other.parameters() for value in parameter.unique().tolist()}
        assert values == {float(epoch)}, point
        found.add(epoch)
    assert found == {old, 2}
