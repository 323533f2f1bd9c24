from __future__ import annotations

import copy
import inspect
from functools import partial

import pytest
import torch
from torch.testing import assert_close

from rrm_torch.methods import cc
from rrm_torch.methods.cc import CC
from rrm_torch.methods.centrality import above_otsu, central_probability, centrality, discrepancy
from rrm_torch.methods.centrality_network import CentralityNetwork
from rrm_torch.methods.selection import MixtureSettings, normalise
from rrm_torch.methods.training_set import TrainingSet
from support.fixture_networks import N_CHANNELS, N_CLASSES, SmallBackbone, fill, filled
from support.recorded_numbers import LABELS, division_batch, division_mixup, largest_difference, recorded_numbers
from support.small_methods import centrality_networks, make_cc, networks, noisy_set, rrms

TOLERANCE = 1e-6


def published_network(s):
    return filled(CentralityNetwork(SmallBackbone(), N_CHANNELS, N_CLASSES, n_reduced=6), s)


def test_two_batches_end_with_the_recorded_parameters():
    models = published_network(80).train(), published_network(100).eval()
    method = CC(models, TrainingSet(fill((4, 3, 8, 8), 0), LABELS, N_CLASSES))
    for epoch in (10, 10 + 1 / 11):
        method._train_batch(0, division_batch(), division_mixup(), 25 * (epoch - 3) / 16)
    parameters = torch.cat([parameter.flatten() for parameter in models[0].parameters()])
    difference = largest_difference(parameters, recorded_numbers("cc")["parameters_after_two_batches"])
    print("largest difference of a parameter:", difference)
    assert difference < TOLERANCE
    assert models[0].backbone.norm.num_batches_tracked == 2 * 6
    assert models[1].backbone.norm.num_batches_tracked == 0


def test_heads_pass_no_gradient_to_the_backbone():
    model = published_network(80)
    losses = cc.step(model, published_network(100).eval(), division_batch(), division_mixup(), unlabelled_weight=5.0)
    losses.heads.backward()
    assert all(parameter.grad is None for parameter in model.main_parameters())
    assert all(parameter.grad is not None for parameter in model.head_parameters())


def test_backbone_loss_is_a_tenth_of_the_mean_discrepancy():
    model = published_network(80).eval()
    x = fill((4, 3, 8, 8), 0)
    expected = 0.1 * discrepancy(*model.heads(model.reduce(model.features(x)))).mean()
    assert_close(cc.backbone_loss(model, x), expected)


def test_step_on_the_backbone_leaves_the_classifier_alone():
    model = published_network(80)
    cc.backbone_loss(model, fill((4, 3, 8, 8), 0)).backward()
    assert all(parameter.grad is None for parameter in model.classifier.parameters())
    assert all(parameter.grad is not None for parameter in model.backbone.parameters())


@pytest.mark.parametrize("pruned", range(4))
def test_a_pruned_label_has_no_influence_on_any_head(pruned):
    weights = torch.full((4,), 4 / 3)
    weights[pruned] = 0
    outcomes = []
    for label in range(5):
        labels = LABELS.clone()
        labels[pruned] = label
        model = published_network(80)
        batch = division_batch(labels, weights)
        losses = cc.step(model, published_network(100).eval(), batch, division_mixup(), unlabelled_weight=25.0)
        (losses.main.total + losses.heads).backward()
        gradients = [parameter.grad.tolist() for parameter in model.parameters()]
        outcomes.append((losses.main.total.tolist(), losses.heads.tolist(), gradients))
    assert all(each == outcomes[0] for each in outcomes[1:])


def test_weights_change_all_heads():
    results = []
    for weights in (None, torch.tensor([2.0, 0.5, 1.0, 0.5])):
        batch = division_batch(weights=weights)
        model = published_network(80)
        results.append(cc.step(model, published_network(100).eval(), batch, division_mixup(), unlabelled_weight=0.0))
    assert results[0].main.labelled != results[1].main.labelled
    assert results[0].heads != results[1].heads


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"split": "otsu"},
        {"discrepancy_threshold": 0.3, "discrepancy_batches": 10},
        {"by_class": True},
        {"confidence_penalty": 0.5},
        {"autocast": torch.bfloat16},
    ],
    ids=str,
)
def test_trains_with_finite_losses_and_selects_right_labels(options):
    data = noisy_set()
    rate = partial(torch.optim.SGD, lr=0.1, momentum=0.9)
    method = make_cc(data, optimizer=rate, warmup=3, batch_size=8, **options)
    history = method.fit(5)
    assert all(torch.tensor(row["loss"]).isfinite().all() for row in history)
    is_wrong = data.labels != torch.arange(len(data)) % 3
    for division in method.divisions:
        assert len(division.labelled) >= 10
        assert is_wrong[division.labelled].float().mean() < 0.2 < is_wrong.float().mean()


def test_rrm_plans_by_the_losses_of_the_classifier():
    method = make_cc(rrm=rrms())
    method.fit(1)
    expected = [method.losses_of(k) for k in (0, 1)]
    scored = [method._score(k, 2, torch.arange(len(method.data))).losses for k in (0, 1)]
    for k in (0, 1):
        assert_close(scored[k], expected[k])
    method.fit(2)
    for k in (0, 1):
        division = method.divisions[k]
        assert_close(method.rrm[k].losses[division.labelled], expected[k][division.labelled])


@pytest.mark.parametrize("split", ["mixture", "otsu"])
def test_samples_are_selected_by_the_centres_of_classes_that_both_heads_predict(split):
    method = make_cc(split=split, seed=3)
    method.fit(1)
    model = method.models[0]
    with torch.no_grad():
        model.first_head[2].bias += torch.tensor([0.5, 0.0, 0.0])
    scores = method._score(0, 2, torch.arange(48))
    labels = method.data.labels
    model.eval()
    reduced = model.reduce(model.features(method.data.inputs)).detach()
    first, second = model.heads(reduced)
    predictions = (first + second).argmax(1)
    others = (labels, first.argmax(1), second.argmax(1), model(method.data.inputs).argmax(1))
    assert not any(torch.equal(predictions, other) for other in others)
    cosines = centrality(reduced, labels, predictions, 3)
    published = MixtureSettings(max_iter=100, tol=0.1, seed=3)
    probability = central_probability(cosines, labels, published)
    of_otsu = above_otsu(cosines, labels, 3)
    assert not torch.equal(probability > 0.4, of_otsu)
    if split == "mixture":
        assert_close(scores.clean_probability, probability)
        assert torch.equal(scores.selected, probability > 0.4)
    else:
        assert torch.equal(scores.clean_probability, of_otsu.float())
        assert torch.equal(scores.selected, of_otsu)


def test_otsu_takes_the_probability_of_selected_labels_from_their_discrepancy():
    method = make_cc(split="otsu", discrepancy_threshold=0.5, discrepancy_batches=2)
    twin = make_cc(split="otsu", discrepancy_threshold=0.5, discrepancy_batches=2)
    for each in (method, twin):
        each.fit(1)
    everything = torch.arange(48)
    scores = method._score(0, 2, everything)
    _, reduced, predictions = twin._outputs(0, everything)
    of_otsu = above_otsu(centrality(reduced, twin.data.labels, predictions, 3), twin.data.labels, 3)
    consistency = twin._consistency(0, 2, everything[of_otsu])
    assert torch.equal(scores.clean_probability[of_otsu], consistency)
    assert not scores.clean_probability[~of_otsu].any()
    assert torch.equal(scores.selected, of_otsu & (scores.clean_probability > 0.5))
    assert 0 < scores.selected.sum() < of_otsu.sum()


def test_otsu_and_rrm_keep_a_class_whose_cosines_are_all_lower(monkeypatch):
    method = make_cc(split="otsu", rrm=rrms())
    method.fit(1)
    labels = method.data.labels
    reduced = torch.eye(3)[labels] + torch.where(labels == 1, 1.0, 0.1)[:, None] * fill((48, 3), 5)
    monkeypatch.setattr(method, "_outputs", lambda k, index: (torch.eye(3)[labels], reduced, labels))
    scores = method._score(0, 2, torch.arange(48))
    selected = scores.selected
    assert torch.equal(scores.clean_probability, selected.float())
    assert all((selected & (labels == k)).any() for k in range(3))
    assert not len(method._divide(0, torch.arange(48), scores.losses, scores).pruned)


def test_defaults_are_the_published_ones():
    defaults = {name: parameter.default for name, parameter in inspect.signature(CC).parameters.items()}
    published = {
        "warmup": 30,
        "batch_size": 64,
        "ramp": 16,
        "temperature": 0.5,
        "alpha": 4,
        "threshold": 0.4,
        "discrepancy_threshold": 0,
        "discrepancy_batches": 100,
        "split": "mixture",
    }
    assert {name: defaults[name] for name in published} == published
    assert defaults["optimizer"].keywords == {"lr": 0.02, "momentum": 0.9, "weight_decay": 5e-4}


def test_warm_up_trains_the_heads_on_detached_features():
    method = make_cc(confidence_penalty=1.0)
    before = [parameter.clone() for parameter in method.models[0].head_parameters()]
    method.fit(1)
    changed = [not torch.equal(*pair) for pair in zip(before, method.models[0].head_parameters(), strict=True)]
    assert all(changed)


def test_warm_up_of_the_backbone_does_not_depend_on_the_heads():
    digests = []
    for s in (None, 3.0):
        method = make_cc()
        if s is not None:
            for model in method.models:
                for head in (model.first_head, model.second_head):
                    filled(head, s)
        method.fit(1)
        digests.append([parameter.tolist() for model in method.models for parameter in model.main_parameters()])
    assert digests[0] == digests[1]


def test_heads_alone_are_trained_to_differ():
    method = make_cc(discrepancy_threshold=0.5, discrepancy_batches=20, optimizer=partial(torch.optim.SGD, lr=1.0))
    model = method.models[0]
    others = [*model.main_parameters(), *model.reduction.parameters()]
    before = [parameter.clone() for parameter in others]
    members = torch.arange(30)
    discrepancy_before = method._discrepancies(model, members).mean()
    consistency = method._consistency(0, 2, members)
    assert method._discrepancies(model, members).mean() > discrepancy_before + 0.1
    assert all(torch.equal(*pair) for pair in zip(before, others, strict=True))
    assert 0 < (consistency > 0.5).sum() < 30


def test_steps_that_make_heads_differ_leave_their_optimizer_alone():
    method = make_cc(discrepancy_threshold=0.5, discrepancy_batches=2)
    method.fit(1)
    states = [optimizer.state_dict() for optimizer in (*method._main_optimizers, *method._head_optimizers)]
    before = copy.deepcopy(states)
    method._head_optimizers[0].param_groups[0]["lr"] = 0.125
    method._consistency(0, 2, torch.arange(30))
    method._head_optimizers[0].param_groups[0]["lr"] = before[2]["param_groups"][0]["lr"]
    after = [optimizer.state_dict() for optimizer in (*method._main_optimizers, *method._head_optimizers)]
    assert_close(after, before, rtol=0, atol=0)
    assert method._discrepancy_optimizers[0].param_groups[0]["lr"] == 0.125


def test_consistent_samples_are_those_of_low_discrepancy_in_their_class():
    method = make_cc(discrepancy_threshold=0.5, discrepancy_batches=1)
    members = torch.arange(30)
    kept = method._consistency(0, 2, members) > 0.5
    values = method._discrepancies(method.models[0], members)
    for k in range(3):
        of_class = method.data.labels[:30] == k
        assert values[of_class & kept].max() < values[of_class & ~kept].min()


def test_discrepancies_are_fitted_with_the_published_settings(monkeypatch):
    method = make_cc(discrepancy_threshold=0.5, discrepancy_batches=1, seed=3)
    fits = []
    monkeypatch.setattr(cc, "low_probability", lambda *arguments: fits.append(arguments) or torch.ones(30))
    method._consistency(0, 2, torch.arange(30))
    [(values, labels, settings)] = fits
    assert torch.equal(values, normalise(method._discrepancies(method.models[0], torch.arange(30))))
    assert torch.equal(labels, method.data.labels[:30])
    assert settings == MixtureSettings(max_iter=10, tol=0.01, reg_covar=5e-4, by_class=True, seed=3)


@pytest.mark.parametrize("n", [1, 2])
def test_discrepancy_of_few_selected_samples(n):
    method = make_cc(discrepancy_threshold=0.5, discrepancy_batches=2)
    consistency = method._consistency(0, 2, torch.arange(n))
    assert consistency.shape == (n,)
    assert ((consistency >= 0) & (consistency <= 1)).all()


def test_an_empty_selection_has_no_discrepancy(monkeypatch):
    method = make_cc(discrepancy_threshold=0.5, discrepancy_batches=2)
    method.fit(1)
    monkeypatch.setattr(cc, "central_probability", lambda cosines, *_: torch.zeros_like(cosines))
    assert not method._score(0, 2, torch.arange(48)).selected.any()


def test_features_that_are_not_finite_are_refused_by_name():
    method = make_cc()
    method.fit(1)
    with torch.no_grad():
        method.models[0].reduction.weight.fill_(torch.nan)
    with pytest.raises(ValueError, match=r"cosines must be finite .*, got nan for sample 0"):
        method.fit(2)


def test_a_class_that_nobody_is_predicted_as_is_no_error():
    method = make_cc()
    method.fit(1)
    with torch.no_grad():
        for model in method.models:
            for head in (model.first_head, model.second_head):
                head[2].bias[0] = -1000
    row = method.fit(2)[-1]
    assert torch.tensor(row["loss"]).isfinite().all()


WRONG = {
    "networks without heads": ({"models": networks()}, TypeError, "models must be two CentralityNetworks"),
    "one network": ({"models": centrality_networks()[:1]}, TypeError, "models must be a tuple of two modules"),
    "split": ({"split": "mean"}, ValueError, "split must be 'mixture' or 'otsu', got 'mean'"),
    "discrepancy_threshold": (
        {"discrepancy_threshold": 1.0},
        ValueError,
        r"discrepancy_threshold must lie in \[0, 1\), got 1",
    ),
    "discrepancy_batches": ({"discrepancy_batches": 0}, ValueError, "discrepancy_batches must be at least 1, got 0"),
    "warmup": ({"warmup": 0}, ValueError, "warmup must be at least 1, got 0"),
    "a single RRM": ({"rrm": rrms()[0]}, TypeError, "rrm must be a tuple of two RRMs"),
    "no training set": ({"data": None}, TypeError, "data must be a TrainingSet, got NoneType"),
}


@pytest.mark.parametrize(("changes", "kind", "message"), WRONG.values(), ids=WRONG)
def test_wrong_arguments_are_refused(changes, kind, message):
    with pytest.raises(kind, match=message):
        CC(**{"models": centrality_networks(), "data": noisy_set(), **changes})
