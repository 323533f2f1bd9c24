from __future__ import annotations

import copy
import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from rrm_torch import RRM, Checkpoint, predict
from rrm_torch.methods.elr_plus import Batch, ELRPlus, step
from rrm_torch.methods.mixup import MixUp
from rrm_torch.methods.training_set import TrainingSet

N_CLASSES = 5
BATCH = 6


def network(seed):
    """A network with batch norm, so that the mode and the inputs of each forward pass matter."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, N_CLASSES))


def batch(dtype=torch.float64, weights=None):
    generator = torch.Generator().manual_seed(7)
    labels = torch.tensor([0, 3, 1, 4, 1, 2])
    return Batch(
        inputs=torch.randn(BATCH, 4, generator=generator, dtype=dtype),
        labels=nn.functional.one_hot(labels, N_CLASSES).to(dtype),
        average_predictions=0.3 * torch.rand(BATCH, N_CLASSES, generator=generator, dtype=dtype).softmax(1),
        weights=None if weights is None else torch.tensor(weights, dtype=dtype),
    )


MIXUP = MixUp(0.7, torch.tensor([2, 4, 5, 0, 3, 1]))
WEIGHTS = [0.0, 1.5, 1.0, 0.5, 2.0, 1.0]


def naive_terms(logits, predictions, batch, *, beta, product_targets):
    """The terms by loops over samples and classes, from the outputs of both networks."""
    n = len(logits)
    weights = [1.0] * n if batch.weights is None else batch.weights.tolist()
    averages = [
        [beta * old + (1 - beta) * new for old, new in zip(*rows, strict=True)]
        for rows in zip(batch.average_predictions.tolist(), predictions, strict=True)
    ]
    cross_entropy = regularizer = 0.0
    for i, j in enumerate(MIXUP.partner.tolist()):
        total = sum(math.exp(z) for z in logits[i])
        p = [math.exp(z) / total for z in logits[i]]
        q = [MIXUP.share * a + (1 - MIXUP.share) * b for a, b in zip(averages[i], averages[j], strict=True)]
        parts = [(int(batch.labels[i].argmax()), MIXUP.share, weights[i])]
        parts += [(int(batch.labels[j].argmax()), 1 - MIXUP.share, weights[j])]
        factors = q if product_targets else [1.0] * N_CLASSES
        scale = sum(share * factors[y] for y, share, _ in parts) if product_targets else 1.0
        cross_entropy -= sum(share * weight * factors[y] * math.log(p[y]) for y, share, weight in parts) / scale
        clamped = [min(max(value, 1e-4), 1 - 1e-4) for value in p]
        regularizer += math.log(1 - sum(a * b for a, b in zip(q, clamped, strict=True)))
    return cross_entropy / n, regularizer / n, torch.tensor(averages, dtype=torch.float64)


@pytest.mark.parametrize("product_targets", [False, True])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("scale", [1, 100], ids=["moderate logits", "probabilities beyond the clamp"])
def test_terms_against_a_naive_computation(scale, weights, product_targets):
    model, average = network(1), network(2)
    with torch.no_grad():
        model[3].weight *= scale
    sample = batch(torch.float32, weights)
    logits = copy.deepcopy(model)(MIXUP(sample.inputs)).double()
    if scale > 1:
        assert logits.softmax(1).max() > 1 - 1e-4
    # Of the inputs before they are mixed, with the statistics of this batch.
    predictions = copy.deepcopy(average)(sample.inputs).double().softmax(1)
    terms = step(model, average, sample, MIXUP, beta=0.6, regularizer_weight=3.0, product_targets=product_targets)
    expected = naive_terms(logits.tolist(), predictions.tolist(), sample, beta=0.6, product_targets=product_targets)
    assert_close(terms.cross_entropy.double(), torch.tensor(expected[0], dtype=torch.float64), rtol=1e-5, atol=1e-6)
    assert_close(terms.regularizer.double(), torch.tensor(expected[1], dtype=torch.float64), rtol=1e-5, atol=1e-6)
    assert_close(terms.average_predictions.double(), expected[2], rtol=1e-5, atol=1e-6)
    assert_close(terms.total, terms.cross_entropy + 3 * terms.regularizer)


def test_gradient_treats_the_average_predictions_as_constant():
    model, average = network(1), network(2)
    sample = batch(torch.float32)
    expected = copy.deepcopy(model)
    terms = step(model, average, sample, MIXUP, beta=0.6, regularizer_weight=3.0)
    terms.total.backward()
    q = MIXUP(terms.average_predictions)
    log_p = expected(MIXUP(sample.inputs)).log_softmax(1)
    (-(MIXUP(sample.labels) * log_p).sum(1).mean() + 3 * (1 - (q * log_p.exp()).sum(1)).log().mean()).backward()
    for parameter, other in zip(model.parameters(), expected.parameters(), strict=True):
        assert_close(parameter.grad, other.grad)
    assert all(parameter.grad is None for parameter in average.parameters())


def gradient(sample, **options):
    model = network(1)
    step(model, network(2), sample, MIXUP, beta=0.6, regularizer_weight=3.0, **options).total.backward()
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters()])


def relabelled(sample, number, label):
    labels = sample.labels.clone()
    labels[number] = torch.eye(N_CLASSES)[label]
    return Batch(sample.inputs, labels, sample.average_predictions, sample.weights)


@pytest.mark.parametrize("number", [0, 3])
def test_label_of_weight_0_has_no_influence(number):
    weights = [1.0] * BATCH
    weights[number] = 0.0
    sample = batch(torch.float32, weights)
    other = relabelled(sample, number, 2)
    assert torch.equal(gradient(sample), gradient(other))
    assert not torch.equal(gradient(batch(torch.float32)), gradient(relabelled(batch(torch.float32), number, 2)))


@pytest.mark.parametrize("product_targets", [False, True])
def test_unit_weights_change_nothing(product_targets):
    unit = batch(torch.float32, [1.0] * BATCH)
    options = {"product_targets": product_targets}
    assert torch.equal(gradient(unit, **options), gradient(batch(torch.float32), **options))


# The class


def training_set(n=40):
    generator = torch.Generator().manual_seed(3)
    labels = torch.arange(n) % N_CLASSES
    centres = 3 * torch.randn(N_CLASSES, 4, generator=generator)
    x = centres[labels] + torch.randn(n, 4, generator=generator)
    labels[: n // 5] = (labels[: n // 5] + 1) % N_CLASSES
    return TrainingSet(x, labels, N_CLASSES, weak=lambda x, g: x + 0.1 * torch.randn(x.shape, generator=g))


def rrms(n=40, **options):
    options = {"contamination": 0.2, "warmup": 2, **options}
    return RRM(n, **options), RRM(n, **options)


def method(rrm=None, **options):
    options = {"batch_size": 16, "decay_ramp_steps": 10, **options}
    return ELRPlus((network(1), network(2)), training_set(), rrm=rrm, **options)


def state_of(method):
    tensors = [*method.models[0].state_dict().values(), *method.models[1].state_dict().values()]
    tensors += [*method.averages[0].state_dict().values(), *method.averages[1].state_dict().values()]
    return [tensor.clone() for tensor in (*tensors, *method.average_predictions)]


def assert_same(first, second):
    assert all(torch.equal(a, b) for a, b in zip(state_of(first), state_of(second), strict=True))


@pytest.mark.parametrize("options", [{}, {"ramp_steps": 6, "product_targets": True, "beta": 0.5}])
def test_two_epochs_against_a_plain_loop(options):
    trained = method(**options)
    trained.fit(2)
    data = training_set()
    models = [network(1), network(2)]
    averages = copy.deepcopy(models)
    predictions = [torch.zeros(40, N_CLASSES) for _ in models]
    optimizers = [torch.optim.SGD(m.parameters(), lr=0.02, momentum=0.9, weight_decay=5e-4) for m in models]
    beta, ramp = options.get("beta", 0.7), options.get("ramp_steps", 0)
    counts = [0, 0]
    for epoch in (1, 2):
        for k in (0, 1):
            draws = data.draws(0, epoch, k)
            for index in data.shuffled(torch.arange(40), 16, draws):
                counts[k] += 1
                x = data.weak(data.inputs[index], draws.generator)
                mixup = MixUp.draw(len(index), 1.0, draws)
                log_p = models[k](mixup(x)).log_softmax(1)
                own = averages[1 - k](x).softmax(1).detach()
                predictions[k][index] = beta * predictions[k][index] + (1 - beta) * own
                q = mixup(predictions[k][index])
                targets = mixup(nn.functional.one_hot(data.labels[index], N_CLASSES).float())
                if options.get("product_targets"):
                    targets = targets * q / (targets * q).sum(1, keepdim=True)
                factor = 3 * (math.exp(-5 * (1 - min(1, counts[k] / ramp)) ** 2) if ramp else 1)
                loss = -(targets * log_p).sum(1).mean() + factor * (1 - (q * log_p.exp()).sum(1)).log().mean()
                optimizers[k].zero_grad()
                loss.backward()
                optimizers[k].step()
                decay = 0.997 * math.exp(-5 * (1 - min(1, (counts[k] + 1) / 10)) ** 2)
                for mean, parameter in zip(averages[k].parameters(), models[k].parameters(), strict=True):
                    mean.data = decay * mean.data + (1 - decay) * parameter.data
    for actual, expected in zip((*trained.models, *trained.averages), (*models, *averages), strict=True):
        for name, value in actual.state_dict().items():
            assert_close(value, expected.state_dict()[name], rtol=1e-4, atol=1e-5)
    for actual, expected in zip(trained.average_predictions, predictions, strict=True):
        assert_close(actual, expected, rtol=1e-4, atol=1e-5)


def test_predictor_adds_the_logits_of_the_averages():
    trained = method()
    trained.fit(1)
    data = training_set()
    logits = sum(average.eval()(data.inputs) for average in trained.averages)
    assert_close(predict(trained.predictor, data.batches(16)), logits.detach().softmax(1))


def test_a_warm_up_as_long_as_the_run_is_pointed_out():
    with pytest.warns(UserWarning, match="the run ends after epoch 1, .*: no sample is ever pruned") as caught:
        method(rrms()).fit(1)
    assert [warning.filename for warning in caught] == [__file__] * 2


def test_rrm_before_its_first_reweight_changes_no_bit():
    plain, weighted = method(), method(rrms(epochs=3))
    plain.fit(2)
    weighted.fit(2)
    assert_same(plain, weighted)


def test_each_network_is_pruned_by_its_own_losses_over_all_samples():
    trained = method(rrms())
    rows = trained.fit(3)
    assert [row["pruned"] for row in rows] == [[0, 0], [8, 8], [8, 8]]
    for k, rrm in enumerate(trained.rrm):
        assert torch.equal(rrm.losses, trained.losses_of(k))
        expected = trained.losses_of(k).topk(8).indices
        assert sorted(rrm.flagged().tolist()) == sorted(expected.tolist())
    assert not torch.equal(trained.rrm[0].losses, trained.rrm[1].losses)
    plain = method()
    plain.fit(3)
    assert not torch.equal(state_of(plain)[0], state_of(trained)[0])


@pytest.mark.parametrize("with_rrm", [False, True])
def test_resumed_run_equals_one_without_interruption(tmp_path, with_rrm):
    options = {"ramp_steps": 8, "product_targets": True}

    def new():
        return method(rrms() if with_rrm else None, **options)

    whole = new()
    whole.fit(4)
    interrupted = new()
    interrupted.fit(3, checkpoint=Checkpoint(tmp_path / "run.pt", method=interrupted))
    resumed = new()
    resumed.fit(4, checkpoint=Checkpoint(tmp_path / "run.pt", method=resumed))
    assert_same(resumed, whole)
    assert resumed.history == whole.history


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 1}, "batch_size must be at least 2, got 1"),
        ({"beta": 1.0}, r"beta must lie in \[0, 1\), got 1\.0"),
        ({"weight": -1.0}, r"weight must be finite and at least 0, got -1\.0"),
        ({"decay": 1.0}, r"decay must lie in \[0, 1\), got 1\.0"),
        ({"ramp_steps": -1}, "ramp_steps must be at least 0, got -1"),
        ({"decay_ramp_steps": -1}, "decay_ramp_steps must be at least 0, got -1"),
        ({"alpha": 0}, "alpha must be above 0, got 0"),
        ({"rrm": rrms(39)}, "rrm must be made for the 40 samples"),
        ({"rrm": rrms(contamination=None)}, "rrm must have a contamination or gamma"),
    ],
)
def test_rejects_bad_settings(options, message):
    with pytest.raises(ValueError, match=message):
        method(**options)


def test_product_targets_are_0_where_q_of_both_labels_is_0():
    inputs = batch()
    certain = nn.Linear(4, N_CLASSES, dtype=torch.float64)
    with torch.no_grad():
        certain.weight.zero_()
        certain.bias.copy_(torch.tensor([2000.0, 0.0, 0.0, 0.0, 0.0]))
    q = torch.zeros_like(inputs.average_predictions)
    model = network(1).double().train()
    inputs = replace(inputs, average_predictions=q)
    terms = step(model, certain, inputs, MIXUP, beta=0.7, regularizer_weight=3.0, product_targets=True)
    assert terms.total.isfinite()
    terms.total.backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
