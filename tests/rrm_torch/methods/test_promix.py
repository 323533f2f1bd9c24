"""ProMix: what each network chooses, where RRM enters, few samples, and the state of a run."""

from __future__ import annotations

import pytest
import torch

from support.small_promix import make_promix, record_steps


def finite(row):
    return torch.tensor(row["loss"]).isfinite().all()


# Few or no samples


def test_batches_without_a_label_or_a_guess_are_no_error(monkeypatch):
    method = make_promix(batch_size=2, pseudo_epochs=1, share=0.1, confidence=0.99999)
    steps = record_steps(monkeypatch)
    row = method.fit(3)[-1]
    assert any((step.result.n_chosen == 0).all() for step in steps)
    assert finite(row)
