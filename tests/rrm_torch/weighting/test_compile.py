"""`torch.compile` of a loop body with `weighted_mean`: one graph, and the bits of the loop without it."""

from __future__ import annotations

import copy

import pytest
import torch

from rrm_torch import RRM, BatchRRM
from support.weighting import assert_identical

N = 64
BATCH = 16


@pytest.fixture(autouse=True)
def _forget_graphs():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def compiled(body, backend="aot_eager"):
    return torch.compile(body, fullgraph=True, backend=backend)


def epochs_of_losses(epochs=3, *, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    for _ in range(epochs):
        losses = torch.empty(N, dtype=dtype).exponential_(generator=generator)
        for index in torch.randperm(N, generator=generator).split(BATCH):
            yield losses[index], index
        yield None


def train(rrm, transform, **options):
    """Return the means and gradients of some epochs."""
    outcome = []

    def body(losses, index):
        values = dict.fromkeys(options.get("terms", ()), 2 * losses)
        return rrm.weighted_mean(losses, index, **values)

    mean_of = transform(body)
    for batch in epochs_of_losses(dtype=options.get("dtype", torch.float32)):
        if batch is None:
            rrm.step()
            continue
        losses = batch[0].clone()
        losses[:2] = options.get("first_losses", losses[:2])
        losses.requires_grad_()
        mean = mean_of(losses, batch[1])
        mean.backward()
        outcome += [mean.detach(), losses.grad]
    return outcome


CASES = {
    "mean": (RRM, {"mu": 0.5}, {}),
    "regularizer": (RRM, {}, {"terms": ["regularizer"]}),
    "ranking": (RRM, {}, {"terms": ["ranking"]}),
    "sum over n": (RRM, {"scale": "paper"}, {}),
    "float64": (RRM, {}, {"dtype": torch.float64}),
    "infinite losses": (RRM, {"mu": 0.5}, {"first_losses": torch.tensor([torch.inf, 1.0])}),
    "NaN": (RRM, {"nan": "prune"}, {"first_losses": torch.tensor([torch.nan, torch.inf])}),
    "batches": (BatchRRM, {}, {}),
}


@pytest.mark.parametrize(("kind", "settings", "options"), CASES.values(), ids=CASES)
def test_graph_gives_bits_of_the_loop(kind, settings, options):
    rrms = [kind(N, contamination=0.25, warmup=1, **settings) for _ in range(2)]
    wanted = train(rrms[0], lambda body: body, **options)
    found = train(rrms[1], compiled, **options)
    for one, other in zip(found, wanted, strict=True):
        assert_identical(one, other)
    for name in ("weights", "losses"):
        assert_identical(getattr(rrms[1], name), getattr(rrms[0], name))
    assert rrms[1].trajectory.rounds == rrms[0].trajectory.rounds


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # of torch itself
def test_generated_code_gives_bits_of_the_loop(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    rrms = [RRM(N, contamination=0.25, warmup=1, mu=0.5) for _ in range(2)]
    wanted = train(rrms[0], lambda body: body)
    found = train(rrms[1], lambda body: compiled(body, "inductor"))
    for one, other in zip(found, wanted, strict=True):
        assert_identical(one, other)


def test_graph_records_every_call():
    """Two equal calls are not merged: the second is an error at the end of the epoch."""
    rrm = RRM(4, contamination=0.25, warmup=1)
    both = compiled(lambda losses, index: (rrm.weighted_mean(losses, index), rrm.weighted_mean(losses, index)))
    both(torch.arange(4.0, requires_grad=True), torch.arange(4))
    with pytest.raises(ValueError, match="4 seen more than once"):
        rrm.step()


def test_graph_records_without_weighting():
    rrm = RRM(4, contamination=0.25, warmup=1)
    compiled(lambda losses, index: rrm.record(losses, index))(torch.arange(4.0), torch.arange(4))
    assert rrm.step().n_pruned == 1


def test_graph_raises_errors_of_a_batch():
    rrm = RRM(4, contamination=0.25, warmup=1)
    mean_of = compiled(lambda losses, index: rrm.weighted_mean(losses, index))
    with pytest.raises(IndexError, match="the first 9"):
        mean_of(torch.arange(4.0), torch.tensor([0, 1, 2, 9]))
    mean_of(torch.arange(4.0), torch.arange(4))
    assert rrm.step() is not None


def test_copy_is_another_object_for_a_graph():
    rrm = RRM(4, contamination=0.25, warmup=1)
    other = copy.deepcopy(rrm)
    compiled(lambda losses, index: other.weighted_mean(losses, index))(torch.arange(4.0), torch.arange(4))
    with pytest.raises(ValueError, match="4 missing"):
        rrm.step()
    assert other.step() is not None


def test_graph_outlives_its_rrm():
    rrm = RRM(4, contamination=0.25, warmup=1)
    number = rrm._number
    del rrm
    with pytest.raises(RuntimeError, match="an RRM that no longer exists"):
        torch.ops.rrm_torch.batch_weights(
            torch.rand(4), False, torch.arange(4), None, None, None, None, number, True, torch.zeros(0)
        )
