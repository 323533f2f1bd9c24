from __future__ import annotations

import torch
from torch.testing import assert_close

from support.small_methods import N_CLASSES
from support.small_promix import noisy_images, two_head_networks

X = noisy_images().inputs[:6]


def test_forward_is_the_primary_head():
    network = two_head_networks()[0]
    assert network.n_classes == N_CLASSES
    logits = network.both(X)
    assert torch.equal(network(X), logits.primary)
    assert torch.equal(logits.pseudo, network.pseudo(network.backbone(X)))
    assert not torch.equal(logits.primary, logits.pseudo)


def test_heads_are_full_precision_under_autocast():
    network = two_head_networks()[0]
    with torch.autocast("cpu", torch.bfloat16):
        features = network.backbone[:2](X)
        logits = network.both(X)
    assert features.dtype == torch.bfloat16
    assert all(head.dtype == torch.float32 for head in logits)
    assert_close(logits.primary, network(X), atol=0.1, rtol=0)
