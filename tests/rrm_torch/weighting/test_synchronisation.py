"""No batch waits for a GPU.

The loop runs on torch's meta device, whose tensors have no numbers: whatever would have to wait for one, such as
bool(), float(), nonzero() or indexing by a mask, raises. Copies from the host must not block either, and are watched.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import rrm_core
from rrm_torch import ELR, RRM, BatchRRM, batches, fit
from rrm_torch.adversarial.attacks import FGSM, PGD
from rrm_torch.adversarial.trades import TRADES
from rrm_torch.losses import per_sample as losses
from support.weighting import set_epoch

N = 24


class Copies(TorchDispatchMode):
    """Watches the copies from the host to the device."""

    def __init__(self):
        super().__init__()
        self.blocking, self.seen = [], 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        target = kwargs.get("device")
        if func is torch.ops.aten._to_copy.default and target is not None and torch.device(target) != args[0].device:
            self.seen += 1
            if not kwargs.get("non_blocking"):
                self.blocking.append(tuple(args[0].shape))
        return func(*args, **kwargs)


def loop(*, data_device="cpu", rrm=None, **options):
    """Run an epoch's batches on the device; return the copies."""
    model = nn.Sequential(nn.Linear(3, 4, device="meta"), nn.ReLU(), nn.Linear(4, 2, device="meta"))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    x, y = torch.zeros(N, 3, device=data_device), torch.zeros(N, dtype=torch.int64, device=data_device)
    copies = Copies()

    def watched():
        with copies:  # not before the first batch: what has a place for each sample comes over once
            yield from batches(x, y, 8, shuffle=data_device == "cpu")

    fit(model, watched(), optimizer, 1, rrm=rrm, **options)
    return copies


@pytest.fixture
def rrm(monkeypatch):
    rrm = RRM(N, contamination=0.25, warmup=3, epochs=99)
    monkeypatch.setattr(rrm, "step", lambda losses: None)  # which may wait, once an epoch
    return rrm


@pytest.mark.parametrize("data_device", ["cpu", "meta"])
def test_batches_do_not_synchronise(rrm, data_device):
    copies = loop(rrm=rrm, data_device=data_device)
    assert copies.blocking == []
    assert (copies.seen > 0) == (data_device == "cpu")  # x, y and index came over, or were there


OPTIONS = {
    "gce": {"loss": losses.by_name("gce")},
    "truncated_gce": {"loss": losses.by_name("truncated_gce")},
    "elr": {"loss": ELR(N, 2)},
    "fgsm": {"attack": FGSM(0.1)},
    "fgsm, weighted": {"attack": FGSM(0.1, weighted=True)},
    "pgd": {"attack": PGD(0.1, steps=2)},
    "pgd, a unit per channel": {"attack": PGD(0.1, steps=2, unit=(1.0, 2.0, 3.0))},
    "pgd, l2, clipped": {"attack": PGD(0.1, steps=2, norm="l2", clip=(0, 1))},
    "trades": {"loss": TRADES(PGD(0.1, steps=2))},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_batches_with_options_do_not_synchronise(rrm, options):
    assert loop(rrm=rrm, **options).blocking == []


def test_batch_rrm_does_not_synchronise(monkeypatch):
    """Of rrm_core's CUDA kernels, tests of their own say that they don't; here is what surrounds them."""
    calls = []

    def reweight(losses, weights, *, mu, **rule):
        calls.append(rule["contamination"])
        return torch.empty_like(losses), None

    rrm = BatchRRM(N, contamination=0.25, warmup=1)
    set_epoch(rrm, 1)
    monkeypatch.setattr(rrm, "step", lambda losses: None)
    monkeypatch.setattr(rrm_core, "reweight", reweight)
    assert loop(rrm=rrm).blocking == []
    assert calls == [0.25] * 3


def test_steps_not_due_do_not_synchronise():
    rrm = RRM(N, contamination=0.25, warmup=1000, unit="step", epochs=99)
    assert loop(rrm=rrm).blocking == []
    assert rrm.epoch == 3


def test_synchronisation_is_detected(rrm):
    def waiting(outputs, y):
        values = losses.cross_entropy(outputs, y)
        return values * float(values.sum())

    with pytest.raises(RuntimeError, match="meta"):
        loop(rrm=rrm, loss=waiting)


def test_blocking_copy_is_detected():
    with Copies() as copies:
        torch.zeros(3).to("meta")
    assert copies.blocking == [(3,)]


def test_index_on_device_is_checked_by_next_step():
    class Elsewhere(torch.Tensor):
        """On the host, but says that it isn't."""

        @property
        def device(self):
            return torch.device("meta")

    rrm = RRM(4, contamination=0.25, warmup=1)
    index = torch.tensor([0, 1, -1, 4]).as_subclass(Elsewhere)
    rrm.weighted_mean(torch.arange(4.0), index)  # says nothing yet, and writes nothing outside
    with pytest.raises(IndexError, match=r"index must lie in \[0, 4\), got 2 outside"):
        rrm.step()
    rrm.reset_losses()
    rrm.weighted_mean(torch.arange(4.0), torch.arange(4))
    assert rrm.step() is not None
