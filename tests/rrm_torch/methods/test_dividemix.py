from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch

from rrm_torch import RRM, BatchRRM
from rrm_torch.methods import dividemix
from rrm_torch.methods.dividemix import DivideMix
from rrm_torch.methods.selection import MixtureSettings, normalise
from support.fixture_networks import filled, small_network
from support.recorded_numbers import division_batch, division_mixup, largest_difference, recorded_numbers
from support.small_methods import (
    N,
    centrality_networks,
    make_cc,
    make_dividemix,
    networks,
    networks_digest,
    noisy_set,
    rrms,
)

TOLERANCE = 1e-6


def test_step_has_the_recorded_loss_gradient_and_running_statistics():
    recorded = recorded_numbers("dividemix")
    model = filled(small_network(), 10).train()
    other = filled(small_network(), 20).eval()
    unlabelled_weight = 25 * dividemix_ramp(10, 3)
    terms = dividemix.step(model, other, division_batch(), division_mixup(), unlabelled_weight=unlabelled_weight)
    terms.total.backward()
    gradient = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
    norm = model[0].norm
    differences = {
        "L_X": largest_difference(terms.labelled, recorded["Lx"]),
        "L_U": largest_difference(terms.unlabelled, recorded["Lu"]),
        "lambda_u": abs(terms.unlabelled_weight - recorded["lambda_u"]),
        "gradient": largest_difference(gradient, recorded["gradient"]),
        "running mean": largest_difference(norm.running_mean, recorded["running_mean"]),
        "running variance": largest_difference(norm.running_var, recorded["running_var"]),
    }
    print("largest differences:", differences)
    assert max(differences.values()) < TOLERANCE, differences
    assert norm.num_batches_tracked == 5
    assert other[0].norm.num_batches_tracked == 0


def dividemix_ramp(epoch: int, warmup: int) -> float:
    return min(1, (epoch - warmup) / 16)


def test_learns_the_right_classes_and_selects_right_labels():
    data = noisy_set()
    method = make_dividemix(data, seed=3)
    history = method.fit(8)
    assert [row["epoch"] for row in history] == list(range(1, 9))
    truth = torch.arange(N) % 3
    is_wrong = data.labels != truth
    for division in method.divisions:
        assert is_wrong[division.labelled].float().mean() < is_wrong.float().mean() / 2
    predictor = method.predictor.eval()
    assert (predictor(data.inputs).argmax(1) == truth).float().mean() > 0.9


def test_predictor_adds_the_logits_of_both_networks():
    method = make_dividemix()
    x = method.data.inputs
    predictor = method.predictor.eval()
    assert torch.equal(predictor(x), method.models[0](x) + method.models[1](x))


def test_losses_are_averaged_over_the_last_epochs(monkeypatch):
    method = make_dividemix(average_losses=2)
    rows = torch.rand(3, N, generator=torch.Generator().manual_seed(0))
    seen = []

    def low_probability(values, labels, settings):
        seen.append(values)
        return torch.ones(N)

    monkeypatch.setattr(dividemix, "low_probability", low_probability)
    for number, row in enumerate(rows):
        monkeypatch.setattr(method, "losses_of", lambda k, index, row=row: row)
        scores = method._score(0, number + 2, torch.arange(len(method.data)))
        assert scores.losses is row, "RRM plans by the losses of this epoch"
    normalised = [normalise(row) for row in rows]
    torch.testing.assert_close(seen[0], normalised[0])
    torch.testing.assert_close(seen[1], (normalised[0] + normalised[1]) / 2)
    torch.testing.assert_close(seen[2], (normalised[1] + normalised[2]) / 2)


def test_by_class_and_clip_reach_the_mixture():
    method = make_dividemix(by_class=True, clip=0.99, seed=4)
    settings = method._mixture
    assert (settings.by_class, settings.clip, settings.seed) == (True, 0.99, 4)


def test_numpy_scalars_are_accepted_as_settings(tmp_path):
    from rrm_torch import Checkpoint

    method = make_dividemix(alpha=np.float64(4), threshold=np.float32(0.5), warmup=np.int64(1), seed=np.int64(2))
    method.fit(2, checkpoint=Checkpoint(tmp_path / "run.pt", method=method))
    assert method.epoch == 2


def test_large_seeds_are_accepted():
    make_dividemix(seed=2**40).fit(2)


def of_several_ranks():
    first, second = rrms()
    second.layout = "sharded"
    return first, second


def test_defaults_are_the_published_ones():
    defaults = {name: parameter.default for name, parameter in inspect.signature(DivideMix).parameters.items()}
    published = {
        "warmup": 10,
        "batch_size": 64,
        "unlabelled_weight": 25,
        "ramp": 16,
        "temperature": 0.5,
        "alpha": 4,
        "threshold": 0.5,
        "confidence_penalty": 0,
        "average_losses": 1,
        "by_class": False,
        "clip": None,
    }
    assert {name: defaults[name] for name in published} == published
    assert defaults["optimizer"].keywords == {"lr": 0.02, "momentum": 0.9, "weight_decay": 5e-4}
    mixture = MixtureSettings()
    assert (mixture.max_iter, mixture.tol, mixture.reg_covar) == (10, 1e-2, 5e-4)


WRONG = {
    "models of another type": (
        {"models": [torch.nn.Linear(2, 3), torch.nn.Linear(2, 3)]},
        TypeError,
        "models must be a tuple",
    ),
    "models on two devices": (
        {"models": (networks()[0], networks()[1].to("meta"))},
        ValueError,
        "models must be on one device, got cpu and meta",
    ),
    "one model": ({"models": networks()[:1]}, TypeError, "models must be a tuple of two modules"),
    "no model": ({"models": ("a", "b")}, TypeError, "models must be a tuple of two modules"),
    "the same model twice": ({"models": networks()[:1] * 2}, ValueError, "models must be two networks, got the same"),
    "no training set": ({"data": torch.zeros(3)}, TypeError, "data must be a TrainingSet, got Tensor"),
    "a single RRM": ({"rrm": RRM(N, warmup=1)}, TypeError, "rrm must be a tuple of two RRMs"),
    "no RRM": ({"rrm": 5}, TypeError, "rrm must be a tuple of two RRMs"),
    "one RRM": ({"rrm": rrms()[:1]}, TypeError, "rrm must be a tuple of two RRMs"),
    "the same RRM twice": ({"rrm": rrms()[:1] * 2}, ValueError, "rrm must be two objects"),
    "a BatchRRM": (
        {"rrm": (BatchRRM(N, contamination=0.1), BatchRRM(N, contamination=0.1))},
        TypeError,
        "rrm must be a tuple of two RRMs",
    ),
    "RRMs of other samples": ({"rrm": rrms(N + 1)}, ValueError, f"made for the {N} samples .*, got n={N + 1}"),
    "RRMs that estimate": (
        {"rrm": tuple(RRM(1000, contamination="auto") for _ in range(2)), "data": noisy_set(1000)},
        ValueError,
        "rrm can't estimate here",
    ),
    "RRMs that count steps": ({"rrm": rrms(unit="step")}, ValueError, "rrm must count epochs, got unit='step'"),
    "RRMs that rank by outputs": (
        {"rrm": rrms(rank_by="prior-adjusted", groups=noisy_set().labels)},
        ValueError,
        "rrm must rank by the loss, got rank_by='prior-adjusted'",
    ),
    "RRMs of several ranks": ({"rrm": of_several_ranks()}, ValueError, "in one process, got layout='sharded'"),
    "on_pruned": ({"on_pruned": "keep"}, ValueError, "on_pruned must be 'drop' or 'unlabelled', got 'keep'"),
    "warmup": ({"warmup": 0}, ValueError, "warmup must be at least 1, got 0"),
    "batch_size": ({"batch_size": 1}, ValueError, "batch_size must be at least 2, got 1"),
    "unlabelled_weight": (
        {"unlabelled_weight": -1.0},
        ValueError,
        "unlabelled_weight must be finite and at least 0, got -1",
    ),
    "unlabelled_weight that is NaN": (
        {"unlabelled_weight": float("nan")},
        ValueError,
        "unlabelled_weight must be finite and at least 0, got nan",
    ),
    "ramp": ({"ramp": 0}, ValueError, "ramp must be above 0 epochs, got 0"),
    "temperature": ({"temperature": 0.0}, ValueError, "temperature must be above 0, got 0"),
    "alpha": ({"alpha": -1}, ValueError, "alpha must be above 0, got -1"),
    "threshold of 1": ({"threshold": 1.0}, ValueError, r"threshold must lie in \(0, 1\), got 1"),
    "confidence_penalty": (
        {"confidence_penalty": -1.0},
        ValueError,
        "confidence_penalty must be finite and at least 0, got -1",
    ),
    "average_losses": ({"average_losses": 0}, ValueError, "average_losses must be at least 1, got 0"),
    "epoch_samples": ({"epoch_samples": 1}, ValueError, "epoch_samples must be at least 2, got 1"),
    "epoch_samples and average_losses": (
        {"epoch_samples": 20, "average_losses": 5},
        ValueError,
        "average_losses=5 needs the losses of all samples in each epoch",
    ),
    "clip": ({"clip": 1.5}, ValueError, r"clip must lie in \(0, 1\], got 1.5"),
    "autocast": ({"autocast": torch.float16}, ValueError, "autocast must be torch.bfloat16 or None, got torch.float16"),
    "seed": ({"seed": -1}, ValueError, "seed must be at least 0, got -1"),
}


@pytest.mark.parametrize(("changes", "kind", "message"), WRONG.values(), ids=WRONG)
def test_wrong_arguments_are_refused(changes, kind, message):
    with pytest.raises(kind, match=message):
        DivideMix(**{"models": networks(), "data": noisy_set(), **changes})


def test_models_of_cc_can_be_trained():
    DivideMix(centrality_networks(), noisy_set(), warmup=1, batch_size=8).fit(2)


def test_a_state_of_cc_is_refused():
    method = make_dividemix()
    before = networks_digest(method)
    with pytest.raises(ValueError, match="state must be that of DivideMix, got one of another method"):
        method.load_state_dict(make_cc(threshold=0.5).state_dict())
    assert networks_digest(method) == before


def test_bfloat16_trains_with_finite_losses():
    history = make_dividemix(autocast=torch.bfloat16, rrm=rrms()).fit(3)
    assert all(torch.tensor(row["loss"]).isfinite().all() for row in history)
