"""Random draws of ProMix, and the state of a run."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch.optim.lr_scheduler import MultiStepLR

from rrm_torch import Checkpoint
from support.small_methods import N_CLASSES, rrms
from support.small_promix import (
    digest_of,
    make_promix,
    record_steps,
)

SCHEDULER = partial(MultiStepLR, milestones=[2], gamma=0.1)
RUNS = {
    "alone": partial(make_promix, scheduler=SCHEDULER),
    "with guesses and agreement": partial(
        make_promix, pseudo_epochs=3, agreement_epoch=3, confidence=0.7, final_share=0.8
    ),
    "with RRM": lambda: make_promix(rrm=rrms(mu=0.5)),
    "with unlabelled samples": lambda: make_promix(rrm=rrms(contamination=0.2), on_pruned="unlabelled"),
}


@pytest.mark.parametrize("make", RUNS.values(), ids=RUNS)
def test_resumed_run_ends_with_the_bits_of_an_uninterrupted_one(make, tmp_path):
    whole = make()
    whole.fit(5)
    path = tmp_path / "run.pt"
    for epochs in (1, 3, 5):
        torch.manual_seed(epochs)
        method = make()
        method.fit(epochs, checkpoint=Checkpoint(path, method=method))
    assert digest_of(method) == digest_of(whole)
    assert method.history == whole.history
    for rrm, expected in zip(method.rrm or (), whole.rrm or (), strict=True):
        assert torch.equal(rrm.weights, expected.weights)
        assert rrm.trajectory.rounds == expected.trajectory.rounds


def test_priors_belong_to_the_state(monkeypatch):
    method = make_promix()
    method.fit(3)
    state = method.state_dict()
    for name in ("chosen_priors", "unchosen_priors"):
        assert state["tensors"][name].shape == (2, N_CLASSES)
        assert not torch.equal(state["tensors"][name], torch.full((2, N_CLASSES), 1 / N_CLASSES))
    resumed = make_promix()
    resumed.load_state_dict(state)
    assert resumed.divisions is None
    steps = record_steps(monkeypatch)
    resumed.fit(4)
    assert torch.equal(steps[0].priors.chosen, state["tensors"]["chosen_priors"])
    assert torch.equal(steps[0].priors.unchosen, state["tensors"]["unchosen_priors"])


@pytest.mark.parametrize("make", RUNS.values(), ids=RUNS)
def test_seed_determines_the_bits(make):
    digests = []
    for torch_seed in (1, 2):
        method = make()
        torch.manual_seed(torch_seed)
        method.fit(3)
        digests.append(digest_of(method))
    assert digests[0] == digests[1]


def test_another_seed_has_other_bits_from_the_first_epoch():
    digests = []
    for seed in (1, 2):
        method = make_promix(seed=seed)
        method.fit(1)
        digests.append(digest_of(method))
    assert digests[0] != digests[1]


def test_another_seed_has_other_draws_after_the_warm_up(monkeypatch):
    steps = record_steps(monkeypatch)
    for seed in (1, 2):
        make_promix(seed=seed).fit(2)
    assert len({step.mixing.share for step in steps}) == len(steps)


def test_partners_of_both_networks_differ():
    # Equal networks have equal batches.
    method = make_promix()
    method.models[1].load_state_dict(method.models[0].state_dict())
    method.fit(2)
    first, second = (next(iter(model.parameters())) for model in method.models)
    assert not torch.equal(first, second)


def test_evaluation_between_epochs_changes_nothing():
    whole = make_promix()
    whole.fit(3)
    method = make_promix()
    method.predictor.eval()
    method.fit(3, on_epoch=lambda row: method.predictor.eval())
    assert digest_of(method) == digest_of(whole)


STATES = {
    "another share": (partial(make_promix, share=0.7), "share is 0.7 in the state and 0.5 here"),
    "another final share": (partial(make_promix, final_share=0.7), "final_share is 0.7 in the state and 0.5 here"),
    "another confidence": (partial(make_promix, confidence=0.95), "confidence is 0.95 in the state and 0.99 here"),
    "another agreement epoch": (partial(make_promix, agreement_epoch=9), "agreement_epoch is 9 in the state and 350"),
    "another contamination": (partial(make_promix, contamination=0.1), "contamination is 0.1 in the state and 0.6"),
    "another seed": (partial(make_promix, seed=1), "seed is 1 in the state and 0 here"),
    "RRMs": (lambda: make_promix(rrm=rrms()), "state must have the parts model_1, .*, got .*rrm_1, rrm_2"),
    "a schedule": (partial(make_promix, scheduler=SCHEDULER), "state must have the parts .*, got .*optimizer_schedule"),
}


@pytest.mark.parametrize(("make", "message"), STATES.values(), ids=STATES)
def test_a_state_of_other_settings_is_refused_and_changes_nothing(make, message):
    method = make_promix()
    before = digest_of(method)
    with pytest.raises(ValueError, match=message):
        method.load_state_dict(make().state_dict())
    assert digest_of(method) == before
