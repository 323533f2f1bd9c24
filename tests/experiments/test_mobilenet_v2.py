"""MobileNetV2: parameters, names, values of a block, features."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn
from torch.testing import assert_close

from experiments.data.cifar_features import WEIGHTS_PACKAGE, find_weights
from experiments.mobilenet_v2 import InvertedResidual, MobileNetV2, Stage, load_mobilenet_v2

TINY = (Stage(1, 2, 1, 1), Stage(3, 4, 2, 2))


@pytest.fixture(scope="module")
def network():
    return MobileNetV2().eval()


def randomised(module):
    """Fill a module with random numbers, variances with positive ones, and return it in evaluation mode."""
    for name, values in module.state_dict().items():
        if values.is_floating_point():
            values.normal_()
            if name.endswith("var"):
                values.abs_().add_(0.5)
    return module.eval()


def test_parameters_are_as_many_as_published(network):
    assert sum(parameter.numel() for parameter in network.parameters()) == 3_504_872


def test_names_and_shapes_are_those_of_torchvision(network):
    shapes = {name: tuple(values.shape) for name, values in network.state_dict().items()}
    assert len(shapes) == 314
    assert shapes["features.0.0.weight"] == (32, 3, 3, 3)
    assert shapes["features.0.1.running_var"] == (32,)
    assert shapes["features.1.conv.0.0.weight"] == (32, 1, 3, 3)
    assert shapes["features.1.conv.1.weight"] == (16, 32, 1, 1)
    assert shapes["features.2.conv.0.0.weight"] == (96, 16, 1, 1)
    assert shapes["features.2.conv.1.0.weight"] == (96, 1, 3, 3)
    assert shapes["features.17.conv.2.weight"] == (320, 960, 1, 1)
    assert shapes["features.17.conv.3.num_batches_tracked"] == ()
    assert shapes["features.18.0.weight"] == (1280, 320, 1, 1)
    assert shapes["classifier.1.weight"] == (1000, 1280)
    assert {name.rpartition(".")[2] for name in shapes} == {
        *("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    }


def normalised(x, state, name):
    parts = [state[f"{name}.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")]
    mean, var, weight, bias = parts
    return (x - mean) / (var + 1e-5).sqrt() * weight + bias


@pytest.mark.parametrize(("n_in", "n_out", "stride"), [(3, 3, 1), (3, 4, 1), (3, 3, 2)])
def test_block_follows_its_formula(n_in, n_out, stride):
    torch.manual_seed(0)
    block = randomised(InvertedResidual(n_in, n_out, stride, expansion=2))
    state = block.state_dict()
    x = torch.randn(2, n_in, 5, 5)
    y = torch.einsum("oi,nihw->nohw", state["conv.0.0.weight"][:, :, 0, 0], x)
    y = normalised(y, state, "conv.0.1").clamp(0, 6)
    padded = F.pad(y, (1, 1, 1, 1))
    windows = padded.unfold(2, 3, stride).unfold(3, 3, stride)
    y = torch.einsum("nchwij,cij->nchw", windows, state["conv.1.0.weight"][:, 0])
    y = normalised(y, state, "conv.1.1").clamp(0, 6)
    y = torch.einsum("oi,nihw->nohw", state["conv.2.weight"][:, :, 0, 0], y)
    y = normalised(y, state, "conv.3")
    if stride == 1 and n_in == n_out:
        y = y + x
    assert_close(block(x), y, rtol=1e-4, atol=1e-4)
    assert y.shape[2:] == ((5, 5) if stride == 1 else (3, 3))


def test_first_block_does_not_expand():
    names = {name for name, _ in InvertedResidual(4, 2, 1, expansion=1).named_parameters()}
    assert names == {
        *("conv.0.0.weight", "conv.0.1.weight", "conv.0.1.bias"),
        *("conv.1.weight", "conv.2.weight", "conv.2.bias"),
    }


def test_features_are_means_of_the_last_convolution():
    torch.manual_seed(0)
    network = randomised(MobileNetV2(5, TINY, stem_width=4, n_features=6))
    images = torch.randn(2, 3, 17, 17)
    pixels = images
    for layer in network.features:
        pixels = layer(pixels)
    assert pixels.shape == (2, 6, 5, 5)
    features = network.embed(images)
    assert_close(features, pixels.flatten(2).mean(2))
    logits = features @ network.classifier[1].weight.T + network.classifier[1].bias
    assert_close(network(images), logits)


def test_features_and_logits_have_the_published_numbers(network):
    images = torch.zeros(2, 3, 32, 32)
    with torch.inference_mode():
        assert network.embed(images).shape == (2, 1280)
        assert network(images).shape == (2, 1000)


def test_only_a_state_dict_of_the_network_is_loaded(tmp_path):
    path = tmp_path / "w.pth"
    with pytest.raises(FileNotFoundError, match=r"w\.pth' isn't an existing file"):
        load_mobilenet_v2(path)
    torch.save(nn.Linear(2, 2).state_dict(), path)
    with pytest.raises(ValueError, match=r"w\.pth must be the state dict of torchvision's mobilenet_v2"):
        load_mobilenet_v2(path)
    path.write_bytes(b"damaged")
    with pytest.raises(ValueError, match=r"w\.pth must be the state dict"):
        load_mobilenet_v2(path)


def test_published_parameters_are_loaded():
    try:
        path = find_weights()
    except ValueError:
        pytest.skip(f"{WEIGHTS_PACKAGE} is not installed")
    network = load_mobilenet_v2(path)
    assert not network.training
    with torch.inference_mode():
        assert bool(network(torch.zeros(1, 3, 64, 64)).isfinite().all())
