from __future__ import annotations

import io

import numpy as np
import pytest
import torch

import rrm_core
from rrm_torch import RRM, BatchRRM, Ramp
from rrm_torch.weighting.population import initial_weights
from rrm_torch.weighting.sample_groups import SampleGroups
from support.layout_jobs import differences, losses_of_epoch, outcome
from support.weighting import assert_identical

N = 103
G = 4
INDEX = torch.arange(N)
NUMBERS = INDEX * 7 % 10 % G  # of sizes 32, 30, 20 and 21
GROUPS = rrm_core.Groups(NUMBERS, n_groups=G + 1)  # the last of which is empty
RULES = {
    "quotas": {"contamination": [0.1, 0.0, 0.5, 0.25, 0.9]},
    "cap": {"contamination": 0.2, "cap": 0.25},
    "caps": {"contamination": 0.3, "cap": (0.0, 0.1, 0.6, 0.2, 0.0)},
    "one threshold": {"contamination": 0.2},
    "quotas, mass by group": {"contamination": (0.1, 0.3, 0.5, 0.25, 0.0), "mass": "group"},
    "gamma, mass by group": {"gamma": 0.5, "mass": "group"},
    "ties shared": {"contamination": (0.1, 0.3, 0.5, 0.25, 0.0), "ties": "share", "redistribute": 0.2},
}


def make(**settings):
    return RRM(N, **{"groups": GROUPS, "warmup": 1} | settings)


def train(rrm, epochs, *, seed=0):
    for epoch in epochs:
        c = losses_of_epoch(seed + epoch, N)
        for index in torch.randperm(N, generator=torch.Generator().manual_seed(epoch)).split(16):
            rrm.weighted_mean(c[index], index)
        rrm.step()
    return rrm


@pytest.mark.parametrize("settings", RULES.values(), ids=RULES)
def test_reweights_with_groups_as_rrm_core_does(settings):
    rrm = train(make(mu=0.5, **settings), range(3))
    weights = None
    rule = {"redistribute": "kept", **settings}
    for epoch in range(3):
        c = losses_of_epoch(epoch, N)
        weights, plan = rrm_core.reweight(c, weights, groups=GROUPS, mu=0.5, **rule)
        pruned = c > torch.tensor(plan.threshold, dtype=c.dtype)[NUMBERS]
        entry = rrm.trajectory.rounds[epoch]
        assert entry.n_pruned_by_group == tuple(plan.n_pruned.tolist())
        assert entry.n_planned_by_group == (*torch.bincount(NUMBERS).tolist(), 0)
        assert entry.n_pruned == sum(entry.n_pruned_by_group) == int(pruned.sum())
        assert (entry.threshold, entry.gamma, entry.loss_min) == (None, None, float(c.min()))
        limits = torch.tensor(plan.threshold)[NUMBERS]
        assert entry.objective == pytest.approx(float(c.double().minimum(limits).mean()), abs=1e-9)
        assert_identical(rrm.trajectory.pruned()[epoch], pruned)
    assert_identical(rrm.weights, weights)
    assert rrm.plan == plan
    assert set(rrm.flagged().tolist()) == set(pruned.nonzero()[:, 0].tolist())


def test_objective_is_exact_with_an_empty_group_and_tiny_losses():
    losses = losses_of_epoch(0, N)
    losses[[0, 1, 2, 3, 4, 5, 6]] = 1e-30
    rrm = make(contamination=0.2)
    plan = rrm.step(losses)
    assert plan.loss_min[:G].max() < 1e-29
    limits = torch.tensor(plan.threshold)[NUMBERS]
    assert rrm.trajectory.rounds[0].objective == pytest.approx(float(losses.double().minimum(limits).mean()), abs=1e-9)


def test_groups_are_prepared_once(monkeypatch):
    rrm = make(contamination=0.3, cap=0.4)
    assert rrm.groups is GROUPS
    monkeypatch.setattr(rrm_core.Groups, "__init__", None)
    train(rrm, range(3))
    assert rrm.plan.n_groups == G + 1


def test_array_of_shares_tells_the_number_of_groups():
    assert RRM(N, groups=NUMBERS.tolist(), contamination=[0.1] * 6).groups.n_groups == 6
    assert RRM(N, groups=NUMBERS.numpy(), contamination=0.1, cap=[0.1] * 7).groups.n_groups == 7
    assert RRM(N, groups=NUMBERS, contamination=0.1).groups.n_groups == G
    assert RRM(N, contamination=0.1).groups is None


def test_contamination_may_be_a_function_that_returns_an_array():
    shares = np.linspace(0, 0.4, G + 1)
    rrm = train(make(contamination=lambda epoch: shares * epoch / 4), range(4))
    assert [entry.contamination for entry in rrm.trajectory.rounds] == [
        tuple((shares * epoch / 4).tolist()) for epoch in range(1, 5)
    ]
    assert train(make(contamination=Ramp(0.3, over=3), cap=0.2), range(3)).plan.rule.contamination == 0.3
    other = make(contamination=lambda epoch: shares * epoch / 5)
    with pytest.raises(ValueError, match=r"saved with other settings: contamination is .*<lambda>"):
        other.load_state_dict(rrm.state_dict())


def test_step_takes_a_share_of_each_group():
    rrm = make(contamination=0.2)
    losses = losses_of_epoch(0, N)
    shares = np.array([0.5, 0.0, 0.1, 0.2, 0.0])
    plan = rrm.step(losses, contamination=shares)
    assert plan == rrm_core.plan(losses, groups=GROUPS, contamination=shares, redistribute="kept")
    assert rrm.trajectory.rounds[0].is_given
    loaded = make(contamination=0.2)
    loaded.load_state_dict(rrm.state_dict())
    assert not differences(outcome(loaded), outcome(rrm))
    with pytest.raises(ValueError, match="contamination must have one value per group, got 2 for 5 groups"):
        rrm.step(losses, contamination=[0.1, 0.2])
    with pytest.raises(ValueError, match="contamination has 2 values, one per group, but groups is None"):
        RRM(N, contamination=0.2, warmup=1).step(losses, contamination=[0.1, 0.2])
    with pytest.raises(ValueError, match="cap needs one contamination for all groups, got an array"):
        make(contamination=0.2, cap=0.3).step(losses, contamination=shares)


def test_population_has_the_groups_of_its_members():
    rrm = make(contamination=(0.1, 0.3, 0.5, 0.25, 0.0), mass="group", redistribute=0.3)
    losses = losses_of_epoch(0, N)
    among = (NUMBERS != 1) & (INDEX % 5 > 0)
    plan = rrm.step(losses, among=among)
    members = rrm_core.Groups(NUMBERS[among], n_groups=G + 1)
    weights, wanted = rrm_core.reweight(
        losses[among], groups=members, contamination=(0.1, 0.3, 0.5, 0.25, 0.0), mass="group", redistribute=0.3
    )
    assert plan == wanted
    assert plan.sizes[1] == plan.sizes[G] == 0
    assert_identical(rrm.weights[among], weights)
    assert bool((rrm.weights[~among] == 1).all())
    assert rrm.trajectory.rounds[0].n_planned_by_group == tuple(plan.sizes.tolist())
    loaded = make(contamination=(0.1, 0.3, 0.5, 0.25, 0.0), mass="group", redistribute=0.3)
    loaded.load_state_dict(rrm.state_dict())
    assert not differences(outcome(loaded), outcome(rrm))


def test_each_group_of_a_changing_population_keeps_its_mass():
    rrm = make(contamination=(0.1, 0.3, 0.5, 0.25, 0.0), mass="group", mu=0.3)
    for epoch in range(5):
        among = torch.from_numpy(np.random.default_rng(epoch).random(N) < 0.6)
        rrm.step(losses_of_epoch(epoch, N), among=among)
        for group in range(G):
            assert float(rrm.weights[among & (group == NUMBERS)].double().mean()) == pytest.approx(1, abs=1e-6)


def test_group_whose_old_weights_are_zero_starts_from_one():
    old = torch.where(NUMBERS == 2, 0, 0.5)
    layout = make(contamination=0.2)._layout
    among = INDEX % 2 == 0
    members = SampleGroups(GROUPS, 0, N).of(among, old.device)
    assert_identical(initial_weights(old, among, layout, rescales=True, groups=members), torch.ones(N))


def test_ranking_numbers_decide_within_groups():
    rrm = make(contamination=(0.1, 0.3, 0.5, 0.25, 0.0))
    numbers = losses_of_epoch(9, N)
    rrm.weighted_mean(losses_of_epoch(0, N), INDEX, ranking=numbers)
    assert rrm.step() == rrm_core.plan(
        numbers, groups=GROUPS, contamination=(0.1, 0.3, 0.5, 0.25, 0.0), redistribute="kept"
    )


def test_samples_without_a_loss_keep_their_group():
    rrm = make(contamination=(0.1, 0.3, 0.5, 0.25, 0.0), unseen="latest")
    losses = losses_of_epoch(0, N)
    seen = INDEX[INDEX % 3 > 0]
    rrm.weighted_mean(losses[seen], seen)
    plan = rrm.step()
    assert plan.sizes.tolist() == torch.bincount(NUMBERS[seen], minlength=G + 1).tolist()


@pytest.mark.parametrize("settings", RULES.values(), ids=RULES)
def test_run_resumes_to_the_bit(settings):
    whole = train(make(mu=0.5, **settings), range(5))
    half = train(make(mu=0.5, **settings), range(2))
    file = io.BytesIO()
    torch.save(half.state_dict(), file)
    file.seek(0)
    resumed = make(mu=0.5, **settings)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    assert not differences(outcome(train(resumed, range(2, 5))), outcome(whole))


def test_state_of_other_groups_is_refused():
    state = train(make(contamination=0.2, cap=0.3), range(2)).state_dict()
    for groups in (NUMBERS.flip(0), rrm_core.Groups(NUMBERS, n_groups=G)):
        with pytest.raises(ValueError, match=r"saved with other settings: groups is .* there and .* here"):
            make(contamination=0.2, cap=0.3, groups=groups).load_state_dict(state)
    with pytest.raises(ValueError, match=r"saved with other settings: cap is 0.3 there and 0.4 here"):
        make(contamination=0.2, cap=0.4).load_state_dict(state)
    with pytest.raises(ValueError, match=r"saved with other settings: cap is 0.3 there and None here, groups is"):
        RRM(N, contamination=0.2, warmup=1).load_state_dict(state)


def with_round(**changes):
    return lambda state: state["trajectory"]["rounds"][-1].update(changes)


FORGED = {
    "counts": (with_round(n_pruned_by_group=(2, 10, 10, 5, 0)), "n_pruned_by_group after epoch 2 that its bits do not"),
    "sum": (with_round(n_pruned_by_group=(3, 9, 11, 5, 0)), r"n_pruned_by_group=\(3, 9, 11, 5, 0\), which can't"),
    "negative": (with_round(n_pruned_by_group=(4, 9, 10, 5, -1)), "n_pruned_by_group=.* which can't be right"),
    "length": (with_round(n_planned_by_group=(32, 30, 20, 21)), "n_pruned_by_group=.* which can't be right"),
    "list": (with_round(n_pruned_by_group=[3, 9, 10, 5, 0]), "n_pruned_by_group=.* which can't be right"),
    "sizes": (with_round(n_planned_by_group=(33, 29, 20, 21, 0)), "n_planned_by_group after epoch 2 that must lie"),
    "none": (
        with_round(n_pruned_by_group=None, n_planned_by_group=None, contamination=0.2, objective=None),
        "no counts by group",
    ),
    "threshold": (with_round(threshold=5.0, gamma=5.0), "threshold 5.0 and counts by group"),
    "shares": (with_round(contamination=(0.1, 0.3)), r"contamination=\(0.1, 0.3\), which can't be right"),
    "loss_min": (with_round(loss_min=0.0), "loss_min=0.0, and its losses and settings give"),
    "given": (
        with_round(contamination=(0.1, 0.3, 0.5, 0.25, 0.1)),
        "contamination=.*, and its losses and settings give other numbers",
    ),
}


@pytest.mark.parametrize(("change", "message"), FORGED.values(), ids=FORGED)
def test_state_that_contradicts_its_groups_is_refused(change, message):
    settings = {"contamination": (0.1, 0.3, 0.5, 0.25, 0.0), "warmup": 2}
    rrm = train(make(**settings), range(2))
    assert rrm.trajectory.rounds[-1].n_pruned_by_group == (3, 9, 10, 5, 0)
    state = rrm.state_dict()
    change(state)
    fresh = make(**settings)
    with pytest.raises(ValueError, match=message):
        fresh.load_state_dict(state)
    assert not fresh.trajectory.rounds


def test_bits_that_contradict_the_thresholds_of_groups_are_refused():
    rrm = train(make(contamination=(0.1, 0.3, 0.5, 0.25, 0.0)), range(1))
    state = rrm.state_dict()
    pruned = rrm.trajectory.last.clone()
    one = int((pruned & (NUMBERS == 2)).nonzero()[0])
    other = int((~pruned & (NUMBERS == 2)).nonzero()[0])
    pruned[one] = False
    pruned[other] = True
    state["trajectory"]["bits"] = torch.from_numpy(np.packbits(pruned.numpy()))[None]
    with pytest.raises(ValueError, match="bits don't say which losses are above the threshold"):
        make(contamination=(0.1, 0.3, 0.5, 0.25, 0.0)).load_state_dict(state)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"groups": NUMBERS[1:]}, ValueError, "groups must have one number for each of the n=103 samples, got 102"),
        ({"groups": NUMBERS.float()}, TypeError, "groups must be integers, got float32; number the groups"),
        ({"groups": NUMBERS - 1}, ValueError, r"groups must lie in \[0, 3\), but 32 of 103 do not"),
        ({"contamination": [0.1] * 3}, ValueError, r"groups must lie in \[0, 3\), but 21 of 103 do not"),
        ({"contamination": [0.1] * 3, "groups": None}, ValueError, "one per group, but groups is None"),
        ({"contamination": [0.1] * 3, "groups": GROUPS}, ValueError, "one value per group, got 3 for 5 groups"),
        ({"contamination": [0.1, 1.0, 0.1, 0.1]}, ValueError, r"must lie in \[0, 1\), got 1.0 for group 1"),
        ({"contamination": [0.001] * 4}, ValueError, "groups of at most 32 samples are too small"),
        ({"contamination": lambda epoch: [0.1] * (epoch + 9)}, ValueError, None),
        ({"contamination": [0.1] * 4, "cap": 0.2}, ValueError, "cap needs one contamination for all groups"),
        ({"contamination": None, "gamma": 1.0, "cap": 0.2}, ValueError, "cap needs contamination"),
        ({"contamination": None, "cap": 1.2}, ValueError, r"cap must lie in \[0, 1\), got 1.2"),
        ({"cap": 0.2, "groups": None}, ValueError, "cap needs groups"),
        ({"cap": 0.2, "ties": "share"}, ValueError, "ties='share' needs a contamination without cap"),
        ({"mass": "group", "groups": None}, ValueError, "mass='group' needs groups"),
        ({"mass": "each"}, ValueError, "mass must be 'all' or 'group', got 'each'"),
        ({"contamination": np.array([[0.1]])}, ValueError, "contamination must be a number or an array of shape"),
    ],
)
def test_rejects_groups_that_do_not_fit(arguments, error, message):
    if message is None:
        RRM(N, groups=NUMBERS, **arguments)  # the number of groups is that of the first array
        return
    with pytest.raises(error, match=message):
        RRM(N, **{"groups": NUMBERS, "contamination": 0.2, "warmup": 1} | arguments)


def test_batch_rrm_has_no_groups():
    with pytest.raises(ValueError, match="contamination has 2 values, one per group, but groups is None"):
        BatchRRM(N, contamination=[0.1, 0.2])
    with pytest.raises(TypeError, match="groups"):
        BatchRRM(N, contamination=0.1, groups=NUMBERS)
    assert BatchRRM(N, contamination=0.1).groups is None


def test_issues_have_a_column_with_the_group():
    issues = train(make(contamination=0.2), range(2)).issues(order="index")
    assert list(issues)[:2] == ["index", "group"]
    np.testing.assert_array_equal(issues["group"], NUMBERS)
    assert "group" not in train(RRM(N, contamination=0.2, warmup=1), range(2)).issues()


def test_repr_is_short_with_many_groups():
    rrm = RRM(N, groups=INDEX // 2, contamination=np.full(N // 2 + 1, 0.5), warmup=1)
    assert len(repr(rrm)) < 300
    assert "contamination='52 shares, " in repr(rrm)
