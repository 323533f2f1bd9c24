"""What methods with a clean set share, with both of them."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch.optim.lr_scheduler import ExponentialLR
from torch.testing import assert_close

from rrm_torch import Checkpoint, evaluate
from rrm_torch.methods.clean_set import BatchResult
from support.clean_sets import METHODS, N_CLEAN, N, clusters, make, network

both = pytest.mark.parametrize("kind", METHODS)


def assert_same(first, second):
    """Assert that two methods have the same bits."""
    one, other = first.state_dict(), second.state_dict()
    assert one["history"] == other["history"]
    for name, tensor in one["tensors"].items():
        assert torch.equal(tensor, other["tensors"][name]), name
    for part in one["parts"]:
        assert_close(one["parts"][part], other["parts"][part], rtol=0, atol=0, msg=part)


@both
def test_resumed_run_equals_an_uninterrupted_one_to_the_bit(kind, tmp_path):
    options = {"scheduler": partial(ExponentialLR, gamma=0.5), "batch_size": 20}
    whole = make(kind, **options)
    torch.manual_seed(9)  # of dropout
    whole.fit(4)
    torch.manual_seed(9)
    path = tmp_path / "run.pt"
    for epochs in (1, 3, 4):
        part = make(kind, **options)
        if epochs == 1:
            torch.manual_seed(9)
        part.fit(epochs, checkpoint=Checkpoint(path, method=part))
    assert part.epoch == 4
    assert_same(part, whole)


@both
def test_wrong_labels_get_lower_weights_and_the_classes_are_learned(kind):
    data, wrong = clusters(120, 0.4)
    clean, _ = clusters(30, seed=1)
    method = make(kind, data=data, clean=clean, batch_size=30, clean_batch_size=30)
    history = method.fit(30)
    assert method.weights[wrong].mean() < 0.8 * method.weights[~wrong].mean()
    test, _ = clusters(300, seed=2)
    accuracy = evaluate(method.predictor, test.batches(300))
    assert accuracy > 0.75
    assert history[-1]["clean_loss"] < history[0]["clean_loss"]
    assert method.predictor is method.model


@both
def test_every_sample_is_trained_once_an_epoch_and_its_weight_kept(kind, monkeypatch):
    numbers = torch.arange(N).float()
    data = replace(clusters(N)[0], inputs=numbers[:, None].repeat(1, 4))
    clean = replace(clusters(N_CLEAN)[0], inputs=torch.arange(N_CLEAN).float()[:, None].repeat(1, 4))
    method = make(kind, data=data, clean=clean)
    clean_numbers = []
    orders = []

    def train_batch(batch):
        number = batch.x[:, 0]
        assert torch.equal(batch.y, data.labels[number.long()])
        assert torch.equal(batch.clean_y, clean.labels[batch.clean_x[:, 0].long()])
        clean_numbers.extend(batch.clean_x[:, 0].tolist())
        orders.extend(number.tolist())
        return BatchResult(2 * number, number, torch.tensor(7.0))

    monkeypatch.setattr(method, "_train_batch", train_batch)
    assert torch.equal(method.weights, torch.ones(N))
    (row,) = method.fit(1)
    assert torch.equal(method.weights, numbers)
    assert row == {"epoch": 1, "loss": N - 1, "clean_loss": 7, "mean_weight": (N - 1) / 2}
    first = list(orders)
    # 12 clean samples in batches of 5, 5 and 2, and the first batch of another pass.
    assert sorted(clean_numbers[:N_CLEAN]) == list(range(N_CLEAN))
    assert len(clean_numbers) == N_CLEAN + 5
    first_clean = list(clean_numbers)
    method.fit(2)
    assert orders[N:] != first
    assert clean_numbers[len(first_clean) :] != first_clean


@both
def test_seeds_decide_on_the_order_and_augmentation_is_used(kind):
    def weak(x, generator):
        return x + torch.rand(x.shape, generator=generator)

    def run(seed, transform=None):
        torch.manual_seed(0)
        data = replace(clusters(N, 0.4)[0], weak=transform)
        method = make(kind, data=data, seed=seed)
        return method.fit(1)[0]["loss"]

    assert run(0) == run(0)
    assert run(0, weak) == run(0, weak)
    assert len({run(0), run(1), run(0, weak)}) == 3


@both
def test_autocast_changes_the_losses_by_rounding_only(kind):
    def run(autocast):
        torch.manual_seed(0)
        return make(kind, autocast=autocast).fit(1)[0]

    full = run(None)
    mixed = run(torch.bfloat16)
    assert mixed["loss"] != full["loss"]
    assert mixed["loss"] == pytest.approx(full["loss"], rel=0.05)
    assert mixed["clean_loss"] != full["clean_loss"]
    assert mixed["clean_loss"] == pytest.approx(full["clean_loss"], rel=0.05)


@both
def test_every_pass_of_the_model_is_under_autocast(kind):
    model = network()
    types = []
    model[4].register_forward_hook(lambda module, inputs, output: types.append(output.dtype))
    make(kind, model, autocast=torch.bfloat16, batch_size=N).fit(1)
    # The virtual step, the clean batch, and the step of the model.
    assert types == [torch.bfloat16] * 3


@both
def test_wrong_arguments_are_rejected_by_name(kind):
    with pytest.raises(TypeError, match="model must be a module that returns logits, got str"):
        make(kind, model="network")
    with pytest.raises(TypeError, match=r"clean must be a TrainingSet of samples with correct labels, got tuple"):
        make(kind, clean=(torch.zeros(3, 4), torch.zeros(3).long()))
    with pytest.raises(TypeError, match="data must be a TrainingSet, got list"):
        make(kind, data=[1])
    with pytest.raises(ValueError, match="clean must have the 3 classes of data, got n_classes=4"):
        make(kind, clean=replace(clusters(N_CLEAN)[0], n_classes=4))
    for name in ("batch_size", "clean_batch_size"):
        with pytest.raises(ValueError, match=f"{name} must be at least 2, got 1"):
            make(kind, **{name: 1})
    with pytest.raises(ValueError, match=r"autocast must be torch.bfloat16 or None, got torch.float16"):
        make(kind, autocast=torch.float16)


@both
def test_state_of_another_clean_set_is_rejected(kind):
    state = make(kind).state_dict()
    method = make(kind, clean=clusters(9, seed=1)[0])
    with pytest.raises(ValueError, match="n_clean is 12 in the state and 9 here"):
        method.load_state_dict(state)
    with pytest.raises(ValueError, match="clean_batch_size is 5 in the state and 4 here"):
        make(kind, clean_batch_size=4).load_state_dict(state)


def spy_on_batches(method, monkeypatch):
    """Return a list to which each batch of a method is added, in place of training on it."""
    seen = []

    def train_batch(batch):
        seen.append(batch)
        return BatchResult(torch.zeros(len(batch.y)), torch.zeros(len(batch.y)), torch.tensor(0.0))

    monkeypatch.setattr(method, "_train_batch", train_batch)
    return seen


@both
def test_clean_batches_have_the_size_of_training_batches_by_default(kind, monkeypatch):
    method = make(kind, clean=clusters(N, seed=1)[0], clean_batch_size=None)
    batches = spy_on_batches(method, monkeypatch)
    method.fit(1)
    assert {len(batch.clean_y) for batch in batches} == {12}


@both
def test_clean_samples_have_an_order_of_their_own(kind, monkeypatch):
    data, _ = clusters(N)
    method = make(kind, data=data, clean=data, clean_batch_size=None)
    batches = spy_on_batches(method, monkeypatch)
    method.fit(1)
    assert not torch.equal(torch.cat([batch.x for batch in batches]), torch.cat([batch.clean_x for batch in batches]))


@both
def test_each_set_has_its_own_augmentation(kind, monkeypatch):
    data = replace(clusters(N)[0], weak=lambda x, generator: torch.full_like(x, 1.0))
    clean = replace(clusters(N_CLEAN)[0], weak=lambda x, generator: torch.full_like(x, 2.0))
    method = make(kind, data=data, clean=clean)
    batches = spy_on_batches(method, monkeypatch)
    method.fit(1)
    assert all(bool((batch.x == 1).all()) for batch in batches)
    assert all(bool((batch.clean_x == 2).all()) for batch in batches)


@both
def test_model_trains_in_training_mode(kind):
    method = make(kind)
    method.model.eval()
    method.fit(1)
    assert method.model.training
    assert method.model[1].num_batches_tracked == 4
