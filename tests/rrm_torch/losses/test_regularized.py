from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn
from torch.testing import assert_close

from rrm_torch.losses.per_sample import cross_entropy
from rrm_torch.losses.regularized import LossParts, Regularized, label_loss, split_loss


def logits_and_classes():
    return 2 * torch.randn(6, 4, generator=torch.Generator().manual_seed(0)), torch.arange(6) % 4


def test_split_loss_without_regularizer():
    outputs, hard = logits_and_classes()
    for model in (nn.Identity(), lambda x: x.half()):
        losses, regularizer, _ = split_loss(cross_entropy, model, outputs, hard, torch.arange(6))
        assert regularizer is None
        assert_close(losses, cross_entropy(model(outputs), hard), rtol=0, atol=0)
    split_loss(
        lambda z, y: assert_close(z, outputs.half().float()) or y, model, outputs, hard, hard
    )  # converted to float32 first
    assert label_loss(cross_entropy) is cross_entropy


def test_split_loss_passes_dict_outputs_unchanged():
    y = torch.arange(3)
    losses, *_ = split_loss(lambda z, y: z["logits"][:, 0] + y, lambda x: {"logits": x}, torch.ones(3, 2), y, y)
    assert losses.tolist() == [1, 2, 3]


class IndexRegularized:
    """A loss whose regularizer is the sample's index."""

    def label_loss(self, outputs, y):
        return outputs.sum(1) + y

    def parts(self, model, x, y, index):
        outputs = model(x)
        return LossParts(self.label_loss(outputs, y), index.float())


def test_split_loss_with_regularizer():
    loss = IndexRegularized()
    assert isinstance(loss, Regularized)
    losses, regularizer, _ = split_loss(loss, nn.Identity(), torch.ones(2, 3), torch.zeros(2), torch.tensor([4, 5]))
    assert losses.tolist() == [3, 3]
    assert regularizer.tolist() == [4, 5]
    assert label_loss(loss)(torch.ones(2, 3), 0).tolist() == [3, 3]


def test_split_loss_rejects_reduced_loss():
    outputs, hard = logits_and_classes()
    with pytest.raises(ValueError, match=r"one value per sample, of shape \(6,\), got \(\); use reduction='none'"):
        split_loss(F.cross_entropy, nn.Identity(), outputs, hard, hard)


@pytest.mark.parametrize("function", [label_loss, lambda loss: split_loss(loss, None, None, None, None)])
def test_rejects_loss_name(function):
    with pytest.raises(TypeError, match=r"loss must be callable, got 'gce'; rrm_torch\.losses\.by_name"):
        function("gce")
