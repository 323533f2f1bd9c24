from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.testing import assert_allclose, assert_array_equal
from torch import nn

from rrm_torch.models import paper_perceptron, perceptron, residual_features, small_resnet


def weighted(model):
    """Layers that count towards the depth, without the projections of shortcuts."""
    return [
        module
        for name, module in model.named_modules()
        if isinstance(module, (nn.Conv2d, nn.Linear)) and "shortcut" not in name
    ]


# Perceptrons


def test_perceptron_layers():
    model = perceptron(6, (5, 4), 3)
    assert [tuple(p.shape) for p in model.parameters()] == [(5, 6), (5,), (4, 5), (4,), (3, 4), (3,)]
    assert model(torch.zeros(2, 1, 2, 3)).shape == (2, 3)


def test_paper_perceptron_layers():
    model = paper_perceptron()
    assert [tuple(layer.weight.shape) for layer in weighted(model)] == [(320, 784), (320, 320), (200, 320), (10, 200)]
    assert all(layer.bias is None for layer in weighted(model))
    assert sum(isinstance(layer, nn.ReLU) for layer in model) == 3
    assert not isinstance(model[-1], nn.ReLU)


def test_paper_perceptron_against_plain_matrix_products():
    model = paper_perceptron(3)
    x = torch.randn(5, 1, 28, 28)
    expected = x.flatten(1)
    *hidden, last = (layer.weight for layer in weighted(model))
    for weight in hidden:
        expected = (expected @ weight.T).relu()
    expected = expected @ last.T
    logits = model(x)
    assert logits.shape == (5, 3)
    assert_allclose(logits.detach(), expected.detach(), atol=1e-5)
    assert_allclose(model(2 * x).detach(), 2 * logits.detach(), atol=1e-5)  # without biases


# The residual network


@pytest.mark.parametrize(("blocks", "depth"), [(1, 8), (2, 14), ((2, 2, 2, 2), 18), ((3, 4, 6, 3), 34)])
def test_depth(blocks, depth):
    assert len(weighted(small_resnet(10, 4, blocks=blocks))) == depth


@pytest.mark.parametrize("width", [1, 4, 16])
def test_width(width):
    model = small_resnet(7, width)
    channels = [layer.weight.shape[0] for layer in weighted(model)]
    assert channels == [width, width, width, 2 * width, 2 * width, 4 * width, 4 * width, 7]


def test_a_number_of_blocks_for_each_stage():
    model = small_resnet(10, 4, blocks=(1, 3, 1, 2), stem_stride=1)
    names = [name for name, _ in model.named_children() if name.startswith("block")]
    assert names == ["block1_1", "block2_1", "block2_2", "block2_3", "block3_1", "block4_1", "block4_2"]
    features = residual_features(4, blocks=(1, 3, 1, 2), stem_stride=1)
    assert features(torch.randn(2, 3, 32, 32)).shape == (2, 32)


@pytest.mark.parametrize("blocks", [0, (), (2, 0, 2)])
def test_rejects_stages_without_blocks(blocks):
    with pytest.raises(ValueError, match="blocks must be at least 1, got"):
        small_resnet(10, 4, blocks=blocks)


@pytest.mark.parametrize(("stem_stride", "sizes"), [(1, [32, 16, 8]), (2, [16, 8, 4])])
def test_resolution(stem_stride, sizes):
    model = small_resnet(10, 4, stem_stride=stem_stride)
    actual = []
    for name in ("block1_1", "block2_1", "block3_1"):
        model.get_submodule(name).register_forward_hook(lambda _, __, y: actual.append(y.shape[2]))
    assert model(torch.randn(2, 3, 32, 32)).shape == (2, 10)
    assert actual == sizes


def test_residual_block_adds_its_input():
    block = small_resnet(10, 4).get_submodule("block1_1").eval()
    x = torch.rand(2, 4, 8, 8)
    nn.init.zeros_(block.second.weight)  # nothing but the shortcut is left
    assert_array_equal(block(x).detach(), x)


def test_shortcut_matches_channels_and_resolution():
    model = small_resnet(10, 4)
    assert isinstance(model.get_submodule("block1_1").shortcut, nn.Identity)
    for name, n_out in (("block2_1", 8), ("block3_1", 16)):
        projection = model.get_submodule(name).shortcut[0]
        assert (projection.out_channels, projection.stride, projection.kernel_size) == (n_out, (2, 2), (1, 1))


@pytest.mark.parametrize("size", [1, 7, 32, 40])
def test_other_image_sizes(size):
    assert small_resnet(3, 2)(torch.randn(2, 3, size, size)).shape == (2, 3)


def test_keeps_channels_last():
    model = small_resnet(10, 4).to(memory_format=torch.channels_last)
    for name in ("stem", "block1_1", "block2_1", "block3_1"):
        model.get_submodule(name).register_forward_hook(
            lambda _, __, y: kept.append(y.is_contiguous(memory_format=torch.channels_last))
        )
    kept = []
    x = torch.randn(3, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    logits = model(x)
    assert kept == [True] * 4
    assert_allclose(
        logits.detach(), model.to(memory_format=torch.contiguous_format)(x.contiguous()).detach(), atol=1e-4
    )


def test_logits_are_float32_under_autocast():
    torch.manual_seed(0)
    model = small_resnet(10, 8).eval()
    x = torch.randn(4, 3, 32, 32)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        assert model[0](x).dtype == torch.bfloat16
        logits = model(x)
    assert logits.dtype == torch.float32
    assert_allclose(logits, model(x).detach(), atol=0.05)


def test_every_parameter_gets_a_gradient():
    torch.manual_seed(0)
    model = small_resnet(10, 4)
    model(torch.randn(8, 3, 32, 32)).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in model.parameters())


def test_small_resnet_memorises_random_labels():
    torch.manual_seed(0)
    x, y = torch.randn(24, 3, 16, 16), torch.randint(4, (24,))  # random labels can only be memorised
    model = small_resnet(4, 16).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(40):
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(x)
        loss = F.cross_entropy(logits, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (logits.argmax(1) == y).float().mean() > 0.95


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: paper_perceptron(1), "n_classes must be at least 2, got 1"),
        (lambda: small_resnet(0), "n_classes must be at least 2, got 0"),
        (lambda: small_resnet(10, 0), "width must be at least 1, got 0"),
        (lambda: small_resnet(10, blocks=0), "blocks must be at least 1, got 0"),
        (lambda: small_resnet(10, stem_stride=4), "stem_stride must be 1 or 2, got 4"),
    ],
)
def test_rejects_bad_arguments(build, message):
    with pytest.raises(ValueError, match=message):
        build()
