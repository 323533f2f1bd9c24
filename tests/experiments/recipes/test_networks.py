"""The networks of the recipes; those of torchvision and timm are replaced by small ones."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from experiments.recipes import networks


class Pooled(nn.Module):
    """A network with the attributes of torchvision's; `n_features` numbers before its last layer."""

    def __init__(self, n_features):
        super().__init__()
        self.stem = nn.Linear(3, n_features)
        self.fc = nn.Linear(n_features, 1000)
        self.classifier = nn.Sequential(nn.Linear(n_features, n_features), nn.Linear(n_features, 1000))

    def last(self):
        return self.fc

    def forward(self, x):
        return self.last()(self.stem(x.mean((2, 3))))


class Vgg(Pooled):
    def last(self):
        return self.classifier


@pytest.fixture
def torchvision(monkeypatch):
    """Replace torchvision's models; return the weights that were asked for."""
    weights = []

    def make(kind, n_features):
        def network(*, weights=None):
            asked.append(weights)
            return kind(n_features)

        return network

    asked = weights
    models = SimpleNamespace(
        resnet50=make(Pooled, 2048),
        vgg19_bn=make(Vgg, 4096),
        ResNet50_Weights=SimpleNamespace(IMAGENET1K_V1="ImageNet"),
    )
    monkeypatch.setitem(sys.modules, "torchvision", SimpleNamespace(models=models))
    monkeypatch.setitem(sys.modules, "torchvision.models", models)
    return asked


@pytest.mark.parametrize(("name", "n_features"), [("small", 64), ("cifar-resnet18", 512), ("cifar-resnet34", 512)])
def test_own_networks(name, n_features):
    backbone, n = networks.make_backbone(name)
    assert n == n_features
    assert backbone.eval()(torch.randn(2, 3, 8, 8)).shape == (2, n_features)
    assert networks.make_network(name, 3 * 64, 7).eval()(torch.randn(2, 3, 8, 8)).shape == (2, 7)


def test_depth_of_the_networks_for_cifar():
    for name, depth in (("cifar-resnet18", 18), ("cifar-resnet34", 34)):
        layers = networks.make_network(name, 3072, 10).modules()
        weighted = [layer for layer in layers if isinstance(layer, (nn.Conv2d, nn.Linear))]
        assert sum(not isinstance(layer, nn.Conv2d) or layer.kernel_size == (3, 3) for layer in weighted) == depth


def test_perceptron_has_the_features_as_inputs():
    network = networks.make_network("perceptron", 20, 3)
    assert network(torch.randn(5, 20)).shape == (5, 3)


@pytest.mark.parametrize(("name", "n_features", "weights"), [("resnet50", 2048, ["ImageNet"]), ("vgg19", 4096, [None])])
def test_networks_of_torchvision_lose_their_last_layer(name, n_features, weights, torchvision):
    backbone, n = networks.make_backbone(name)
    assert n == n_features
    assert backbone(torch.randn(2, 3, 8, 8)).shape == (2, n_features)
    assert torchvision == weights
    assert networks.make_network(name, 3 * 64, 14)(torch.randn(2, 3, 8, 8)).shape == (2, 14)


def test_network_of_timm_is_made_without_its_last_layer(monkeypatch):
    asked = {}

    def create_model(name, **options):
        asked[name] = options
        return nn.Linear(1, 1536)

    monkeypatch.setitem(sys.modules, "timm", SimpleNamespace(create_model=create_model))
    assert networks.make_backbone("inception-resnet-v2")[1] == 1536
    assert asked == {"inception_resnet_v2": {"pretrained": False, "num_classes": 0}}


@pytest.mark.parametrize(
    ("name", "module"),
    [("resnet50", "torchvision.models"), ("vgg19", "torchvision.models"), ("inception-resnet-v2", "timm")],
)
def test_missing_package_is_named(name, module, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    package = module.partition(".")[0]
    with pytest.raises(ValueError, match=rf"'{name}' needs {package}, .*; pip install the {package} that fits torch "):
        networks.make_network(name, 1, 2)


def test_unknown_network_is_refused():
    with pytest.raises(ValueError, match=r"network must be perceptron or one of small, .*, got 'alexnet'"):
        networks.make_network("alexnet", 1, 2)


def test_last_layer_runs_in_float32_under_autocast():
    network = networks.make_network("small", 3 * 64, 4)
    x = torch.randn(2, 3, 8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        assert network(x).dtype == torch.float32
