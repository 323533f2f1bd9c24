from __future__ import annotations

import re

import pytest
from torch.utils.data import DistributedSampler

from rrm_torch import RRM
from rrm_torch.distributed import ShardSampler
from support import layout_jobs
from support.rank_jobs import on_ranks

N = 203
SETTINGS = [
    {"contamination": 0.2, "warmup": 1},
    {"contamination": 0.2, "warmup": 2, "mu": 0.3, "redistribute": "argmin"},
    {"gamma": 0.8, "warmup": 1, "redistribute": 0.1, "mu": 0.7},
    {"contamination": 0.3, "warmup": 1, "ties": "share", "redistribute": "drop", "every": 2},
    {"contamination": 0.2, "warmup": 1, "nan": "prune"},
]


def expected(n, settings, given):
    return layout_jobs.outcome(layout_jobs.train(None, n, settings, range(5), given=given))


KINDS = [(N, False), (N, True), (9, False), (1, False)]
# Of 9 samples, two of four ranks have none.
CASES = [*((size, *kind) for size in (1, 2, 3, 4) for kind in KINDS), (8, N, False)]


@pytest.mark.parametrize(("size", "n", "given"), CASES)
def test_every_layout_and_number_of_ranks_gives_same_state(size, n, given):
    settings = SETTINGS if n > 1 else [{"gamma": 0.8, "warmup": 1}]
    wanted = [expected(n, chosen, given) for chosen in settings]
    for found in on_ranks(size, layout_jobs.differences_by_layout, n, settings, wanted, given):
        assert found == [[]] * (6 * len(settings))


def test_messages_in_pieces_give_same_state():
    settings = SETTINGS[1:2]
    for given in (False, True):
        wanted = [expected(N, chosen, given) for chosen in settings]
        for found in on_ranks(2, layout_jobs.differences_in_pieces, N, settings, wanted, given):
            assert found == [[]] * (6 * len(settings))
    for summed, gathered in on_ranks(3, layout_jobs.collectives_in_pieces):
        assert summed == [3 * i for i in range(11)]
        assert gathered == [[*range(10 * rank, 10 * rank + 9 - rank)] for rank in range(3)]


@pytest.mark.parametrize("layout", ["replicated", "sharded"])
def test_paper_scale_gradients_count_each_sample_once(layout):
    right = (layout_jobs.losses_of_epoch(0, N) / N).sum().item()
    for found in on_ranks(3, layout_jobs.gradients, layout, N):
        assert found == [pytest.approx(right, rel=1e-5)]


@pytest.mark.parametrize("size", [2, 3, 4])
def test_reweights_by_step(size):
    wanted = layout_jobs.train_by_steps(None, N, saves=False)
    assert not layout_jobs.differences(layout_jobs.train_by_steps(None, N, saves=True), wanted)
    for found in on_ranks(size, layout_jobs.step_differences, N, wanted):
        assert found == [[]] * 4


@pytest.mark.parametrize("size", [2, 3])
def test_states_in_mid_epoch_unseen_samples_and_float64(size):
    cases = [(unseen, double) for unseen in ("raise", "latest") for double in (False, True)]
    wanted = [(*case, layout_jobs.train_in_halves((None, None), N, *case)) for case in cases]
    assert {str(outcome["state"]["weights"].dtype) for *_, outcome in wanted} == {"torch.float32", "torch.float64"}
    assert wanted[2][2]["state"]["trajectory"]["planned"] is not None
    for found in on_ranks(size, layout_jobs.differences_in_halves, N, wanted):
        assert found == [[]] * (2 * len(cases))


@pytest.mark.parametrize("resumed", [1, 2])
def test_state_of_four_ranks_resumes_on_fewer(resumed):
    settings = SETTINGS[1]
    saved = on_ranks(4, layout_jobs.states_after, N, settings, 3)
    wanted = layout_jobs.train(None, N, settings, range(5)).state_dict()
    for layout in ("replicated", "sharded"):
        for rank in range(4):
            assert not layout_jobs.differences(saved[rank][layout], saved[0]["replicated"])
        alone = layout_jobs.train(None, N, settings, range(3, 5), saved[0][layout]).state_dict()
        assert not layout_jobs.differences(alone, wanted)
        for found in on_ranks(resumed, layout_jobs.resumed_from, N, settings, saved[0][layout], range(3, 5)):
            assert not any(layout_jobs.differences(state, wanted) for state in found.values())


WHERE = r"\((rank 1 recorded index \d+|index \d+ is on rank 1, its own index \d+)\)"
SAID = {
    "nan": rf"ValueError: losses contain 1 NaN among 203, the first at index \d+;.* {WHERE}",
    "low": rf"ValueError: losses contain 1 values of -inf among 203, .* {WHERE}",
    "weight": r"ValueError: rank 1: weights must be finite and at least 0, but 1 of \d+ are not, the first nan at .*",
    "missing": r"ValueError: of the 203 samples, since the last step, 1 missing \(the first: index \d+\) on all .*",
    "outside": r"IndexError: rank 1: index must lie in \[\d+, \d+\), got 1 outside, such as 208; .*",
    "shape": r"ValueError: rank 1: losses must have shape \(\d+,\), one per sample, got \(3,\)",
    "text": r"TypeError: rank 1: losses must be a tensor, got str; rrm_torch.score returns one",
    "alone": r"ValueError: rank 1 differs from rank 0 in losses; give them to step\(\) on all ranks, or on none",
    "settings": r"ValueError: rank 1 differs from rank 0 in settings; make RRM with the same arguments on all ranks",
    "losses_from": r"ValueError: rank 1 differs from rank 0 in settings; make RRM with the same arguments on all ranks",
    "layout": r"ValueError: rank 1 differs from rank 0 in settings; make RRM with the same arguments on all ranks",
    "epoch": r"ValueError: rank 1 differs from rank 0 in epoch; call step\(\) equally often on all ranks, and .*",
}


@pytest.mark.parametrize("fault", [*SAID, "foreign"])
@pytest.mark.parametrize("layout", ["replicated", "sharded"])
def test_error_on_one_rank_is_raised_on_all(layout, fault):
    found = on_ranks(3, layout_jobs.error_and_recovery, layout, N, fault)
    assert found[0] == found[1] == found[2]
    *raised, after = found[0]
    if fault == "foreign" and layout == "replicated":  # where any rank may see any sample
        assert not raised
        return
    assert after == "unchanged True, epoch 1, pruned 40"
    foreign = r"IndexError: rank 1: index must lie in \[64, 136\), got \d+ outside, such as 0; that is this rank's .*"
    pattern = SAID.get(fault, foreign)
    assert len(raised) == 1
    assert re.fullmatch(pattern, raised[0]), raised[0]
    if fault == "missing":
        sampler = ShardSampler(N, rank=1, size=3, seed=5)
        if layout == "replicated":
            sampler = DistributedSampler(range(N), num_replicas=3, rank=1, seed=5)
        assert f"(the first: index {list(sampler)[3]})" in raised[0]


def test_replicated_ranks_agree_on_each_loss():
    first, second = on_ranks(2, layout_jobs.merged_losses, 16)
    assert str(first) == str(second)
    recorded, given = first
    assert recorded[3] == 6
    right = layout_jobs.losses_of_epoch(0, 16).tolist()
    assert given[:4] + given[6:] == [*right[:2], 8, 8, *right[6:]]
    assert [str(loss) for loss in given[4:6]] == ["nan"] * 2


def test_subgroup_gives_same_state():
    wanted = layout_jobs.train(None, N, SETTINGS[1], range(3)).state_dict()
    outsider, *members = on_ranks(3, layout_jobs.train_in_group, N, SETTINGS[1], wanted)
    assert outsider == ["this process isn't in the group; give the group that it belongs to"]
    assert members == [[[], []]] * 2


@pytest.mark.parametrize("nan", ["raise", "prune"])
@pytest.mark.parametrize("layout", ["replicated", "sharded"])
def test_error_names_rank_and_index_of_invalid_loss(layout, nan):
    first, second = on_ranks(2, layout_jobs.invalid_loss_error, layout, N, nan)
    said, wanted = second.split(" wanted ")
    assert first == said
    assert said.startswith(f"losses contain 1 {'NaN' if nan == 'raise' else 'values of -inf'} among {N}, ")
    assert f"the first at index {wanted};" in said
    assert said.endswith(
        f"(rank 1 recorded index {wanted})"
        if layout == "replicated"
        else f"(index {wanted} is on rank 1, its own index {int(wanted) - 104})"
    )


@pytest.mark.parametrize("given", [False, True])
def test_error_names_first_nan_of_due_epoch(given):
    first, second = on_ranks(2, layout_jobs.first_nan_error, N, given)
    assert first == second
    assert first.startswith(f"losses contain 2 NaN among {N}, the first at index 150;")
    assert first.endswith("(rank 1 recorded index 150)")


@pytest.mark.parametrize(("layout", "held"), [("replicated", r"\[0, 200\)"), ("sharded", r"\[96, 200\)")])
def test_loss_with_out_of_range_index_is_never_recorded(layout, held):
    first, second = on_ranks(2, layout_jobs.record_out_of_range, layout, 200)
    assert first == second
    shown, said, n_pruned, same = first
    assert not shown
    assert re.match(rf"rank 1: index must lie in {held}, got 2 outside, such as -1; ", said)
    assert n_pruned == 40
    assert same


def test_error_does_not_name_superseded_loss():
    first, second = on_ranks(2, layout_jobs.superseded_nan_error, 16)
    assert first == second
    assert first.startswith("losses contain 1 NaN among 16, the first at index 9;")
    assert first.endswith("(rank 1 recorded index 9)")


def test_rejects_invalid_layout():
    (said,) = on_ranks(1, layout_jobs.invalid_layout_errors)
    assert said == [
        "layout must be 'replicated', 'sharded' or None, got 'split'",
        "group needs a layout: 'replicated' or 'sharded'",
    ]
    with pytest.raises(RuntimeError, match="there are no ranks: start the script with torchrun"):
        RRM(10, contamination=0.2, layout="replicated")


def test_weights_for_rejects_samples_of_other_ranks():
    assert on_ranks(2, layout_jobs.weights_of_other_rank_error, 32) == [
        "index must lie in [0, 16), the local samples, got 16",
        "index must lie in [16, 32), the local samples, got 15",
    ]


def test_wrong_labels_on_one_rank_leave_no_rank_waiting():
    first, second = on_ranks(2, layout_jobs.issues_after_error, 32)
    assert first == ("", 32)
    assert second == ("labels must have shape (32,), one per sample, got (31,)", 32)
