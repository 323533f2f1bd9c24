from __future__ import annotations

import torch
from torch.testing import assert_close

from support.small_methods import centrality_networks, noisy_set

X = noisy_set().inputs[:6]


def test_forward_is_the_classifier():
    network = centrality_networks()[0]
    assert torch.equal(network(X), network.classify(network.backbone(X)))


def test_every_parameter_belongs_to_one_group():
    network = centrality_networks()[0]
    main = network.main_parameters()
    heads = network.head_parameters()
    assert {id(parameter) for parameter in main + heads} == {id(parameter) for parameter in network.parameters()}
    assert len(main) + len(heads) == len(list(network.parameters()))
    network(X).sum().backward()
    assert all(parameter.grad is not None for parameter in main)
    assert all(parameter.grad is None for parameter in heads)


def test_heads_are_full_precision_under_autocast():
    network = centrality_networks()[0]
    with torch.autocast("cpu", torch.bfloat16):
        features = network.features(X)
        reduced = network.reduce(features)
        outputs = [network.classify(features), reduced, *network.heads(reduced)]
    assert all(output.dtype == torch.float32 for output in [features, *outputs])
    assert_close(outputs[0], network.classify(features))
