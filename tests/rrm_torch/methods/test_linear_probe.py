"""Linear probes of frozen features."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close
from torch.utils.data import DataLoader, TensorDataset

from rrm_torch import RRM, Checkpoint, methods
from rrm_torch.methods import LinearProbe, fit_linear_probe
from rrm_torch.methods.linear_probe import ROWS_PER_PASS, feature_moments

N, D, CLASSES = 600, 8, 3
N_WRONG = 60


@pytest.fixture(scope="module")
def blobs():
    """Return features of three classes, their labels of which the first tenth is wrong, and the true labels."""
    generator = torch.Generator().manual_seed(0)
    truth = torch.arange(N) % CLASSES
    centres = 4 * torch.eye(CLASSES, D)
    features = 10 + centres[truth] + torch.randn(N, D, generator=generator)
    labels = torch.where(torch.arange(N) < N_WRONG, (truth + 1) % CLASSES, truth)
    return features, labels, truth


def accuracy(probe, features, truth):
    return float((probe(features).argmax(1) == truth).float().mean())


def test_plain_probe_equals_a_loop_of_torch(blobs):
    features, labels, _ = blobs
    probe = fit_linear_probe(features, labels, epochs=3, batch_size=64, lr=0.01, weight_decay=0.1, seed=5)
    std, mean = torch.std_mean(features, 0, correction=0)
    assert_close(probe.mean, mean)
    assert_close(probe.std, std)
    linear = nn.Linear(D, CLASSES)
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    optimizer = torch.optim.Adam(linear.parameters(), lr=0.01, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 3)
    x = (features - probe.mean) / probe.std
    order = torch.Generator().manual_seed(5)
    loader = DataLoader(TensorDataset(x, labels), 64, shuffle=True, generator=order)
    for _ in range(3):
        for inputs, y in loader:
            losses = nn.functional.cross_entropy(linear(inputs), y, reduction="none")
            optimizer.zero_grad()
            losses.mean().backward()
            optimizer.step()
        schedule.step()
    assert torch.equal(probe.linear.weight, linear.weight)
    assert torch.equal(probe.linear.bias, linear.bias)
    assert not probe.training


@pytest.mark.parametrize("contamination", ["auto", 0.1])
def test_rrm_prunes_planted_wrong_labels(blobs, contamination):
    features, labels, truth = blobs
    rrm = RRM(N, contamination=contamination, epochs=40)
    probe = fit_linear_probe(features, labels, rrm=rrm, epochs=40, batch_size=32, lr=0.01)
    flagged = set(rrm.flagged().tolist())
    assert len(flagged & set(range(N_WRONG))) >= 0.9 * N_WRONG
    assert len(flagged) <= 1.3 * N_WRONG
    assert accuracy(probe, features, truth) > 0.97


def test_class_groups_cap_what_each_class_loses(blobs):
    features, labels, _ = blobs
    rrm = RRM(N, contamination=0.3, warmup=3, groups=labels, cap=0.2)
    fit_linear_probe(features, labels, rrm=rrm, epochs=6, batch_size=64)
    pruned = torch.bincount(labels[rrm.flagged()], minlength=CLASSES) / torch.bincount(labels)
    assert bool((pruned <= 0.2).all())
    assert pruned.sum() > 0.5


def test_probe_standardises_raw_features(blobs):
    features, labels, _ = blobs
    scaled = features * torch.logspace(-3, 3, D)
    probe = fit_linear_probe(scaled, labels, epochs=5)
    reference = fit_linear_probe(features, labels, epochs=5)
    assert_close(probe(scaled), reference(features), rtol=1e-3, atol=1e-4)
    raw = fit_linear_probe(features, labels, epochs=1, standardise=False)
    assert torch.equal(raw.mean, torch.zeros(D))
    assert torch.equal(raw.std, torch.ones(D))


def test_moments_of_many_rows_and_of_a_constant_feature():
    n = ROWS_PER_PASS + 10
    features = torch.stack([torch.full((n,), 0.1), torch.arange(n).float()], 1)
    mean, std = feature_moments(features)
    assert_close(mean, torch.tensor([0.1, (n - 1) / 2]))
    assert_close(std, torch.tensor([1.0, ((n * n - 1) / 12) ** 0.5]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_probe_trains_on_features_of_any_floating_type(blobs, dtype):
    features, labels, truth = blobs
    probe = fit_linear_probe(features.to(dtype), labels, epochs=10, lr=0.01)
    assert probe(features.to(dtype)).dtype == torch.float32
    assert accuracy(probe, features.to(dtype), truth) > 0.95
    assert probe.mean.dtype == torch.float32


@pytest.mark.parametrize("makes_rrm", [lambda: None, lambda: RRM(N, contamination="auto")])
def test_resumed_run_equals_an_uninterrupted_one(blobs, makes_rrm, tmp_path):
    features, labels, _ = blobs
    options = {"epochs": 15, "batch_size": 64, "lr": 0.01, "seed": 3}
    whole = makes_rrm()
    probe = fit_linear_probe(features, labels, rrm=whole, **options)

    class StoppedError(Exception):
        pass

    def stop(_probe, epoch, _loss):
        if epoch == 8:
            raise StoppedError

    path = tmp_path / "probe.pt"
    with pytest.raises(StoppedError):
        fit_linear_probe(features, labels, rrm=makes_rrm(), checkpoint=path, on_epoch=stop, **options)
    epochs = []
    resumed = makes_rrm()
    again = fit_linear_probe(
        features,
        labels,
        rrm=resumed,
        checkpoint=path,
        on_epoch=lambda _probe, epoch, _loss: epochs.append(epoch),
        **options,
    )
    assert epochs == list(range(8, 16))
    assert torch.equal(again.linear.weight, probe.linear.weight)
    assert torch.equal(again.linear.bias, probe.linear.bias)
    if whole is not None:
        assert torch.equal(resumed.weights, whole.weights)
        assert resumed.estimate.contamination == whole.estimate.contamination


def test_on_epoch_gets_the_probe_of_that_epoch(blobs):
    features, labels, _ = blobs
    norms = []

    def record(probe, epoch, mean_loss):
        norms.append((epoch, float(probe.linear.weight.detach().norm()), mean_loss))

    fit_linear_probe(features, labels, epochs=3, on_epoch=record)
    assert [epoch for epoch, _, _ in norms] == [1, 2, 3]
    assert norms[0][1] < norms[1][1] < norms[2][1]
    assert norms[0][2] > norms[1][2] > norms[2][2]


def test_state_of_a_probe_is_loaded_into_another(blobs):
    features, labels, _ = blobs
    probe = fit_linear_probe(features, labels, epochs=2)
    other = LinearProbe(torch.zeros(D), torch.ones(D), CLASSES)
    other.load_state_dict(probe.state_dict())
    assert torch.equal(other(features), probe(features))


def test_global_random_numbers_are_not_used(blobs):
    features, labels, _ = blobs
    before = torch.random.get_rng_state()
    first = fit_linear_probe(features.numpy(), labels.numpy().astype(np.int32), epochs=2, seed=1)
    assert torch.equal(torch.random.get_rng_state(), before)
    other = fit_linear_probe(features, labels, epochs=2, seed=2)
    assert not torch.equal(first.linear.weight, other.linear.weight)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"features": "features.npy"}, TypeError, r"got str; load_features\(path\) reads a \.npy file"),
        ({"features": torch.ones(N, D, dtype=torch.int64)}, TypeError, "features must be a floating-point tensor"),
        ({"features": [[1.0]]}, TypeError, "features must be .* got list"),
        ({"features": torch.ones(N, D, 1)}, ValueError, r"features must have shape \(n, d\).*flatten"),
        ({"features": torch.ones(N, 0)}, ValueError, r"got \(600, 0\)"),
        ({"features": torch.ones(N, D).index_fill_(0, torch.tensor([7]), torch.nan)}, ValueError, "finite.* row 7"),
        ({"labels": torch.zeros(N)}, TypeError, "labels must be .* integers, got torch.float32"),
        ({"labels": torch.zeros(N, dtype=torch.bool)}, TypeError, "labels must be .* got torch.bool"),
        ({"labels": torch.zeros(N, 1, dtype=torch.int64)}, ValueError, r"one per row.*labels\[:, 0\]"),
        ({"labels": torch.full((N,), -100)}, ValueError, "classes from 0, got -100; leave out"),
        ({"labels": torch.zeros(N, dtype=torch.int64)}, ValueError, "n_classes must be at least 2 .* got 1"),
        ({"n_classes": 2}, ValueError, "exceed the largest label, 2, got 2"),
        ({"rrm": RRM(N + 1, contamination=0.1)}, ValueError, "600 samples of features, got one for 601"),
        ({"epochs": 0}, ValueError, "epochs must be at least 1, got 0"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1, got 0"),
    ],
)
def test_wrong_arguments_are_refused_by_name(blobs, changes, error, message):
    features, labels, _ = blobs
    arguments = {"features": features, "labels": labels, "epochs": 1} | changes
    with pytest.raises(error, match=message):
        fit_linear_probe(**arguments)


def test_checkpoint_of_other_objects_is_refused(blobs, tmp_path):
    features, labels, _ = blobs
    Checkpoint(tmp_path / "other.pt", model=nn.Linear(2, 2)).save(1)
    with pytest.raises(ValueError, match="holds model, not model, optimizer"):
        fit_linear_probe(features, labels, epochs=2, checkpoint=tmp_path / "other.pt")


def test_methods_export_the_probe():
    assert methods.LinearProbe.__module__ == "rrm_torch.methods"


@pytest.mark.parametrize("width", [1, D + 1])
def test_probe_refuses_features_of_another_width(width):
    probe = fit_linear_probe(torch.randn(N, D), torch.arange(N) % 2, epochs=1)
    with pytest.raises(ValueError, match=rf"features must have shape \(n, {D}\), as in training, got \(3, {width}\)"):
        probe(torch.zeros(3, width))
