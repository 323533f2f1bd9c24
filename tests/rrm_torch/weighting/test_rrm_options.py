"""RRM's options beyond the plain case: schedules, steps, batches, the authors' scale, limits, data sets told apart."""

from __future__ import annotations

import io
import re
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch.testing import assert_close

import rrm_core
from rrm_torch import RRM, BatchRRM
from rrm_torch.weighting import schedule
from rrm_torch.weighting.fingerprint import fingerprint
from rrm_torch.weighting.schedule import Ramp

LOSSES = torch.tensor([0.1, 0.3, 0.2, 4.0, 0.4, 0.5, 3.0, 2.0, 0.7, 0.6])
N = len(LOSSES)
INDEX = torch.arange(N)


def same(a, b):
    assert_close(a, b, rtol=0, atol=0, equal_nan=True)


def test_contamination_may_ramp_up():
    rrm = RRM(N, contamination=Ramp(0.3, over=3), warmup=1)
    assert [rrm.step(LOSSES).n_pruned for _ in range(5)] == [1, 2, 3, 3, 3]


def test_gamma_may_have_a_schedule():
    rrm = RRM(N, gamma=lambda epoch: 3.0 / epoch, warmup=1)
    plans = [rrm.step(LOSSES) for _ in range(3)]
    assert [plan.gamma for plan in plans] == [3.0, 1.5, 1.0]


def test_mu_may_have_a_schedule():
    rrm = RRM(N, contamination=0.3, mu=Ramp(1.0, over=2), warmup=1)
    rrm.step(LOSSES)
    first, _ = rrm_core.reweight(LOSSES, contamination=0.3, mu=0.5, redistribute="kept")
    same(rrm.weights, first)
    rrm.step(LOSSES.flip(0))
    same(rrm.weights, rrm_core.reweight(LOSSES.flip(0), contamination=0.3, redistribute="kept")[0])


def test_a_schedule_that_leaves_its_range_is_refused_when_it_does():
    rrm = RRM(N, contamination=lambda epoch: 0.6 * epoch, warmup=1)
    rrm.step(LOSSES)
    weights = rrm.weights.clone()
    with pytest.raises(ValueError, match=r"contamination must lie in \[0, 1\), got 1.2"):
        rrm.step(LOSSES)
    same(rrm.weights, weights)
    assert rrm.epoch == 1


def test_state_of_schedules():
    def rrm(final):
        return RRM(N, contamination=Ramp(final, over=3), warmup=1)

    first, again = rrm(0.3), rrm(0.3)
    first.step(LOSSES)
    first.step(LOSSES)
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    again.load_state_dict(torch.load(file, weights_only=True))
    assert again.plan == first.plan
    assert again.step(LOSSES) == first.step(LOSSES)
    with pytest.raises(ValueError, match=r"contamination is 'Ramp\(final=0.3,.*' there and 'Ramp\(final=0.2,"):
        rrm(0.2).load_state_dict(first.state_dict())


def test_the_authors_scale_is_a_sum_over_n():
    paper, mean = (RRM(N, contamination=0.3, warmup=1, scale=scale) for scale in ("paper", "mean"))
    for rrm in (paper, mean):
        rrm.step(LOSSES)
    batch = INDEX[:4]
    assert_close(paper.weighted_mean(LOSSES[batch], batch), mean.weighted_mean(LOSSES[batch], batch) * 4 / N)


def test_a_free_part_is_neither_weighted_nor_recorded():
    rrm = RRM(N, contamination=0.3, warmup=1)
    rrm.step(LOSSES)
    regularizer = torch.full((N,), 7.0)
    assert_close(rrm.weighted_mean(LOSSES, INDEX, regularizer=regularizer), rrm.weighted_mean(LOSSES, INDEX) + 7)
    rrm = RRM(N, contamination=0.3, warmup=1)
    rrm.weighted_mean(LOSSES, INDEX, regularizer=regularizer)
    rrm.step()
    same(rrm.losses, LOSSES)


def by_steps(rrm, losses, batch_size=5):
    return [(rrm.weighted_mean(losses[index], index), rrm.step())[1] is not None for index in INDEX.split(batch_size)]


def test_reweights_every_few_steps():
    rrm = RRM(N, contamination=0.3, warmup=2, every=3, unit="step")
    due = [was_due for _ in range(5) for was_due in by_steps(rrm, LOSSES)]
    assert [step for step, was_due in enumerate(due, 1) if was_due] == [2, 5, 8]


def test_between_epochs_the_latest_loss_counts():
    rrm = RRM(N, contamination=0.3, warmup=2, every=1, unit="step")
    by_steps(rrm, LOSSES)
    rrm.weighted_mean(LOSSES[:5] + 10, INDEX[:5])
    rrm.step()
    same(rrm.losses, torch.cat([LOSSES[:5] + 10, LOSSES[5:]]))


def test_steps_before_every_sample_was_seen_are_refused():
    rrm = RRM(N, contamination=0.3, warmup=1, unit="step")
    rrm.weighted_mean(LOSSES[:4], INDEX[:4])
    with pytest.raises(ValueError, match=r"of the 10 samples, 6 missing \(the first: index 4\) in the 1 steps so far"):
        rrm.step()


def test_a_step_that_is_refused_forgets_nothing():
    rrm = RRM(N, contamination=0.3, warmup=2, every=1, unit="step")
    rrm.weighted_mean(LOSSES, INDEX)
    with pytest.raises(TypeError, match="losses must be a tensor, got list"):
        rrm.step(LOSSES.tolist())
    assert rrm.epoch == 0
    rrm.step()
    with pytest.raises(ValueError, match=r"losses must have shape \(10,\)"):
        rrm.step(LOSSES[:3])
    assert rrm.step().n_pruned == 3


def test_state_between_epochs_has_one_nan():
    rrm = RRM(N, contamination=0.3, warmup=2, nan="prune", unit="step")
    rrm.weighted_mean(torch.full((N,), torch.nan).copysign(LOSSES - LOSSES[3]), INDEX)
    assert set(rrm.state_dict()["recorded"].view(torch.int32).tolist()) == {
        torch.tensor(torch.nan).view(torch.int32).item()
    }


def test_state_between_epochs_holds_what_was_recorded():
    first = RRM(N, contamination=0.3, warmup=3, every=1, unit="step")
    by_steps(first, LOSSES)
    again = RRM(N, contamination=0.3, warmup=3, every=1, unit="step")
    again.load_state_dict(first.state_dict())
    for rrm in (first, again):
        rrm.weighted_mean(LOSSES[:5] + 1, INDEX[:5])
        assert rrm.step() is not None
    same(again.weights, first.weights)
    same(again.losses, first.losses)


def test_batches_are_trimmed_each_by_itself():
    rrm = BatchRRM(N, contamination=0.4, warmup=1)
    same(rrm.weighted_mean(LOSSES[:5], INDEX[:5]), LOSSES[:5].mean())  # still warming up
    rrm.step()
    kept = [0, 1, 2]  # of 0.1, 0.3, 0.2, 4.0, 0.4 all but the highest two
    assert_close(rrm.weighted_mean(LOSSES[:5], INDEX[:5]), LOSSES[kept].mean())
    assert_close(rrm.weights[:5], torch.tensor([5 / 3, 5 / 3, 5 / 3, 0, 0]))
    same(rrm.weights[5:], torch.ones(5))


def test_batches_may_be_ranked_by_another_network():
    rrm = BatchRRM(N, contamination=0.4, warmup=1)
    rrm.step()
    other = torch.tensor([5.0, 4.0, 3.0, 2.0, 1.0])
    losses = LOSSES[:5].clone().requires_grad_()
    loss = rrm.weighted_mean(losses, INDEX[:5], ranking=other)
    assert_close(loss, LOSSES[2:5].mean())
    loss.backward()
    assert losses.grad[:2].tolist() == [0, 0]


def test_batches_and_their_state():
    rrm = BatchRRM(N, contamination=0.4, warmup=1)
    for _ in range(2):
        rrm.weighted_mean(LOSSES, INDEX)
        assert rrm.step() is None
    again = BatchRRM(N, contamination=0.4, warmup=1)
    again.load_state_dict(rrm.state_dict())
    assert again.flagged().tolist() == rrm.flagged().tolist() == [3, 6, 7, 8]
    same(again.weights, rrm.weights)
    assert again.trajectory.rounds == rrm.trajectory.rounds


def test_a_sample_that_no_batch_held_is_not_flagged():
    rrm = BatchRRM(N, contamination=0.4, warmup=1)
    rrm.weighted_mean(LOSSES, INDEX)
    rrm.step()
    rrm.weighted_mean(LOSSES, INDEX)
    rrm.step()
    rrm.weighted_mean(LOSSES[:5], INDEX[:5])
    rrm.step()
    assert rrm.losses[5:].isnan().all()
    assert set(rrm.flagged().tolist()) == {3, 4}
    assert rrm.ranking().tolist()[-3:] == [1, 2, 0]  # seen thrice with low losses, and so less suspicious than unseen


def test_a_large_weight_is_told_once_with_figures():
    rrm = RRM(1000, contamination=0.3, redistribute="argmin", warmup=1)
    losses = torch.arange(1000.0)
    message = (
        r"a sample's weight is 301, above weight_limit=100: 1 of 1000 samples received the mass of 300 pruned ones"
    )
    with pytest.warns(UserWarning, match=message) as told:
        rrm.step(losses)
    assert len(told) == 1
    assert told[0].filename == __file__
    rrm.step(losses)  # a second warning would be an error


@pytest.mark.parametrize("settings", [{"redistribute": "kept"}, {"weight_limit": 301}, {"weight_limit": float("inf")}])
def test_no_warning_where_the_limit_holds(settings):
    RRM(1000, contamination=0.3, warmup=1, **({"redistribute": "argmin"} | settings)).step(torch.arange(1000.0))


def test_smoothing_is_seen_before_the_limit():
    RRM(1000, contamination=0.3, redistribute="argmin", mu=0.3, warmup=1).step(torch.arange(1000.0))  # 0.7 + 0.3 * 301


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"n": 4, "contamination": 0.2}, ValueError, "n=4 samples are too few for contamination=0.2: .* at least 0.25"),
        ({"contamination": 0.2, "mu": 2}, ValueError, r"mu must lie in \(0, 1\], got 2"),
        ({"contamination": lambda epoch: 1.5}, ValueError, r"contamination must lie in \[0, 1\), got 1.5"),
        ({"contamination": 0.2, "unit": "batch"}, ValueError, "unit must be one of 'epoch', 'step', got 'batch'"),
        ({"contamination": 0.2, "losses_from": "epoch"}, ValueError, "losses_from must be .* 'training', 'pass', got"),
        ({"contamination": 0.2, "scale": "sum"}, ValueError, "scale must be one of 'mean', 'paper', got 'sum'"),
        (
            {"contamination": type("Odd", (), {"__call__": lambda self, epoch: 0.2})()},
            TypeError,
            "give its objects a __repr__",
        ),
        ({"contamination": 0.2, "weight_limit": 0.5}, ValueError, "weight_limit must be at least 1.* got 0.5"),
        ({"contamination": 0.2, "ids": ["a"]}, ValueError, "ids must name each of the n=10 samples, got 1"),
        ({"contamination": 0.2, "ids": [None] * 10}, TypeError, "ids must be text or numbers, got object"),
    ],
)
def test_wrong_settings_are_refused_at_once(settings, error, message):
    with pytest.raises(error, match=message):
        RRM(**({"n": N} | settings))


def test_no_pruning_at_all_may_be_asked_for():
    assert RRM(4, contamination=0, warmup=1).step(LOSSES[:4]).n_pruned == 0


def test_wrong_arguments_are_refused():
    rrm = RRM(N, contamination=0.3, warmup=1)
    with pytest.raises(TypeError, match="unexpected keyword argument 'ranking'"):
        rrm.weighted_mean(LOSSES, INDEX, ranking=LOSSES)
    batch_rrm = BatchRRM(N, contamination=0.3)
    for weighting, name in ((rrm, "regularizer"), (batch_rrm, "regularizer"), (batch_rrm, "ranking")):
        with pytest.raises(ValueError, match=rf"{name} must have the losses' shape \(10,\), got \(3,\)"):
            weighting.weighted_mean(LOSSES, INDEX, **{name: LOSSES[:3]})


@pytest.mark.parametrize("options", [{"mu": 0.5}, {"unit": "step"}, {"layout": "sharded"}])
def test_batch_rrm_has_no_mu_unit_or_layout(options):
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        BatchRRM(N, contamination=0.2, **options)


@pytest.mark.parametrize(
    ("ids", "others"),
    [
        (list("abcdefghij"), list("abcdefghik")),
        (np.arange(10), np.arange(10)[::-1]),
        (np.arange(10), np.arange(10).astype(np.int32)),
        (torch.arange(10), torch.arange(10).view(10, 1)),
        (["ab", "c", *"defghijk"], ["a", "bc", *"defghijk"]),
    ],
)
def test_other_ids_are_another_data_set(ids, others):
    assert fingerprint(ids) == fingerprint(ids)
    first, other = (RRM(N, contamination=0.3, ids=given) for given in (ids, others))
    with pytest.raises(ValueError, match="state was saved for another data set: the hash of its ids"):
        other.load_state_dict(first.state_dict())
    RRM(N, contamination=0.3, ids=ids).load_state_dict(first.state_dict())


def test_ids_are_the_same_in_any_container():
    numbers = list(range(5))
    assert fingerprint(numbers) == fingerprint(np.array(numbers)) == fingerprint(torch.tensor(numbers))
    assert fingerprint(["a", "bc"]) == fingerprint(np.array(["a", "bc"], dtype="U9")) == fingerprint([b"a", b"bc"])


def test_paths_and_pandas_strings_are_ids():
    names = ["a.png", "b.png"]
    series = pd.Series(names, dtype=object)
    assert fingerprint(names) == fingerprint([Path(name) for name in names]) == fingerprint(series)


@pytest.mark.parametrize("times", [255, 256, 257])
def test_steps_are_not_counted_in_eight_bits(times):
    rrm = RRM(N, contamination=0.3, warmup=times, unit="step")
    plans = [(rrm.weighted_mean(LOSSES, INDEX), rrm.step())[1] for _ in range(times)]
    assert plans[-1] is not None


@pytest.mark.parametrize("odd", [float("nan"), float("inf")])
def test_what_has_weight_zero_counts_as_zero(odd):
    rrm = RRM(N, contamination=0.3, warmup=1, nan="prune")
    losses = LOSSES.clone()
    losses[3] = odd
    rrm.step(losses)
    given = losses.requires_grad_()
    loss = rrm.weighted_mean(given, INDEX)
    loss.backward()
    kept = [0, 1, 2, 4, 5, 8, 9]
    assert_close(loss, LOSSES[kept].mean())
    assert given.grad[3] == 0


@pytest.mark.parametrize("of", ["contamination", "gamma", "mu"])
def test_functions_of_one_name_are_told_apart_by_their_values(of):
    def rrm(number):
        rule = {} if of in ("contamination", "gamma") else {"contamination": 0.3}
        return RRM(N, **rule, **{of: lambda epoch: number if epoch > 2 else 0.5}, warmup=1)

    first, other = rrm(0.2), rrm(0.25)
    first.step(LOSSES)
    with pytest.raises(ValueError, match=rf"other settings: {of} is '.*<lambda>, values \w+' there and"):
        other.load_state_dict(first.state_dict())
    assert other.epoch == 0
    same(other.weights, torch.ones(N))
    rrm(0.2).load_state_dict(first.state_dict())


def test_functions_that_differ_late_are_told_apart_by_what_they_pruned():
    def rrm(share):
        return RRM(N, contamination=lambda epoch: share if epoch == 1500 else 0.3, warmup=1)

    first, other = rrm(0.2), rrm(0.5)
    first.epoch = 1499
    first.step(LOSSES)
    with pytest.raises(
        ValueError, match="another schedule, which pruned 2 samples after epoch 1500, where this one prunes 5"
    ):
        other.load_state_dict(first.state_dict())
    assert other.epoch == 0


def test_a_function_may_come_to_an_end():
    shares = [0.1, 0.2, 0.3]
    assert (
        "values"
        in RRM(N, contamination=lambda epoch: shares[epoch - 1], warmup=1).state_dict()["settings"]["contamination"]
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"contamination": Ramp(1.5, 10)}, r"contamination must lie in \[0, 1\), got 1\.5"),
        ({"contamination": Ramp(0.3, 50, first=2.0)}, r"contamination must lie in \[0, 1\), got 1\.66"),
        ({"contamination": Ramp(0.05, 10)}, "n=10 samples are too few for contamination=0.05"),
        ({"gamma": Ramp(-1.0, 10, first=1.0)}, "gamma must be at least 0, got -1"),
        ({"contamination": 0.3, "mu": Ramp(2.0, 10)}, r"mu must lie in \(0, 1\], got 2"),
    ],
)
def test_the_ends_of_a_ramp_are_checked_at_once(options, message):
    with pytest.raises(ValueError, match=message):
        RRM(N, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mu": "x"}, "mu must be a number, got 'x'"),
        ({"mu": None}, "mu must be a number, got None"),
        ({"weight_limit": "a"}, "weight_limit must be a number, got 'a'"),
        ({"ids": 5}, "ids must be a sequence"),
    ],
)
def test_what_is_no_number_is_named(options, message):
    with pytest.raises(TypeError, match=message):
        RRM(N, contamination=0.3, **options)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epoch": -5}, "state's epoch must be an integer of at least 0, got -5"),
        ({"epoch": "x"}, "state's epoch must be an integer of at least 0, got 'x'"),
        ({"weights": torch.full((N,), torch.nan)}, "state's weights must be floating, finite and at least 0"),
        ({"weights": -torch.ones(N)}, "state's weights must be floating, finite and at least 0"),
        ({"weights": torch.ones(N, dtype=torch.bool)}, "state's weights must be floating"),
    ],
)
def test_a_damaged_state_is_refused(change, message):
    rrm = RRM(N, contamination=0.3, warmup=1)
    rrm.step(LOSSES)
    with pytest.raises(ValueError, match=message):
        RRM(N, contamination=0.3, warmup=1).load_state_dict(rrm.state_dict() | change)


@pytest.mark.parametrize("change", ["an entry too many", "one missing"])
def test_rounds_of_another_version_are_refused(change):
    rrm = RRM(N, contamination=0.3, warmup=1)
    rrm.step(LOSSES)
    state = rrm.state_dict()
    if change == "one missing":
        del state["trajectory"]["rounds"][0]["gamma"]
    else:
        state["trajectory"]["rounds"][0]["delta"] = 1.0
    with pytest.raises(ValueError, match="state's rounds aren't those of this version"):
        RRM(N, contamination=0.3, warmup=1).load_state_dict(state)


def test_large_weights_of_batches_warn_too():
    rrm = BatchRRM(N, contamination=0.3, warmup=1, redistribute="argmin", weight_limit=2)
    rrm.weighted_mean(LOSSES, INDEX)
    rrm.step()
    rrm.weighted_mean(LOSSES, INDEX)
    with pytest.warns(UserWarning, match="a sample's weight is 4, above weight_limit=2: it received the mass") as said:
        rrm.step()
    assert said[0].filename == __file__
    rrm.weighted_mean(LOSSES, INDEX)
    rrm.step()  # once is enough


def test_a_sample_seen_256_times_is_repeated_not_missing():
    rrm = RRM(N, contamination=0.3, warmup=1)
    for _ in range(256):
        rrm.weighted_mean(LOSSES, INDEX)
    with pytest.raises(ValueError, match="10 seen more than once") as caught:
        rrm.step()
    assert "missing" not in str(caught.value)


def half(share, epoch):
    return share / 2


def test_a_partial_schedule_has_the_same_name_in_every_process():
    described = schedule.describe(partial(half, 0.3))
    assert re.search(r"test_rrm_options\.half\(0\.3\), values \w{16}$", described)
    assert "0x" not in described


def test_losses_of_all_samples_have_no_use_with_batches():
    rrm = BatchRRM(N, contamination=0.3, warmup=1)
    assert not rrm.due
    with pytest.raises(ValueError, match=r"losses can't be passed to BatchRRM\.step"):
        rrm.step(LOSSES)
    with pytest.raises(TypeError, match="losses must be a tensor, got list"):
        RRM(N, contamination=0.3).step(LOSSES.tolist())


def test_nan_in_a_batch_is_refused_at_the_end_of_the_epoch():
    rrm = BatchRRM(N, contamination=0.3, warmup=1)
    losses = LOSSES.clone()
    losses[4] = torch.nan
    rrm.weighted_mean(losses, INDEX)
    with pytest.raises(ValueError, match="losses contain NaN: 1 since the last step"):
        rrm.step()
    assert rrm.epoch == 0


def test_expected_scores_need_no_complete_epoch():
    rrm = RRM(N, contamination=0.3, warmup=2, losses_from="pass")
    rrm.weighted_mean(LOSSES[:4], INDEX[:4])
    rrm.step()  # a warning would be an error
    assert rrm.step(LOSSES) is not None


def test_a_failed_load_leaves_everything_as_it_was():
    saved, rrm = (RRM(N, contamination=0.3, warmup=1) for _ in range(2))
    saved.step(LOSSES)
    rrm.step(LOSSES.flip(0))
    before = rrm.state_dict()
    for broken, message in (
        ({"trajectory": {}}, "trajectory lacks bits, rank_sum, rounds"),
        ({"weights": [1.0]}, r"weights must have shape \(10,\), got None"),
        ({"losses": torch.full((N,), torch.nan)}, "NaN"),
    ):
        with pytest.raises(ValueError, match=message):
            rrm.load_state_dict(saved.state_dict() | broken)
        after = rrm.state_dict()
        assert after["trajectory"]["rounds"] == before["trajectory"]["rounds"]
        for name in ("weights", "losses"):
            same(after[name], before[name])
