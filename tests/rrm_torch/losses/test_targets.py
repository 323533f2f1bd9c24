"""Every loss of this package, with outputs and labels that don't fit each other, or in unusual surroundings."""

from __future__ import annotations

import math
import re

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.testing import assert_close

from rrm_torch import ELR
from rrm_torch.adversarial import PGD, TRADES
from rrm_torch.losses import BY_NAME, binary_cross_entropy, token_cross_entropy
from support.torch_defaults import default_dtype

K = 4
N = 6


def tokens(outputs, y):
    """Each sample as a text of one token."""
    return token_cross_entropy(outputs[:, None], y[:, None])


LOSSES = {
    **BY_NAME,
    "tokens": tokens,
    "elr": ELR(N, K).label_loss,
    "trades": TRADES(PGD(eps=0.1)).label_loss,
}
every_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
ONE_HOT = torch.eye(K)[:3]


def batch(n=N):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(n, K, generator=generator), torch.arange(n) % K


# Shapes and types


@every_loss
@pytest.mark.parametrize(
    ("outputs", "y", "message"),
    [
        (torch.ones(3, 1), torch.zeros(3).long(), "at least 2 classes"),
        (torch.ones(3, 1), torch.ones(3, 1), r"at least 2 classes.*for regression a loss of your own"),
        (torch.ones(3, 0), torch.zeros(3).long(), "at least 2 classes"),
        (torch.ones(3, K, 2, 2), torch.zeros(3, 2, 2).long(), "outputs must have shape"),
        (torch.ones(3, K), torch.zeros(3, 2, 2).long(), "y must have shape"),
        (torch.ones(3, K), torch.zeros(4).long(), "y must have shape"),
    ],
    ids=["one column", "regression", "no column", "pixels", "labels of pixels", "another length"],
)
def test_losses_reject_wrong_shapes(loss, outputs, y, message):
    if loss is tokens:
        message = "outputs must have|y must have"
    with pytest.raises(ValueError, match=message):
        loss(outputs, y)


@pytest.mark.parametrize("loss", BY_NAME.values(), ids=BY_NAME)
@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.float32])
def test_losses_name_the_column_of_labels_in_a_column(loss, dtype):
    with pytest.raises(ValueError, match=re.escape("y[:, 0]")):
        loss(torch.ones(3, K), torch.zeros(3, 1, dtype=dtype))


@every_loss
@pytest.mark.parametrize("dtype", [torch.complex64, torch.int64, torch.bool])
def test_losses_reject_outputs_that_are_not_floating_point(loss, dtype):
    with pytest.raises(TypeError, match=rf"outputs must be (real|floating-point) numbers, got {dtype}"):
        loss(torch.ones(3, K).to(dtype), torch.zeros(3).long())


@every_loss
def test_losses_reject_complex_labels(loss):
    with pytest.raises(TypeError, match=r"got torch\.complex64"):
        loss(torch.ones(3, K), torch.zeros(3, K, dtype=torch.complex64))


@pytest.mark.parametrize("loss", [*BY_NAME.values(), token_cross_entropy, binary_cross_entropy])
@pytest.mark.parametrize("logits", [{"logits": torch.zeros(3, K)}, [[0.0, 1.0]], None])
def test_losses_reject_outputs_that_are_not_a_tensor(loss, logits):
    with pytest.raises(TypeError, match=f"outputs must be a tensor, got {type(logits).__name__}"):
        loss(logits, torch.zeros(3).long())


@pytest.mark.parametrize("loss", BY_NAME.values(), ids=BY_NAME)
def test_losses_reject_labels_in_a_list(loss):
    with pytest.raises(TypeError, match=r"y must be a tensor, got list; convert with torch\.as_tensor\(y\)"):
        loss(torch.ones(3, K), [0, 1, 2])


@pytest.mark.parametrize("loss", [token_cross_entropy, binary_cross_entropy])
def test_pooled_losses_reject_labels_in_a_list(loss):
    with pytest.raises(TypeError, match="y must be a tensor, got list"):
        loss(torch.ones(3, 2, K), [[0, 1]] * 3)


def test_an_output_with_logits_is_named():
    class Output:
        logits = torch.zeros(3, K)

    with pytest.raises(TypeError, match="got Output; make the model return its logits"):
        LOSSES["cce"](Output(), torch.zeros(3).long())


# Values


@every_loss
@pytest.mark.parametrize(
    ("soft", "message"),
    [
        (ONE_HOT * 255, r"probabilities in \[0, 1\], got 255"),
        (ONE_HOT - 0.5, r"probabilities in \[0, 1\], got -0\.5"),
        (ONE_HOT * torch.tensor([1, 1, math.nan])[:, None], r"probabilities in \[0, 1\], got nan"),
        (ONE_HOT * torch.tensor([1, 1, 0.5])[:, None], "rows that sum to 1, got 0.5"),
        (torch.ones(3, K), "rows that sum to 1, got 4"),
    ],
    ids=["255", "negative", "NaN", "half", "several classes"],
)
def test_losses_reject_soft_labels_that_are_not_distributions(loss, soft, message):
    with pytest.raises(ValueError, match=message):
        loss(torch.zeros(3, K), soft)


@every_loss
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_losses_accept_rounded_distributions(loss, dtype):
    soft = torch.rand(N, 1000, generator=torch.Generator().manual_seed(0)).softmax(1).to(dtype)
    assert loss(torch.zeros(N, 1000), soft).isfinite().all()


@pytest.mark.parametrize(
    ("label", "shown"), [(-100.0, "-100"), (2.0, "2"), (255.0, "255"), (math.nan, "nan"), (-1e-3, "-0.001")]
)
@pytest.mark.parametrize("how", ["mean", "sum", "max"])
def test_binary_cross_entropy_rejects_targets_outside_0_and_1(label, shown, how):
    y = torch.zeros(3, 2)
    y[1, 1] = label
    with pytest.raises(ValueError, match=rf"y must hold probabilities in \[0, 1\], got {shown}"):
        binary_cross_entropy(torch.zeros(3, 2), y, pool=how)


@pytest.mark.parametrize("dtype", [torch.int64, torch.int8, torch.bfloat16, torch.float64, torch.bool])
def test_binary_cross_entropy_accepts_any_real_type(dtype):
    y = torch.tensor([[0, 1], [1, 1]]).to(dtype)
    assert binary_cross_entropy(torch.zeros(2, 2), y).tolist() == pytest.approx([math.log(2)] * 2)


def test_binary_cross_entropy_rejects_complex_labels():
    with pytest.raises(TypeError, match=r"y must be real numbers, got torch\.complex64"):
        binary_cross_entropy(torch.zeros(2, 2), torch.zeros(2, 2, dtype=torch.complex64))


# Samples without a label


def unlabelled(y, kind):
    """Labels in which samples 1 and 4 have none."""
    y = y.clone()
    y[[1, 4]] = -100
    if kind == "classes":
        return y
    return torch.eye(K)[y.clamp(min=0)] * (y >= 0)[:, None]


@every_loss
@pytest.mark.parametrize("kind", ["classes", "soft"])
def test_loss_without_a_label_is_nan_and_has_no_gradient(loss, kind):
    outputs, y = batch()
    outputs.requires_grad_()
    actual = loss(outputs, unlabelled(y, kind))
    assert actual.isnan().tolist() == [False, True, False, False, True, False]
    labelled = [0, 2, 3, 5]
    expected = loss(outputs[labelled], y[labelled])
    assert_close(actual[labelled], expected)
    (gradient,) = torch.autograd.grad(torch.where(actual.isnan(), 0, actual).sum(), outputs)
    assert (gradient[[1, 4]] == 0).all()
    assert_close(gradient, torch.autograd.grad(expected.sum(), outputs)[0])


@pytest.mark.parametrize("how", ["mean", "sum", "max"])
@pytest.mark.parametrize("kind", ["classes", "soft"])
def test_sequence_without_a_counted_token_has_loss_nan_and_no_gradient(kind, how):
    outputs = torch.randn(3, 5, K, generator=torch.Generator().manual_seed(0)).requires_grad_()
    y = torch.arange(15).reshape(3, 5) % K
    y[1] = -100
    y[2, 2:] = -100
    labels = y if kind == "classes" else torch.eye(K)[y.clamp(min=0)] * (y >= 0)[..., None]
    actual = token_cross_entropy(outputs, labels, pool=how)
    assert actual.isnan().tolist() == [False, True, False]
    assert_close(actual[2], token_cross_entropy(outputs[2:, :2], y[2:, :2], pool=how)[0])
    for value in (actual.nansum(), actual.sum()):
        (gradient,) = torch.autograd.grad(value, outputs, retain_graph=True)
        assert gradient.isfinite().all()
        assert (gradient[1] == 0).all()


def test_sample_without_binary_labels_has_loss_nan():
    assert binary_cross_entropy(torch.zeros(2, 0), torch.zeros(2, 0)).isnan().all()


def test_another_ignored_class_leaves_minus_100_an_error():
    y = torch.tensor([[0, -100, 1]])
    with pytest.raises(IndexError, match=r"or 0 for no label, got -100"):
        token_cross_entropy(torch.zeros(1, 3, K), y, ignore_index=0)


# Surroundings


@every_loss
@pytest.mark.parametrize("kind", ["classes", "soft"])
def test_losses_inside_torch_func(loss, kind):
    outputs, y = batch()
    y = unlabelled(y, kind)

    def one(outputs, y):
        return loss(outputs[None], y[None])[0]

    expected = loss(outputs.requires_grad_(), y)
    (gradient,) = torch.autograd.grad(expected.nansum(), outputs)
    outputs = outputs.detach()
    assert_close(torch.func.vmap(one)(outputs, y), expected.detach(), equal_nan=True)
    assert_close(torch.func.vmap(torch.func.grad(one))(outputs, y), gradient)
    assert_close(torch.func.grad(lambda outputs: loss(outputs, y).nansum())(outputs), gradient)


def test_binary_cross_entropy_inside_torch_func():
    outputs, y = torch.randn(3, 2, generator=torch.Generator().manual_seed(0)), torch.eye(3)[:, :2]

    def one(outputs, y):
        return binary_cross_entropy(outputs[None], y[None])[0]

    assert_close(torch.func.vmap(one)(outputs, y), binary_cross_entropy(outputs, y))


@every_loss
@pytest.mark.parametrize("mode", [FakeTensorMode, lambda: torch.device("meta")], ids=["fake", "meta"])
def test_losses_of_tensors_without_values(loss, mode):
    with mode():
        outputs, y = torch.empty(N, K), torch.empty(N, dtype=torch.int64)
        assert loss(outputs, y).shape == (N,)
        assert loss(outputs, torch.empty(N, K)).shape == (N,)


@pytest.mark.parametrize("mode", [FakeTensorMode, lambda: torch.device("meta")], ids=["fake", "meta"])
def test_binary_cross_entropy_of_tensors_without_values(mode):
    with mode():
        assert binary_cross_entropy(torch.empty(N, K), torch.empty(N, K)).shape == (N,)


@every_loss
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_losses_do_not_depend_on_the_default_dtype(loss, dtype):
    outputs, y = batch()
    y = unlabelled(y, "classes")
    expected = loss(outputs, y)
    with default_dtype(dtype):
        actual = loss(outputs, y)
    assert actual.dtype == torch.float32
    assert_close(actual, expected, rtol=0, atol=0, equal_nan=True)


@every_loss
def test_losses_in_inference_mode_and_under_autocast(loss):
    outputs, y = batch()
    expected = loss(outputs, y)
    with torch.inference_mode():
        assert_close(loss(outputs.clone(), y.clone()), expected, rtol=0, atol=0)
    with torch.autocast("cpu", torch.bfloat16):
        assert_close(loss(outputs, y), expected, rtol=0, atol=0)


def test_elr_made_or_used_in_inference_mode_can_train():
    model = nn.Linear(2, K)
    x, y, index = torch.randn(N, 2), torch.arange(N) % K, torch.arange(N)
    with torch.inference_mode():
        elr = ELR(N, K)
        elr.parts(model, x.clone(), y.clone(), index.clone())
    losses, regularizer, _ = elr.parts(model, x, y, index)
    (losses + regularizer).sum().backward()
    assert model.weight.grad.isfinite().all()
