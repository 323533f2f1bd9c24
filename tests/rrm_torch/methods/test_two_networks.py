from __future__ import annotations

import torch
from torch.testing import assert_close

from rrm_torch import RRM
from rrm_torch.methods.training_set import TrainingSet
from rrm_torch.methods.two_networks import Ensemble
from support.small_methods import N, make_dividemix, networks, noisy_set


def test_ensemble_adds_logits_and_switches_both_networks():
    first, second = networks()
    ensemble = Ensemble((first, second)).eval()
    assert not first.training
    assert not second.training
    x = noisy_set().inputs
    assert torch.equal(ensemble(x), first(x) + second(x))


def test_losses_are_those_of_inputs_without_augmentation_in_evaluation_mode():
    data = noisy_set()
    prepared = TrainingSet(data.inputs, data.labels, 3, weak=data.weak, prepare=lambda x: 2 * x)
    method = make_dividemix(prepared)
    model = method.models[1].train()
    losses = method.losses_of(1)
    assert model.training
    expected = torch.nn.functional.cross_entropy(model.eval()(2 * data.inputs), data.labels, reduction="none")
    assert_close(losses, expected)


def test_losses_of_some_samples_are_in_the_order_of_their_index():
    method = make_dividemix()
    some = torch.tensor([3, 17, 40])
    assert_close(method.losses_of(0, some), method.losses_of(0)[some])


def test_warm_up_uses_all_given_labels():
    method = make_dividemix(warmup=30)
    method.fit(30)
    predictions = method.predictor.eval()(method.data.inputs).argmax(1)
    truth = torch.arange(N) % 3
    assert (predictions == truth).float().mean() > 0.8


def test_rrm_stays_as_it_is_in_the_warm_up():
    rrm = (RRM(N, warmup=1), RRM(N, warmup=1))
    make_dividemix(rrm=rrm, warmup=2).fit(2)
    assert [each.epoch for each in rrm] == [0, 0]
