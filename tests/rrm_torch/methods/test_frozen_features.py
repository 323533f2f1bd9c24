"""Features of a frozen model, computed and read."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from rrm_torch.methods import extract_features, fit_linear_probe, load_features

N = 10


class Images:
    """Inputs that are made when they are fetched."""

    def __init__(self):
        self.fetched = []

    def __len__(self):
        return N

    def __getitem__(self, index):
        self.fetched.append(index.tolist())
        return index.float()[:, None].expand(-1, 4)


def test_features_are_those_of_the_model_in_evaluation_mode():
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Dropout(0.5))
    model[1].eval()  # frozen
    x = torch.randn(N, 4)
    features = extract_features(model, x, batch_size=4)
    assert model.training
    assert model[0].training
    assert not model[1].training
    assert torch.equal(model[1].running_mean, torch.zeros(3))
    assert_close(features, model.eval()(x).detach())
    assert not features.requires_grad
    assert not features.is_inference()


def test_inputs_are_fetched_in_batches_and_prepared():
    images = Images()
    features = extract_features(nn.Flatten(), images, batch_size=4, prepare=lambda x: 2 * x)
    assert images.fetched == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert torch.equal(features[:, 0], 2 * torch.arange(N).float())


def test_autocast_features_are_float32_and_can_be_trained_on():
    model = nn.Linear(4, 2)
    x = torch.randn(N, 4)
    features = extract_features(model, x, autocast=torch.bfloat16)
    assert features.dtype == torch.float32
    assert_close(features, model(x).detach(), rtol=0.02, atol=0.02)
    assert torch.equal(features, features.bfloat16().float())
    fit_linear_probe(features, torch.arange(N) % 2, epochs=1)


class Sometimes(nn.Module):
    """Returns one feature more from the second batch on."""

    def forward(self, x):
        return x[:, : 2 if x[0, 0] == 0 else 3]


@pytest.mark.parametrize(
    ("model", "inputs", "options", "error", "message"),
    [
        (nn.Identity(), torch.ones(0, 2), {}, ValueError, "inputs must hold at least one sample"),
        (nn.Identity(), torch.ones(2, 2), {"batch_size": 0}, ValueError, "batch_size must be at least 1"),
        (nn.Identity(), torch.ones(2, 2, 3, 3), {}, ValueError, r"one row of features.*\(2, d\), got \(2, 2, 3, 3\)"),
        (nn.Identity(), torch.ones(2, 2).long(), {}, TypeError, "floating-point tensor, got torch.int64"),
        (nn.LSTM(2, 2, batch_first=True), torch.ones(2, 1, 2), {}, TypeError, "got tuple; wrap"),
        (Sometimes(), Images(), {"batch_size": 5}, ValueError, "got 2 and then 3 at sample 5"),
        (
            nn.Identity(),
            torch.ones(N, 2).index_fill_(0, torch.tensor([7]), torch.inf),
            {"batch_size": 3},
            ValueError,
            "finite features, got NaN or infinity for sample 7",
        ),
    ],
)
def test_wrong_models_and_inputs_are_refused(model, inputs, options, error, message):
    with pytest.raises(error, match=message):
        extract_features(model, inputs, **options)
    assert model.training


def test_a_function_in_place_of_a_model_is_refused():
    with pytest.raises(TypeError, match="model must be a module that returns features, got function"):
        extract_features(lambda x: x, torch.ones(2, 2))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_file_of_features_is_read(tmp_path, dtype, order):
    values = np.asarray(np.arange(12).reshape(4, 3), dtype, order=order)
    np.save(tmp_path / "f.npy", values)
    features = load_features(tmp_path / "f.npy")
    assert features.dtype == getattr(torch, dtype)
    assert np.array_equal(features.numpy(), values)
    features[0, 0] = 5
    assert np.load(tmp_path / "f.npy")[0, 0] == 0


def with_value(dtype, value):
    values = np.zeros((5000, 3), dtype)
    values[4500, 2] = value
    return values


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        (np.zeros((3, 2), np.int64), TypeError, r"f\.npy must hold float16, float32, float64 .* got <i8"),
        (np.zeros((3, 2), ">f4"), TypeError, "byte order, got >f4"),
        (np.zeros(3), ValueError, r"must be a matrix.* got shape \(3,\)"),
        (np.zeros((0, 2)), ValueError, r"got shape \(0, 2\)"),
        (np.array([[object()]]), TypeError, "pickled objects, which are never loaded"),
        (with_value("float32", np.nan), ValueError, r"f\.npy must be finite, got nan in row 4500, column 2$"),
        (with_value("float16", np.inf), ValueError, "got inf in row 4500, column 2; float16 ends at 65,504"),
    ],
)
def test_wrong_files_are_refused_by_name_and_row(tmp_path, values, error, message):
    np.save(tmp_path / "f.npy", values, allow_pickle=True)
    with pytest.raises(error, match=message):
        load_features(tmp_path / "f.npy")


def test_damaged_files_are_refused_by_name(tmp_path):
    path = tmp_path / "f.npy"
    with pytest.raises(FileNotFoundError, match=r"f\.npy' isn't an existing file"):
        load_features(path)
    path.write_bytes(b"not a matrix")
    with pytest.raises(ValueError, match=r"f\.npy isn't a \.npy file"):
        load_features(path)
    file = io.BytesIO()
    np.save(file, np.zeros((4, 3)))
    path.write_bytes(file.getvalue()[:-1])
    with pytest.raises(ValueError, match=r"f\.npy is truncated: with shape \(4, 3\) of float64"):
        load_features(path)
