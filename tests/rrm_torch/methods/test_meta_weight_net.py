from __future__ import annotations

import copy
from functools import partial

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn
from torch.optim.lr_scheduler import ExponentialLR

from rrm_torch.methods import meta_weight_net
from rrm_torch.methods.meta_weight_net import MetaWeightNet, make_weight_net, meta_gradient
from rrm_torch.methods.training_set import TrainingSet
from support.clean_sets import (
    clean_loss_by_hand,
    clusters,
    double_batch,
    make,
    network,
    recorded_batch,
    recorded_model,
    recorded_numbers,
    recorded_weight_net,
)

TOLERANCE = 1e-6
KIND = "Meta-Weight-Net"


def flat(module):
    return torch.cat([parameter.detach().flatten() for parameter in module.parameters()])


def recorded_method(**options):
    batch = recorded_batch()
    data = TrainingSet(batch.x, batch.y, 5)
    clean = TrainingSet(batch.clean_x, batch.clean_y, 5)
    return MetaWeightNet(recorded_model(), data, clean, weight_net=recorded_weight_net(), **options)


def test_step_ends_with_the_recorded_parameters(record_property):
    recorded = recorded_numbers()
    method = recorded_method()
    method._train_batch(recorded_batch())
    for name, module in (("weight_net", method.weight_net), ("model", method.model)):
        difference = float((flat(module) - torch.tensor(recorded[name])).abs().max())
        record_property(name, difference)
        assert difference < TOLERANCE, name


def test_running_statistics_are_those_of_one_pass():
    method = recorded_method()
    once = recorded_model()
    once(recorded_batch().x)
    method._train_batch(recorded_batch())
    for name, buffer in method.model.named_buffers():
        assert torch.equal(buffer, dict(once.named_buffers())[name]), name
    assert method.model[0].norm.num_batches_tracked == 1


def test_gradient_is_that_of_finite_differences():
    model = recorded_model().double()
    weight_net = recorded_weight_net().double()
    batch = double_batch(recorded_batch())
    losses = F.cross_entropy(copy.deepcopy(model)(batch.x), batch.y, reduction="none").detach()

    def loss_with(parameter, i, change):
        changed = copy.deepcopy(weight_net)
        with torch.no_grad():
            changed.get_parameter(parameter).view(-1)[i] += change
            weights = changed(losses[:, None])[:, 0]
        return clean_loss_by_hand(model, batch, weights / len(losses), 0.5)

    gradients = meta_gradient(model, weight_net, batch, virtual_rate=0.5).gradients
    step = 1e-4
    for (name, parameter), gradient in zip(weight_net.named_parameters(), gradients, strict=True):
        for i in range(parameter.numel()):
            numeric = (loss_with(name, i, step) - loss_with(name, i, -step)) / (2 * step)
            assert float(gradient.view(-1)[i]) == pytest.approx(numeric, rel=1e-4, abs=1e-9), (name, i)


class One(nn.Module):
    """A weight net that gives every sample the weight 1."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, losses):
        return self.weight * torch.ones_like(losses)


def test_unit_weights_are_plain_sgd_to_the_bit():
    data, _ = clusters(50, 0.4)
    model = network()
    del model[3]  # dropout, whose draws differ
    plain = copy.deepcopy(model)
    method = make(KIND, model, data, weight_net=One(), weight_optimizer=partial(torch.optim.SGD, lr=0.0))
    method.fit(2)
    optimizer = meta_weight_net.SGD(plain.parameters())
    plain.train()
    for epoch in (1, 2):
        for index in data.shuffled(torch.arange(50), 12, data.draws(0, epoch)):
            losses = F.cross_entropy(plain(data.inputs[index]), data.labels[index], reduction="none")
            optimizer.zero_grad()
            losses.mean().backward()
            optimizer.step()
    for name, value in plain.state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name
    assert torch.equal(method.weights, torch.ones(50))


@pytest.mark.parametrize(("virtual_rate", "rates"), [(None, [0.1, 0.05]), (0.3, [0.3, 0.3])])
def test_virtual_rate_is_the_optimizers_current_one_unless_it_is_set(monkeypatch, virtual_rate, rates):
    used = []

    def spy(*arguments, virtual_rate):
        used.append(virtual_rate)
        return meta_gradient(*arguments, virtual_rate=virtual_rate)

    monkeypatch.setattr(meta_weight_net, "meta_gradient", spy)
    make(KIND, batch_size=48, scheduler=partial(ExponentialLR, gamma=0.5), virtual_rate=virtual_rate).fit(2)
    assert used == pytest.approx(rates)


def test_weight_net_of_a_seed_leaves_the_global_generator_alone():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    first = make_weight_net(seed=1)
    assert torch.equal(torch.rand(1), expected)
    assert torch.equal(flat(first), flat(make_weight_net(seed=1)))
    assert not torch.equal(flat(first), flat(make_weight_net(seed=2)))
    assert [parameter.numel() for parameter in first.parameters()] == [100, 100, 100, 1]


def test_default_weight_net_is_that_of_the_seed():
    assert torch.equal(flat(make(KIND, seed=2).weight_net), flat(make_weight_net(seed=2)))


def test_weight_net_has_full_precision_under_autocast():
    types = []
    weight_net = recorded_weight_net()
    weight_net[0].register_forward_hook(lambda module, inputs, output: types.append(output.dtype))
    method = make(KIND, weight_net=weight_net, autocast=torch.bfloat16, batch_size=48)
    method.fit(1)
    assert set(types) == {torch.float32}
    assert len(types) == 2


@pytest.mark.parametrize("virtual_rate", [0, -0.1, float("nan")])
def test_rejects_a_virtual_rate_that_is_not_positive(virtual_rate):
    with pytest.raises(ValueError, match="virtual_rate must be above 0, got"):
        make(KIND, virtual_rate=virtual_rate)


def test_rejects_a_weight_net_that_is_no_module():
    with pytest.raises(TypeError, match=r"weight_net must be a module, got function; make_weight_net\(\)"):
        make(KIND, weight_net=lambda losses: losses)
