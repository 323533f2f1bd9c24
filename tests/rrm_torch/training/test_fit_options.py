"""Options of `fit`: adversarial training, regularized losses, mixed precision, schedules, steps, batches."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from rrm_torch import ELR, RRM, BatchRRM, batches, evaluate, fit, score
from rrm_torch.adversarial.attacks import FGSM, PGD
from rrm_torch.adversarial.trades import TRADES
from rrm_torch.losses import per_sample as losses
from support.clouds import three_clouds

N = 48
K = 3


@pytest.fixture
def blobs():
    return three_clouds(N)


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, K))


def train(x, y, *, epochs=5, lr=0.1, **options):
    model = net()
    loader = batches(x, y, 8, shuffle=True, generator=torch.Generator().manual_seed(0))
    fit(model, loader, torch.optim.SGD(model.parameters(), lr=lr), epochs, **options)
    return model


def by_hand(x, y, step, *, epochs=5, lr=0.1):
    """Train as `train` does, with the loss of a batch from step(model, index, x, y)."""
    model = net()
    loader = batches(x, y, 8, shuffle=True, generator=torch.Generator().manual_seed(0))
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    for _ in range(epochs):
        for batch in loader:
            loss = step(model, *batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model


def same(model, other):
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        assert_close(a, b, rtol=0, atol=0)


def test_adversarial_training_perturbs_each_batch(blobs):
    attack = FGSM(0.5)
    expected = by_hand(*blobs, lambda model, _, x, y: losses.cross_entropy(model(attack(model, x, y)), y).mean())
    same(train(*blobs, attack=attack), expected)


def test_a_rrm_records_losses_of_attacked_inputs(blobs):
    attack = FGSM(0.5)
    rrm = RRM(N, contamination=0.25, warmup=1, epochs=99)
    last = torch.zeros(N)

    class Watching(FGSM):
        def __call__(self, model, x, y, *rest, **options):
            perturbed = super().__call__(model, x, y, *rest, **options)
            observed.append(losses.cross_entropy(model(perturbed), y).detach())
            return perturbed

    observed = []
    train(*blobs, attack=Watching(0.5), rrm=rrm, epochs=1)
    order = torch.cat([i for i, _, _ in batches(*blobs, 8, shuffle=True, generator=torch.Generator().manual_seed(0))])
    last[order] = torch.cat(observed)
    assert_close(rrm.losses, last)
    assert attack == FGSM(0.5)


@pytest.mark.parametrize("inputs", ["perturbed", "clean"])
def test_scoring_pass_of_perturbed_or_clean_inputs(blobs, inputs):
    attack = FGSM(0.5)
    in_order = batches(*blobs, 16, shuffle=False)
    rrm = RRM(N, contamination=0.25, warmup=5, epochs=99)
    model = train(*blobs, attack=attack, rrm=rrm, score_loader=in_order, score_inputs=inputs)
    clean = score(model, in_order)
    perturbed = score(model, in_order, attack=attack)
    assert (perturbed > clean).float().mean() > 0.9
    assert_close(rrm.losses, perturbed if inputs == "perturbed" else clean)


def test_weighted_attack_gets_the_sample_weights(blobs):
    x, y = blobs
    rrm = RRM(N, contamination=0.5, warmup=1, redistribute="drop")
    rrm.step(torch.arange(float(N)))  # the second half has weight 0
    observed = {}

    class Watching(FGSM):
        def __call__(self, model, x, y, loss, weights=None):
            perturbed = super().__call__(model, x, y, loss, weights)
            observed["moved"], observed["weights"] = (perturbed != x).any(1), weights
            return perturbed

    for weighted in (True, False):
        model = net()
        loader = batches(x, y, N, shuffle=False)
        attack = Watching(0.5, weighted=weighted)
        fit(model, loader, torch.optim.SGD(model.parameters(), lr=0.1), 1, rrm=rrm, attack=attack)
        if weighted:
            assert_close(observed["moved"], torch.arange(N) < N // 2)
        else:
            assert observed["weights"] is None
            assert observed["moved"].all()


def test_adversarial_training_improves_robustness():
    """One large feature is right for 90 % of the samples; twenty small ones are right for all, but not robust."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(200) % 2
    sign = 2.0 * y[:, None] - 1
    strong = torch.where(torch.arange(200)[:, None] % 20 < 18, sign, -sign)
    x = torch.cat([strong, 0.2 * sign + 0.1 * torch.randn(200, 20, generator=generator)], 1)
    attack = PGD(0.4, steps=3)
    actual = {}
    for name, options in (("plain", {}), ("robust", {"attack": attack})):
        torch.manual_seed(0)
        model = nn.Linear(21, 2)
        fit(model, batches(x, y, 20, shuffle=False), torch.optim.SGD(model.parameters(), lr=0.1), 30, **options)
        actual[name] = evaluate(model, [(x, y)]), evaluate(model, [(attack(model, x, y), y)])
    assert actual["plain"][0] == 1.0
    assert actual["plain"][1] < 0.3
    assert actual["robust"] == (0.9, 0.9)


def test_attack_uses_the_precision_of_training(blobs):
    kinds = []

    class Watched(nn.Linear):
        def forward(self, x):
            outputs = super().forward(x)
            kinds.append(outputs.dtype)
            return outputs

    model = Watched(2, K)
    loader = batches(*blobs, N, shuffle=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    fit(model, loader, optimizer, 1, attack=FGSM(0.1), autocast=torch.bfloat16)
    score(model, loader, attack=FGSM(0.1), autocast=torch.bfloat16)
    assert kinds == [torch.bfloat16] * 4


def test_scoring_pass_attacks_with_its_loss(blobs):
    given = []

    class Watching(FGSM):
        def __call__(self, model, x, y, loss, weights=None):
            given.append(loss)
            return super().__call__(model, x, y, loss, weights)

    score(net(), batches(*blobs, N, shuffle=False), losses.mean_squared_error, attack=Watching(0.1))
    assert given == [losses.mean_squared_error]


@pytest.mark.parametrize("kind", ["ELR", "TRADES"])
def test_only_the_label_loss_is_weighted_and_recorded(blobs, kind):
    x, y = blobs

    def loss():
        return ELR(N, K, weight=0.5) if kind == "ELR" else TRADES(PGD(0.3, steps=2), beta=2.0)

    rrm, expected_rrm = (RRM(N, contamination=0.25, warmup=1) for _ in range(2))
    for one in (rrm, expected_rrm):
        one.step(torch.arange(float(N)))
    mine = loss()
    own = loss()

    def step(model, index, a, b):
        own_losses, regularizer, _ = own.parts(model, a, b, index)
        return (expected_rrm.weights[index] * own_losses + regularizer).mean()

    torch.manual_seed(7)
    model = net()
    loader = batches(x, y, 8, shuffle=False)
    fit(model, loader, torch.optim.SGD(model.parameters(), lr=0.1), 1, rrm=rrm, loss=mine)
    torch.manual_seed(7)
    other = net()
    optimizer = None
    optimizer = torch.optim.SGD(other.parameters(), lr=0.1)
    recorded = []
    for index, a, b in loader:
        recorded.append(losses.cross_entropy(other(a), b).detach())
        total = step(other, index, a, b)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    for p, q in zip(model.parameters(), other.parameters(), strict=True):
        assert_close(p, q)
    assert_close(rrm.losses, torch.cat(recorded))


def test_without_rrm_regularized_loss_is_the_mean_of_the_sum(blobs):
    own = ELR(N, K, weight=0.5)
    expected = by_hand(*blobs, lambda model, index, x, y: sum(own.parts(model, x, y, index)[:2]).mean())
    same(train(*blobs, loss=ELR(N, K, weight=0.5)), expected)


def test_mixed_precision_in_training_and_scoring(blobs):
    observed = []

    class Watching(nn.Linear):
        def forward(self, x):
            out = super().forward(x)
            observed.append((out.dtype, self.training))
            return out

    x, y = blobs
    torch.manual_seed(0)
    model = Watching(2, K)
    rrm = RRM(N, contamination=0.25, warmup=1, epochs=99)
    loader = batches(x, y, 16, shuffle=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    fit(model, loader, optimizer, 1, rrm=rrm, score_loader=loader, autocast=torch.bfloat16)
    assert set(observed) == {(torch.bfloat16, True), (torch.bfloat16, False)}
    assert rrm.losses.dtype == torch.float32
    assert model.weight.dtype == torch.float32


def test_scheduler_steps_after_each_epoch(blobs):
    x, y = blobs
    model = net()
    rates = []
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    loader = batches(x, y, 16, shuffle=False)
    fit(
        model, loader, optimizer, 3, scheduler=scheduler,
        on_epoch=lambda epoch, loss: rates.append(optimizer.param_groups[0]["lr"]),
    )  # fmt: skip
    assert rates == [0.05, 0.025, 0.0125]


def test_rrm_by_step(blobs):
    rrm = RRM(N, contamination=0.25, warmup=6, every=4, unit="step")
    train(*blobs, rrm=rrm, epochs=3)  # 6 steps each
    assert rrm.epoch == 18
    assert [entry.epoch for entry in rrm.trajectory.rounds] == [6, 10, 14, 18]


def test_rrm_by_batch(blobs):
    rrm = BatchRRM(N, contamination=0.25, warmup=2)
    train(*blobs, rrm=rrm, epochs=4)
    assert [entry.n_pruned for entry in rrm.trajectory.rounds] == [12, 12]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attack": FGSM(0.1), "score_inputs": "clean"}, "score_inputs='clean' needs a score_loader"),
        ({"score_inputs": "both"}, "score_inputs must be 'perturbed' or 'clean', got 'both'"),
        ({"autocast": torch.float16}, r"autocast must be torch\.bfloat16 or None, got torch\.float16; float16 needs"),
        ({"autocast": torch.int8}, r"autocast must be torch\.bfloat16 or None, got torch\.int8"),
        ({"epochs": -3}, "epochs must be at least 0, got -3"),
    ],
)
def test_rejects_contradicting_options(blobs, options, message):
    with pytest.raises(ValueError, match=message):
        train(*blobs, rrm=RRM(N, contamination=0.25, epochs=99), **options)


def test_rejects_scheduler_with_metric(blobs):
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
    with pytest.raises(ValueError, match="scheduler must step without a metric; step a ReduceLROnPlateau in on_epoch"):
        fit(model, batches(*blobs, 8, shuffle=False), optimizer, 1, scheduler=scheduler)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attack": "fgsm"}, r"attack must be one of rrm_torch\.adversarial, such as FGSM\(0\.1\), got 'fgsm'"),
        ({"attack": FGSM}, "attack must be one of .*, got <class"),
        ({"rrm": 0.3}, r"rrm must be an RRM or a BatchRRM, got 0\.3"),
    ],
)
def test_rejects_wrong_types(blobs, options, message):
    with pytest.raises(TypeError, match=message):
        train(*blobs, **options)


class Coarse(nn.Linear):
    """A linear model in bfloat16 throughout."""

    def forward(self, x):
        return super().forward(x.bfloat16())


@pytest.mark.parametrize("how", ["caller's autocast", "model of bfloat16", "autocast"])
def test_training_and_scoring_losses_have_the_same_precision(blobs, how):
    x, y = blobs
    observed = []

    def loss(outputs, y):
        observed.append(outputs.dtype)
        return losses.cross_entropy(outputs, y)

    torch.manual_seed(0)
    model = Coarse(2, K).bfloat16() if how == "model of bfloat16" else nn.Linear(2, K)
    loader = batches(x, y, 16, shuffle=False)
    options = {"autocast": torch.bfloat16} if how == "autocast" else {}
    with torch.autocast("cpu", torch.bfloat16, enabled=how == "caller's autocast"):
        fit(model, loader, torch.optim.SGD(model.parameters(), lr=0.1), 1, loss=loss, attack=FGSM(0.1), **options)
        score(model, loader, loss, **options)
    assert len(observed) == 9  # a batch is attacked, trained on and scored
    assert set(observed) == {torch.float32}


def test_dict_outputs(blobs):
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = net()

        def forward(self, x):
            return {"logits": self.inner(x)}

    def loss(outputs, y):
        return losses.cross_entropy(outputs["logits"], y)

    model = Named()
    loader = batches(*blobs, 16, shuffle=False)
    options = {"loss": loss, "attack": FGSM(0.1)}
    fit(model, loader, torch.optim.SGD(model.parameters(), lr=0.1), 1, autocast=torch.bfloat16, **options)
    assert score(model, loader, loss, attack=FGSM(0.1), autocast=torch.bfloat16).shape == (N,)


def pooled(outputs, y):
    return losses.token_cross_entropy(outputs, y, ignore_index=-1)


def test_token_loss_with_one_index_per_sequence(blobs):
    """Four tokens per sequence, labelled by the sign of their first coordinate; one sequence is mislabelled."""
    x, _ = blobs
    tokens = x.repeat_interleave(4, 0).view(N, 4, 2)
    y = (tokens[..., 0] > 0).long()
    y[:, 3] = -1  # padding
    y[5] = 1 - y[5].clamp(min=0)
    torch.manual_seed(0)
    model = nn.Linear(2, 2)
    rrm = RRM(N, contamination=1 / N, warmup=2)
    loader = batches(tokens, y, 8, shuffle=True, generator=torch.Generator().manual_seed(0))
    fit(model, loader, torch.optim.SGD(model.parameters(), lr=0.5), 6, rrm=rrm, loss=pooled)
    assert rrm.flagged().tolist() == [5]


def test_multi_label_loss_with_one_index_per_sample(blobs):
    x, _ = blobs
    y = torch.stack([x[:, 0] > 0, x[:, 1] > 0, x.sum(1) > 0], dim=1).float()
    y[9] = 1 - y[9]
    torch.manual_seed(0)
    model = nn.Linear(2, 3)
    rrm = RRM(N, contamination=1 / N, warmup=2)
    loader = batches(x, y, 8, shuffle=True, generator=torch.Generator().manual_seed(0))
    fit(model, loader, torch.optim.SGD(model.parameters(), lr=0.5), 6, rrm=rrm, loss=losses.binary_cross_entropy)
    assert rrm.flagged().tolist() == [9]


@pytest.mark.parametrize(
    "rrm", [RRM(N, contamination=0.25, unit="step", warmup=6), BatchRRM(N, contamination=0.25)], ids=["step", "batch"]
)
def test_rejects_score_loader_without_effect(blobs, rrm):
    with pytest.raises(ValueError, match=r"score_loader can't be used with (RRM and unit='step'|BatchRRM)"):
        train(*blobs, rrm=rrm, score_loader=batches(*blobs, 16, shuffle=False))


def test_score_loader_allows_incomplete_training_epochs(blobs):
    x, y = blobs
    model = net()
    rrm = RRM(N, contamination=0.25, warmup=3)
    loader = [(torch.arange(8), x[:8], y[:8])]  # other samples are never trained on; a warning would be an error
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    fit(model, loader, optimizer, 4, rrm=rrm, score_loader=batches(x, y, 16, shuffle=False))
    assert rrm.plan is not None


def test_every_epoch_trains_in_training_mode(blobs):
    x, y = blobs
    model = net()
    modes = []
    loader = batches(x, y, 16, shuffle=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def after(epoch, loss):
        modes.append(model.training)
        model.eval()

    fit(model, loader, optimizer, 3, on_epoch=after)
    assert modes == [True] * 3
