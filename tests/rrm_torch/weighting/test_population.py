"""Reweights that plan over some of the samples: `RRM.step(losses, among=..., contamination=...)`."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import rrm_core
from rrm_torch import RRM, fit
from support.layout_jobs import differences, flatten
from support.weighting import INDEX, LOSSES, N, assert_identical

GENERATOR = torch.Generator().manual_seed(3)
MEMBERS = torch.tensor([8, 0, 3, 5, 6, 2])
OTHERS = torch.tensor([1, 4, 7, 9])


def mask_of(index, n=N):
    mask = torch.zeros(n, dtype=torch.bool)
    mask[index] = True
    return mask


def loaded(rrm, make):
    other = make()
    other.load_state_dict(rrm.state_dict())
    return other


FORMS = {
    "index, all losses": lambda: {"losses": LOSSES, "among": MEMBERS},
    "index, their losses": lambda: {"losses": LOSSES[MEMBERS], "among": MEMBERS.int()},
    "mask, all losses": lambda: {"losses": LOSSES, "among": mask_of(MEMBERS)},
    "mask, their losses": lambda: {"losses": LOSSES[mask_of(MEMBERS)], "among": mask_of(MEMBERS)},
    "recorded losses": lambda: {"among": MEMBERS},
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_plan_is_that_of_the_population(form):
    rrm = RRM(N, contamination=0.34, warmup=1)
    if "losses" not in form():
        rrm.weighted_mean(LOSSES[MEMBERS], MEMBERS)
        rrm.weighted_mean(LOSSES[OTHERS[:1]], OTHERS[:1])
    plan = rrm.step(**form())
    expected, expected_plan = rrm_core.reweight(LOSSES[MEMBERS], contamination=0.34, redistribute="kept")
    assert plan == rrm.plan == expected_plan
    assert_identical(rrm.weights[MEMBERS], expected)
    assert_identical(rrm.weights[OTHERS], torch.ones(4))
    assert_identical(rrm.losses, torch.where(mask_of(MEMBERS), LOSSES, torch.nan))
    assert sorted(rrm.flagged().tolist()) == [3, 6]
    history = rrm.trajectory
    assert history.share_pruned[OTHERS].isnan().all()
    assert history.mean_excess[OTHERS].isnan().all()
    assert (history.rounds[0].n_planned, history.rounds[0].n_pruned) == (6, 2)
    again = loaded(rrm, lambda: RRM(N, contamination=0.34, warmup=1))
    assert again.plan == plan


def test_round_counts_for_members_only():
    rrm = RRM(N, contamination=0.5, warmup=1)
    rrm.step(LOSSES)
    rrm.step(LOSSES, among=INDEX[:4])
    rrm.step(LOSSES, among=INDEX[2:6])
    n_planned = torch.tensor([2, 2, 3, 3, 2, 2, 1, 1, 1, 1])
    n_pruned = torch.tensor([0, 1, 0, 3, 0, 1, 1, 1, 1, 1])
    assert_identical(rrm.trajectory.share_pruned, n_pruned / n_planned)
    assert rrm.trajectory.mean_excess.argmax() == 3
    assert [entry.n_planned for entry in rrm.trajectory.rounds] == [10, 4, 4]
    entry = rrm.trajectory.rounds[-1]
    assert (entry.n_entered, entry.n_left) == (1, 1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("redistribute", ["kept", "argmin", 0.3, "drop"])
def test_members_that_stay_blend_from_rescaled_weights(redistribute, dtype):
    rrm = RRM(N, contamination=0.3, mu=0.3, warmup=1, redistribute=redistribute)
    losses = torch.rand(4, N, generator=GENERATOR, dtype=dtype)
    populations = [INDEX[:8], INDEX[3:], torch.tensor([9, 1, 0, 4, 8]), INDEX]
    for row, among in zip(losses, populations, strict=True):
        old = rrm.weights.to(dtype).clone()
        rrm.step(row, among=among)
        factor = float(np.float32(len(among) / math.fsum(old[among].tolist())))
        base = old[among] if redistribute == "drop" else old[among] * torch.tensor(factor, dtype=dtype)
        expected, _ = rrm_core.reweight(row[among], base, contamination=0.3, redistribute=redistribute, mu=0.3)
        assert_identical(rrm.weights[among], expected)
        if redistribute != "drop":
            assert rrm.weights[among].double().mean() == pytest.approx(1, abs=1e-6)
        others = ~mask_of(among)
        assert_identical(rrm.weights[others], torch.ones(int(others.count_nonzero()), dtype=dtype))


def test_newcomer_begins_at_1():
    rrm = RRM(N, contamination=0.5, mu=0.25, warmup=1)
    rrm.step(LOSSES, among=INDEX[:4])
    pruned = rrm.weights[3].item()
    assert pruned == 0.75
    rrm.step(LOSSES, among=INDEX[4:8])  # 3 leaves
    assert rrm.weights[3] == 1
    rrm.step(LOSSES, among=INDEX[:4])  # and returns
    assert rrm.weights[3] == 0.75


@pytest.mark.parametrize("smallest", [0.0, 1e-45])
def test_population_of_pruned_samples_begins_at_1(smallest):
    rrm = RRM(N, contamination=0.5, mu=0.5, warmup=1)
    rrm.weights[:4] = smallest
    rrm.weights[4:] = N / 6
    rrm.step(LOSSES, among=INDEX[:4])
    expected, _ = rrm_core.reweight(LOSSES[:4], torch.ones(4), contamination=0.5, redistribute="kept", mu=0.5)
    assert_identical(rrm.weights[:4], expected)


def test_invalid_old_weight_of_member_is_refused():
    rrm = RRM(N, contamination=0.5, mu=0.5, warmup=1)
    rrm.weights[2] = torch.nan
    with pytest.raises(ValueError, match="weights must be finite"):
        rrm.step(LOSSES, among=INDEX[:4])
    rrm.step(LOSSES, among=INDEX[4:])
    assert rrm.weights[2] == 1


def test_contamination_of_step_replaces_that_of_settings():
    for settings in ({"contamination": 0.3}, {"gamma": 0.1}, {}):
        rrm = RRM(N, **settings, warmup=1)
        plan = rrm.step(LOSSES, contamination=0.5)
        assert plan == rrm_core.plan(LOSSES, contamination=0.5, redistribute="kept")
        entry = rrm.trajectory.rounds[0]
        assert (entry.contamination, entry.is_given) == (0.5, True)
        again = loaded(rrm, lambda settings=settings: RRM(N, **settings, warmup=1))
        assert again.plan == plan


def test_rounds_hold_contamination_of_settings():
    rrm = RRM(N, contamination=lambda epoch: epoch / 10, warmup=1)
    rrm.step(LOSSES)
    rrm.step(LOSSES)
    assert [(entry.contamination, entry.is_given) for entry in rrm.trajectory.rounds] == [(0.1, False), (0.2, False)]
    by_gamma = RRM(N, gamma=0.5, warmup=1)
    by_gamma.step(LOSSES)
    assert by_gamma.trajectory.rounds[0].contamination is None
    assert by_gamma.trajectory.rounds[0].gamma == 0.5


def test_each_step_needs_a_contamination_if_settings_have_none():
    rrm = RRM(N, warmup=2)
    rrm.step(LOSSES)  # not due
    before = flatten(rrm.state_dict())
    with pytest.raises(ValueError, match=r"neither contamination nor gamma: give step\(\) a contamination"):
        rrm.step(LOSSES)
    assert flatten(rrm.state_dict()) == before
    assert rrm.step(LOSSES, contamination=np.float32(0.5)).n_pruned == 5
    with pytest.raises(ValueError, match="ties must be"):
        RRM(N, ties="some")


def test_small_population_may_have_nothing_to_prune():
    assert RRM(N, contamination=0.1, warmup=1).step(LOSSES, among=INDEX[:3]).n_pruned == 0


ERRORS = {
    "list": ({"among": [1, 2]}, TypeError, "among must be a tensor of indices, .* got list"),
    "floats": ({"among": torch.ones(3)}, TypeError, "among must be a tensor of indices, .* got torch.float32"),
    "bytes": ({"among": torch.ones(N).byte()}, TypeError, "among must be .* got torch.uint8"),
    "column": ({"among": INDEX[:, None]}, ValueError, r"among must be one-dimensional, got shape \(10, 1\)"),
    "short mask": ({"among": torch.ones(3) > 0}, ValueError, r"must have shape \(10,\), one .* got \(3,\)"),
    "too high": ({"among": INDEX + 2}, IndexError, r"indices in \[0, 10\), the local samples; got 2 .* first 10"),
    "negative": ({"among": INDEX - 1}, IndexError, "got 1 outside, the first -1"),
    "repeated": ({"among": torch.tensor([2, 5, 2])}, ValueError, "each sample once, got index 2 more than once"),
    "none": ({"among": INDEX[:0]}, ValueError, "among must name at least one of the 10 samples, got none"),
    "shape": ({"losses": LOSSES[:3], "among": INDEX[:4]}, ValueError, r"\(10,\), one per sample, or \(4,\), one for"),
    "order": ({"among": INDEX.flip(0)}, ValueError, "among names all samples in another order"),
    "above 1": ({"contamination": 1.5}, ValueError, r"contamination must lie in \[0, 1\), got 1.5"),
    "text": ({"contamination": "x"}, TypeError, "contamination must be a number, got 'x'"),
}


@pytest.mark.parametrize(("arguments", "error", "message"), ERRORS.values(), ids=ERRORS)
def test_invalid_argument_of_step_is_refused(arguments, error, message):
    rrm = RRM(N, contamination=0.3, warmup=1)
    rrm.weighted_mean(LOSSES, INDEX)
    before = flatten(rrm.state_dict())
    with pytest.raises(error, match=message):
        rrm.step(**({"losses": LOSSES} | arguments))
    assert flatten(rrm.state_dict()) == before


def test_only_members_need_a_recorded_loss():
    rrm = RRM(N, contamination=0.34, warmup=1)
    rrm.weighted_mean(LOSSES[:5], INDEX[:5])
    rrm.weighted_mean(LOSSES[4:6], INDEX[4:6])
    with pytest.raises(ValueError, match=r"of the 3 samples to plan over, .* 2 missing \(the first: index 6\)"):
        rrm.step(among=torch.tensor([7, 0, 6]))
    with pytest.raises(
        ValueError, match=r"of the 4 samples to plan over, .* 1 seen more than once \(the first: index 4\)"
    ):
        rrm.step(among=INDEX[1:5])
    assert rrm.step(among=INDEX[:4]).n == 4


def test_loss_that_is_nan_matters_in_population_only():
    losses = LOSSES.clone()
    losses[7] = torch.nan
    rrm = RRM(N, contamination=0.3, warmup=1)
    with pytest.raises(ValueError, match=r"losses contain 1 NaN among 6, .* \(counted among the samples that take p"):
        rrm.step(losses, among=INDEX[4:])
    assert rrm.step(losses, among=INDEX[:7]).n_pruned == 2


def test_warning_of_coverage_is_about_population():
    rrm = RRM(N, contamination=0.3, warmup=5)
    rrm.weighted_mean(LOSSES[:4], INDEX[:4])
    rrm.step(among=INDEX[:4])
    rrm.weighted_mean(LOSSES[:4], INDEX[:4])
    with pytest.warns(UserWarning, match="of the 5 samples to plan over, .* 1 missing"):
        rrm.step(among=INDEX[:5])


def test_unseen_members_take_no_part():
    rrm = RRM(N, contamination=0.34, warmup=1, mu=0.5, unseen="latest")
    rrm.weighted_mean(LOSSES[:6], INDEX[:6])
    assert rrm.step(among=INDEX[3:]).n == 3
    assert_identical(rrm.weights[6:], torch.ones(4))
    with pytest.raises(ValueError, match="of the 4 samples to plan over, none has a loss"):
        rrm.step(among=INDEX[6:])
    again = loaded(rrm, lambda: RRM(N, contamination=0.34, warmup=1, mu=0.5, unseen="latest"))
    assert again.plan == rrm.plan
    # A member without a loss in a pass has that of the last reweight in which it took part.
    partly = torch.where(INDEX == 4, torch.nan, LOSSES)
    assert rrm.step(partly, among=INDEX[2:8]).n == 6
    assert_identical(rrm.losses[2:8], LOSSES[2:8])


@pytest.mark.parametrize("mu", [1.0, 0.5])
def test_population_of_all_samples_is_planned_as_without(mu):
    by_mask, plain = (RRM(N, contamination=0.3, mu=mu, warmup=1) for _ in range(2))
    for losses in torch.rand(3, N, generator=GENERATOR):
        assert by_mask.step(losses, among=losses >= 0) == plain.step(losses)
    torch.testing.assert_close(by_mask.weights, plain.weights, rtol=1e-6, atol=0)
    if mu == 1:
        assert not differences(by_mask.state_dict(), plain.state_dict())


def test_steps_may_have_populations():
    rrm = RRM(N, contamination=0.34, warmup=2, unit="step")
    rrm.weighted_mean(LOSSES[:5], INDEX[:5])
    assert rrm.step(among=INDEX[:3]) is None
    rrm.weighted_mean(LOSSES[5:8], INDEX[5:8])
    assert rrm.step(among=INDEX[4:8]).n == 4
    with pytest.raises(ValueError, match="of the 5 samples to plan over, 1 missing"):
        rrm.step(among=INDEX[4:9])


SETTINGS = {
    "mean 1": {"mu": 1.0},
    "smoothed": {"mu": 0.5},
    "dropped": {"mu": 0.5, "redistribute": "drop"},
    "latest": {"mu": 0.5, "unseen": "latest"},
    "NaN pruned": {"mu": 0.5, "nan": "prune"},
    "no contamination": {"mu": 0.5, "contamination": None},
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_run_resumed_after_any_batch_ends_with_same_bits(settings):
    settings = {"contamination": 0.3, "warmup": 1} | settings
    n_epochs = 5
    losses = torch.rand(n_epochs, N, generator=GENERATOR)
    losses[2, 4] = torch.nan if settings.get("nan") else losses[2, 4]
    populations = [torch.randperm(N, generator=GENERATOR)[:7] for _ in range(n_epochs)]

    def run(stops):
        rrm = RRM(N, **settings)
        batch = 0
        for epoch, members in enumerate(populations):
            for index in members.split(3):
                rrm.weighted_mean(losses[epoch, index], index)
                if batch in stops:
                    rrm = loaded(rrm, lambda: RRM(N, **settings))
                batch += 1
            rrm.step(among=members, contamination=0.1 * epoch if epoch != 2 or not settings["contamination"] else None)
            if batch in stops:
                rrm = loaded(rrm, lambda: RRM(N, **settings))
            batch += 1
        return rrm

    whole = run(())
    assert len({entry.contamination for entry in whole.trajectory.rounds}) >= 4
    for stop in range(4 * n_epochs):
        assert not differences(run((stop,)).state_dict(), whole.state_dict())


CHANGES = {
    "population": (
        lambda s: s["losses"].masked_fill_(~s["losses"].isnan() & (s["losses"] < 0.15), torch.nan),
        "last reweight planned 6 samples, and its losses are NaN for all but 5",
    ),
    "number planned": (lambda s: s["trajectory"]["rounds"][0].update(n_planned=7), "planned must add up .* 7;"),
    "too many planned": (lambda s: s["trajectory"]["rounds"][0].update(n_planned=11), "n_planned=11, which can't"),
    "contamination": (
        lambda s: s["trajectory"]["rounds"][0].update(contamination=0.35),
        "contamination=0.35, and its losses and settings give 0.34; the file may be damaged",
    ),
    "share of 1": (lambda s: s["trajectory"]["rounds"][0].update(contamination=1.0), "contamination=1.0, which can't"),
    "given None": (
        lambda s: s["trajectory"]["rounds"][0].update(contamination=None, is_given=True),
        "is_given=True, which can't be right",
    ),
    "given": (
        lambda s: s["trajectory"]["rounds"][0].update(contamination=0.6, is_given=True),
        "pruned 2 samples after epoch 1, where this one prunes 3",
    ),
}


@pytest.mark.parametrize(("change", "message"), CHANGES.values(), ids=CHANGES)
def test_state_that_contradicts_its_population_is_refused(change, message):
    rrm = RRM(N, contamination=0.34, warmup=1)
    rrm.step(LOSSES, among=MEMBERS)
    state = rrm.state_dict()
    change(state)
    with pytest.raises(ValueError, match=message):
        RRM(N, contamination=0.34, warmup=1).load_state_dict(state)


def test_state_without_any_contamination_is_refused():
    rrm = RRM(N, warmup=1)
    rrm.step(LOSSES, contamination=0.3)
    state = rrm.state_dict()
    state["trajectory"]["rounds"][0].update(is_given=False)
    with pytest.raises(ValueError, match="a reweight after epoch 1 without a contamination"):
        RRM(N, warmup=1).load_state_dict(state)


def test_fit_needs_a_contamination():
    model = torch.nn.Linear(2, 2)
    with pytest.raises(ValueError, match="rrm must be made with a contamination or gamma: fit passes none"):
        fit(model, [], torch.optim.SGD(model.parameters(), lr=0.1), 1, rrm=RRM(N))
