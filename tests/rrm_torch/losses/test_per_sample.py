from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch.testing import assert_close

from rrm_torch.losses.per_sample import (
    BY_NAME,
    binary_cross_entropy,
    by_name,
    cross_entropy,
    generalized_cross_entropy,
    mean_absolute_error,
    mean_squared_error,
    token_cross_entropy,
)

K = 4
every_loss = pytest.mark.parametrize("loss", BY_NAME.values(), ids=BY_NAME)


def batch(n=6, dtype=torch.float32, seed=0):
    """Logits, classes and soft labels."""
    generator = torch.Generator().manual_seed(seed)
    outputs = 2 * torch.randn(n, K, generator=generator, dtype=dtype)
    soft = torch.rand(n, K, generator=generator, dtype=dtype)
    return outputs, torch.arange(n) % K, soft / soft.sum(1, keepdim=True)


def probabilities(*rows):
    """Logits whose softmax are these rows."""
    return torch.tensor(rows, dtype=torch.float64).log() + 3


# Properties of every loss


@every_loss
@pytest.mark.parametrize("kind", ["classes", "soft"])
def test_returns_one_loss_per_sample_independent_of_the_batch(loss, kind):
    outputs, hard, soft = batch()
    y = hard if kind == "classes" else soft
    actual = loss(outputs, y)
    assert actual.shape == (6,)
    assert actual.dtype == torch.float32
    assert (actual > 0).all()
    assert_close(torch.cat([loss(outputs[i : i + 1], y[i : i + 1]) for i in range(6)]), actual)
    assert loss(outputs[:0], y[:0]).shape == (0,)


@every_loss
def test_classes_equal_one_hot_soft_labels(loss):
    outputs, hard, _ = batch(dtype=torch.float64)
    outputs.requires_grad_()
    actual = loss(outputs, hard)
    expected = loss(outputs, F.one_hot(hard, K).double())
    assert_close(actual, expected)
    gradients = [torch.autograd.grad(values.sum(), outputs)[0] for values in (actual, expected)]
    assert_close(*gradients)


@every_loss
@pytest.mark.parametrize("dtype", [torch.int32, torch.uint8])
def test_accepts_classes_of_any_integer_type(loss, dtype):
    outputs, hard, _ = batch()
    assert_close(loss(outputs, hard.to(dtype)), loss(outputs, hard), rtol=0, atol=0)


@every_loss
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_single(loss, dtype):
    outputs, hard, soft = batch()
    half = outputs.to(dtype).requires_grad_()
    for y in (hard, soft, soft.to(dtype), soft.double()):
        actual = loss(half, y)
        assert actual.dtype == torch.float32
        assert_close(actual, loss(half.float(), y.float() if y.is_floating_point() else y), rtol=0, atol=0)
    actual.sum().backward()
    assert half.grad.dtype == dtype


@every_loss
@pytest.mark.parametrize("kind", ["classes", "soft"])
def test_gradient_matches_finite_differences(loss, kind):
    outputs, hard, soft = batch(dtype=torch.float64)
    y = hard if kind == "classes" else soft
    assert torch.autograd.gradcheck(lambda z: loss(z, y), outputs.requires_grad_())


@every_loss
@pytest.mark.parametrize("size", [1e2, 1e4, 1e30])
@pytest.mark.parametrize("kind", ["classes", "soft"])
def test_extreme_logits_give_finite_losses_and_gradients(loss, size, kind):
    outputs = torch.tensor([[size, -size, 0, 0], [-size, size, 0, 0], [size] * 4, [-size] * 4]).requires_grad_()
    hard = torch.zeros(4, dtype=torch.int64)
    actual = loss(outputs, hard if kind == "classes" else F.one_hot(hard, K).float())
    assert actual.isfinite().all()
    assert (actual >= 0).all()
    (gradient,) = torch.autograd.grad(actual.sum(), outputs)
    assert gradient.isfinite().all()
    if loss is not BY_NAME["label_smoothing"]:  # whose minimum is not at probability 1
        assert actual[0] <= actual[2] <= actual[1]


@every_loss
@pytest.mark.parametrize(
    ("outputs", "y", "error", "message"),
    [
        (torch.ones(3), torch.zeros(3).long(), ValueError, r"outputs must have shape \(batch, n_classes\), got \(3,\)"),
        (torch.ones(3, 4, 5), torch.zeros(3).long(), ValueError, r"outputs must .* got \(3, 4, 5\)"),
        (torch.ones(3, 4), torch.zeros(2).long(), ValueError, r"y must have shape \(3,\), as classes, .* got \(2,\)"),
        (torch.ones(3, 4), torch.zeros(3), ValueError, r"y must have shape .* got \(3,\) of torch\.float32"),
        (torch.ones(3, 4), torch.zeros(3, 5), ValueError, r"or \(3, 4\), as floating soft labels, .* got \(3, 5\)"),
        (torch.ones(3, 4), torch.zeros(3, 4).long(), ValueError, r"y must have shape .* got \(3, 4\) of torch\.int64"),
        (torch.ones(3, 4), torch.zeros(()).long(), ValueError, r"y must have shape .* got \(\)"),
        (torch.ones(3, 4), torch.zeros(3).bool(), TypeError, r"got torch\.bool; convert with y\.long\(\)"),
    ],
)
def test_rejects_wrong_shapes_and_types(loss, outputs, y, error, message):
    with pytest.raises(error, match=message):
        loss(outputs, y)


@every_loss
@pytest.mark.parametrize("label", [K, -1, -101, 2**40])
def test_rejects_a_class_out_of_range(loss, label):
    with pytest.raises(IndexError, match=rf"y must hold classes in \[0, {K}\), .* got {label}, which is out of bounds"):
        loss(torch.zeros(2, K), torch.tensor([0, label]))


# Values of each loss


def test_cross_entropy_equals_torch():
    outputs, hard, soft = batch()
    for smoothing in (0.0, 0.1):
        for y in (hard, soft):
            expected = F.cross_entropy(outputs, y, reduction="none", label_smoothing=smoothing)
            assert_close(cross_entropy(outputs, y, label_smoothing=smoothing), expected, rtol=0, atol=0)


def test_label_smoothing_by_hand():
    actual = cross_entropy(probabilities([0.5, 0.25, 0.25]), torch.tensor([1]), label_smoothing=0.3)
    expected = -(0.1 * math.log(0.5) + 0.8 * math.log(0.25) + 0.1 * math.log(0.25))
    assert actual.item() == pytest.approx(expected)


@pytest.mark.parametrize("smoothing", [-0.1, 1, math.nan])
def test_rejects_label_smoothing_out_of_range(smoothing):
    with pytest.raises(ValueError, match=rf"label_smoothing must lie in \[0, 1\), got {smoothing}"):
        cross_entropy(torch.zeros(1, 2), torch.tensor([0]), label_smoothing=smoothing)


def test_mean_absolute_error_by_hand():
    outputs = probabilities([0.7, 0.2, 0.1], [0.5, 0.25, 0.25])
    assert_close(mean_absolute_error(outputs, torch.tensor([0, 1])), torch.tensor([0.6, 1.5]).double())
    soft = torch.tensor([[0.5, 0.5, 0.0], [0.5, 0.25, 0.25]]).double()
    assert_close(mean_absolute_error(outputs, soft), torch.tensor([0.6, 0.0]).double())


def test_mean_squared_error_by_hand():
    outputs = probabilities([0.7, 0.2, 0.1], [0.5, 0.25, 0.25])
    expected = torch.tensor([0.09 + 0.04 + 0.01, 0.25 + 0.5625 + 0.0625]).double()
    assert_close(mean_squared_error(outputs, torch.tensor([0, 1])), expected)
    soft = torch.tensor([[0.5, 0.5, 0.0], [0.5, 0.25, 0.25]]).double()
    assert_close(mean_squared_error(outputs, soft), torch.tensor([0.04 + 0.09 + 0.01, 0.0]).double())


@pytest.mark.parametrize("q", [0.3, 0.7, 1.0])
def test_generalized_cross_entropy_by_hand(q):
    outputs = probabilities([0.7, 0.2, 0.1], [0.5, 0.25, 0.25])
    by_class = [[(1 - p**q) / q for p in row] for row in ([0.7, 0.2, 0.1], [0.5, 0.25, 0.25])]
    actual = generalized_cross_entropy(outputs, torch.tensor([0, 1]), q=q)
    assert_close(actual, torch.tensor([by_class[0][0], by_class[1][1]]).double())
    soft = torch.tensor([[0.5, 0.5, 0.0], [0.1, 0.2, 0.7]]).double()
    expected = [sum(w * c for w, c in zip(*rows, strict=True)) for rows in zip(soft.tolist(), by_class, strict=True)]
    assert_close(generalized_cross_entropy(outputs, soft, q=q), torch.tensor(expected).double())


def test_generalized_cross_entropy_limits():
    outputs, hard, soft = batch(dtype=torch.float64)
    assert_close(generalized_cross_entropy(outputs, hard, q=1), mean_absolute_error(outputs, hard) / 2)
    for y in (hard, soft):
        assert_close(generalized_cross_entropy(outputs, y, q=1e-9), cross_entropy(outputs, y))


def test_truncation_caps_the_loss_and_zeroes_its_gradient():
    p = torch.tensor([0.9, 0.51, 0.49, 1e-6]).double()
    outputs = torch.stack([p, 1 - p], 1).log().requires_grad_()
    hard = torch.zeros(4, dtype=torch.int64)
    actual = generalized_cross_entropy(outputs, hard, q=0.7, truncation=0.5)
    cap = (1 - 0.5**0.7) / 0.7
    whole = generalized_cross_entropy(outputs, hard, q=0.7)
    assert_close(actual, whole.clamp(max=cap))
    assert_close(actual[2:], torch.full((2,), cap).double())
    (gradient,) = torch.autograd.grad(actual.sum(), outputs)
    (untruncated,) = torch.autograd.grad(whole.sum(), outputs)
    assert_close(gradient[:2], untruncated[:2])
    assert (gradient[2:] == 0).all()
    assert (untruncated[2:] != 0).all()


@pytest.mark.parametrize("q", [0, -1, 1.1, math.nan])
def test_rejects_q_out_of_range(q):
    with pytest.raises(ValueError, match=rf"q must lie in \(0, 1\], got {q}"):
        generalized_cross_entropy(torch.zeros(1, 2), torch.tensor([0]), q=q)


@pytest.mark.parametrize("truncation", [0, 1, -0.5, math.nan])
def test_rejects_truncation_out_of_range(truncation):
    with pytest.raises(ValueError, match=rf"truncation must lie in \(0, 1\), got {truncation}"):
        generalized_cross_entropy(torch.zeros(1, 2), torch.tensor([0]), truncation=truncation)


# Multi-label samples and tokens


@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.float32])
@pytest.mark.parametrize("how", ["mean", "sum", "max"])
def test_binary_cross_entropy_by_hand(dtype, how):
    outputs = torch.tensor([[0.0, math.log(3)], [math.log(3), -1e4]])
    y = torch.tensor([[1, 0], [1, 1]]).to(dtype)
    by_label = torch.tensor([[math.log(2), math.log(4)], [math.log(4 / 3), 1e4]])
    expected = by_label.amax(1) if how == "max" else getattr(by_label, how)(1)
    assert_close(binary_cross_entropy(outputs, y, pool=how), expected)


def test_binary_cross_entropy_of_probabilities():
    outputs = torch.randn(3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    y = torch.full((3, 2), 0.25)
    p = outputs.sigmoid()
    assert_close(binary_cross_entropy(outputs, y), -(0.25 * p.log() + 0.75 * (1 - p).log()).mean(1))
    assert torch.autograd.gradcheck(lambda z: binary_cross_entropy(z, y), outputs.requires_grad_())
    assert binary_cross_entropy(outputs.detach().half(), y).dtype == torch.float32


@pytest.mark.parametrize("shapes", [((3,), (3,)), ((3, 2), (3,)), ((3, 2), (3, 3)), ((3, 2, 1), (3, 2, 1))])
def test_binary_cross_entropy_rejects_wrong_shapes(shapes):
    with pytest.raises(ValueError, match=r"outputs and y must both have shape \(batch, n_labels\), got .*\[:, None\]"):
        binary_cross_entropy(*map(torch.zeros, shapes))


@pytest.mark.parametrize("how", ["mean", "sum", "max"])
@pytest.mark.parametrize("ignore_index", [-100, 0])
def test_token_cross_entropy_ignores_tokens(how, ignore_index):
    outputs = torch.randn(3, 5, K, generator=torch.Generator().manual_seed(1)).requires_grad_()
    y = torch.tensor([[1, 2, 3, 1, 2], [3, 2, -1, 1, -1], [-1] * 5])
    counts = y >= 0
    actual = token_cross_entropy(outputs, y.masked_fill(~counts, ignore_index), ignore_index=ignore_index, pool=how)
    for row in range(2):
        kept = counts[row]
        by_token = F.cross_entropy(outputs[row][kept], y[row][kept], reduction="none")
        assert_close(actual[row], by_token.amax() if how == "max" else getattr(by_token, how)())
    assert actual[2].isnan()
    (gradient,) = torch.autograd.grad(actual.nansum(), outputs)
    assert (gradient[~counts] == 0).all()
    if how != "max":
        assert (gradient[counts] != 0).all()


def test_token_cross_entropy_of_soft_labels():
    outputs, _, soft = batch()
    actual = token_cross_entropy(outputs.reshape(2, 3, K), soft.reshape(2, 3, K))
    assert_close(actual, cross_entropy(outputs, soft).reshape(2, 3).mean(1))


@pytest.mark.parametrize(
    ("outputs", "y", "message"),
    [
        ((2, 3), (2, 3), r"outputs must have shape \(batch, n_tokens, n_classes\), got \(2, 3\)"),
        ((2, 3, 4), (2, 4), r"y must have shape \(2, 3\) or \(2, 3, 4\), got \(2, 4\)"),
    ],
)
def test_token_cross_entropy_rejects_wrong_shapes(outputs, y, message):
    with pytest.raises(ValueError, match=message):
        token_cross_entropy(torch.zeros(outputs), torch.zeros(y, dtype=torch.int64))


# Losses by name


@pytest.mark.parametrize("name", BY_NAME)
def test_by_name(name):
    assert by_name(name) is BY_NAME[name]


def test_by_name_options():
    outputs, hard, _ = batch()
    assert_close(by_name("truncated_gce")(outputs, hard), generalized_cross_entropy(outputs, hard, truncation=0.5))
    assert_close(by_name("label_smoothing")(outputs, hard), cross_entropy(outputs, hard, label_smoothing=0.1))


def test_by_name_rejects_unknown_name():
    with pytest.raises(ValueError, match=r"^loss must be one of cce, mae, mse, gce, .*label_smoothing, got 'ce'$"):
        by_name("ce")
