from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from rrm_torch import RRM, Checkpoint, predict
from rrm_torch.methods import regmixup
from rrm_torch.methods.mixup import MixUp
from rrm_torch.methods.regmixup import RegMixUp, step
from rrm_torch.methods.training_set import TrainingSet

N = 40
N_CLASSES = 5
BATCH = 6
LABELS = torch.tensor([0, 3, 1, 4, 1, 2])
MIXUP = MixUp(0.3, torch.tensor([2, 4, 5, 0, 3, 1]))
WEIGHTS = torch.tensor([0.0, 1.5, 1.0, 0.5, 2.0, 1.0])


def network(seed=1):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, N_CLASSES))


def one_hot(labels):
    return nn.functional.one_hot(labels, N_CLASSES).float()


def inputs():
    return torch.randn(BATCH, 4, generator=torch.Generator().manual_seed(7))


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_terms_weigh_both_labels_of_a_mixture(weights):
    model = network()
    terms = step(model, inputs(), one_hot(LABELS), MIXUP, mix_weight=0.5, weights=weights)
    second = network()
    losses = nn.functional.cross_entropy(second(inputs()), LABELS, reduction="none")
    logits = second(0.3 * inputs() + 0.7 * inputs()[MIXUP.partner])
    own = nn.functional.cross_entropy(logits, LABELS, reduction="none")
    of_partner = nn.functional.cross_entropy(logits, LABELS[MIXUP.partner], reduction="none")
    w = torch.ones(BATCH) if weights is None else weights
    cross_entropy = (w * losses).mean()
    mixed = (0.3 * w * own + 0.7 * w[MIXUP.partner] * of_partner).mean()
    assert_close(terms.losses, losses)
    assert_close(terms.cross_entropy, cross_entropy)
    assert_close(terms.mixed, mixed)
    assert_close(terms.total, cross_entropy + 0.5 * mixed)
    # Batch norm has seen the samples, then their mixtures.
    for name, value in model.state_dict().items():
        assert_close(value, second.state_dict()[name])


def gradient(labels, weights):
    model = network()
    step(model, inputs(), one_hot(labels), MIXUP, mix_weight=0.5, weights=weights).total.backward()
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters()])


def test_label_of_weight_0_has_no_influence():
    other = LABELS.clone()
    other[0] = 2
    assert torch.equal(gradient(LABELS, WEIGHTS), gradient(other, WEIGHTS))
    assert not torch.equal(gradient(LABELS, None), gradient(other, None))


def test_unit_weights_change_nothing():
    assert torch.equal(gradient(LABELS, torch.ones(BATCH)), gradient(LABELS, None))


# The class


def training_set(n=N):
    generator = torch.Generator().manual_seed(3)
    labels = torch.arange(n) % N_CLASSES
    centres = 3 * torch.randn(N_CLASSES, 4, generator=generator)
    x = centres[labels] + torch.randn(n, 4, generator=generator)
    labels[: n // 5] = (labels[: n // 5] + 1) % N_CLASSES
    return TrainingSet(x, labels, N_CLASSES, weak=lambda x, g: x + 0.1 * torch.randn(x.shape, generator=g))


def method(**options):
    options = {"batch_size": 16, "optimizer": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9), **options}
    return RegMixUp(network(), training_set(), **options)


def assert_same(first, second):
    for a, b in zip(first.model.state_dict().values(), second.model.state_dict().values(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("rho", [0.0, 0.05])
def test_epoch_against_a_plain_loop(rho):
    trained = method(rho=rho, mix_weight=1.0, alpha=0.5)
    trained.fit(2)
    data = training_set()
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    shares = []
    for epoch in (1, 2):
        draws = data.draws(0, epoch)
        for index in data.shuffled(torch.arange(N), 16, draws):
            x = data.weak(data.inputs[index], draws.generator)
            y = one_hot(data.labels[index])
            start = copy.deepcopy([*model.parameters()])
            for evaluation in (0, 1) if rho else (1,):
                mixup = MixUp.draw(len(index), 0.5, draws, keeps_order=False)
                shares.append(mixup.share)
                optimizer.zero_grad()
                log_p = model(x).log_softmax(1)
                mixed_log_p = model(mixup(x)).log_softmax(1)
                (-(y * log_p).sum(1).mean() - (mixup(y) * mixed_log_p).sum(1).mean()).backward()
                if evaluation == 0:
                    norm = torch.cat([p.grad.flatten() for p in model.parameters()]).norm()
                    for parameter in model.parameters():
                        parameter.data += rho * parameter.grad / norm
            for parameter, before in zip(model.parameters(), start, strict=True):
                parameter.data.copy_(before)
            optimizer.step()
    assert min(shares) < 0.5
    for name, value in trained.model.state_dict().items():
        assert_close(value, model.state_dict()[name], rtol=1e-4, atol=1e-5)


def test_losses_at_the_weights_are_recorded_once():
    recorded = []

    class Recorder(RRM):
        def weighted_mean(self, losses, index, **options):
            recorded.append((index.clone(), losses.clone(), options["logits"].clone()))
            return super().weighted_mean(losses, index, **options)

    trained = method(rrm=Recorder(N, contamination=0.2, warmup=1, epochs=2))
    trained.fit(1)
    assert sorted(torch.cat([index for index, _, _ in recorded]).tolist()) == list(range(N))
    # The first losses are those of the untrained network.
    index, losses, logits = recorded[0]
    data = training_set()
    draws = data.draws(0, 1)
    assert torch.equal(data.shuffled(torch.arange(N), 16, draws)[0], index)
    expected = network()(data.weak(data.inputs[index], draws.generator))
    assert_close(logits, expected.detach())
    assert_close(losses, nn.functional.cross_entropy(expected, data.labels[index], reduction="none").detach())


def test_rrm_before_its_first_reweight_changes_no_bit():
    plain, weighted = method(), method(rrm=RRM(N, contamination=0.2, warmup=2, epochs=3))
    plain.fit(2)
    weighted.fit(2)
    assert_same(plain, weighted)
    plain.fit(3)
    weighted.fit(3)
    assert not torch.equal(plain.model[0].weight, weighted.model[0].weight)
    assert [row["pruned"] for row in weighted.history] == [0, 8, 8]


def test_losses_of_a_pass_decide_where_rrm_takes_them_from_one():
    trained = method(rrm=RRM(N, contamination=0.2, warmup=1, epochs=2, losses_from="pass"))
    trained.fit(1)
    p = predict(trained.predictor, trained.data.batches(16))
    assert_close(trained.rrm.losses, -p[torch.arange(N), trained.data.labels].log(), rtol=1e-4, atol=1e-5)


def test_contamination_is_estimated_from_the_outputs_in_training():
    rrm = RRM(200, contamination="auto", warmup=4)
    trained = RegMixUp(network(), training_set(200), rrm=rrm, batch_size=16)
    trained.fit(5)
    assert rrm.epochs == 5
    assert rrm.estimate.contamination == pytest.approx(0.2, abs=0.1)
    assert trained.history[-1]["pruned"] > 0


def test_a_resumed_run_plans_its_new_number_of_epochs(tmp_path):
    planned = []
    for epochs in (2, 6):
        rrm = RRM(N, contamination=0.2, warmup=1)
        trained = method(rrm=rrm)
        trained.fit(epochs, checkpoint=Checkpoint(tmp_path / "run.pt", method=trained))
        planned.append(rrm.epochs)
    assert planned == [2, 6]


def test_an_interrupted_epoch_begins_again(monkeypatch):
    trained, whole = (method(rrm=RRM(N, contamination=0.2, warmup=1)) for _ in range(2))
    update = regmixup.sharpness_aware_update
    calls = []

    def interrupted(*arguments):
        calls.append(None)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return update(*arguments)

    monkeypatch.setattr(regmixup, "sharpness_aware_update", interrupted)
    with pytest.raises(KeyboardInterrupt):
        trained.fit(3)
    trained.fit(3)
    whole.fit(3)
    assert [row["pruned"] for row in trained.history] == [row["pruned"] for row in whole.history]


def test_a_warm_up_as_long_as_the_run_is_pointed_out():
    with pytest.warns(UserWarning, match="the run ends after epoch 2, .*: no epoch is trained with the new weights"):
        method(rrm=RRM(N, contamination=0.2, warmup=2)).fit(2)


@pytest.mark.parametrize("with_rrm", [False, True])
def test_resumed_run_equals_one_without_interruption(tmp_path, with_rrm):
    def new():
        schedule = {"scheduler": lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 4)}
        return method(rrm=RRM(N, contamination=0.2, warmup=2) if with_rrm else None, **schedule)

    whole = new()
    whole.fit(4)
    interrupted = new()
    interrupted.fit(3, checkpoint=Checkpoint(tmp_path / "run.pt", method=interrupted))
    resumed = new()
    resumed.fit(4, checkpoint=Checkpoint(tmp_path / "run.pt", method=resumed))
    assert_same(resumed, whole)
    assert resumed.history == whole.history


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"batch_size": 1}, ValueError, "batch_size must be at least 2, got 1"),
        ({"batch_size": 2.5}, TypeError, r"batch_size must be an integer, got 2\.5"),
        ({"mix_weight": -1.0}, ValueError, r"mix_weight must be finite and at least 0, got -1\.0"),
        ({"alpha": 0}, ValueError, "alpha must be above 0, got 0"),
        ({"rho": float("inf")}, ValueError, "rho must be finite and at least 0, got inf"),
        ({"rrm": "auto"}, TypeError, "rrm must be an RRM or None, got 'auto'"),
        ({"rrm": RRM(39, contamination=0.2)}, ValueError, "rrm must be made for the 40 samples"),
        ({"rrm": RRM(N)}, ValueError, "rrm must have a contamination or gamma"),
        ({"rrm": RRM(N, contamination=0.2, unit="step")}, ValueError, "rrm must count epochs"),
    ],
)
def test_rejects_bad_settings(options, error, message):
    with pytest.raises(error, match=message):
        method(**options)


def test_rejects_an_rrm_of_several_ranks():
    rrm = RRM(N, contamination=0.2)
    rrm.layout = "sharded"
    with pytest.raises(ValueError, match="rrm must hold all samples in one process, got layout='sharded'"):
        method(rrm=rrm)


def test_rejects_something_else_than_a_model():
    with pytest.raises(TypeError, match="model must be a module that returns logits, got NoneType"):
        RegMixUp(None, training_set())
