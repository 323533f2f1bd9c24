from __future__ import annotations

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from rrm_torch import Indexed, fit
from rrm_torch.distributed import ShardSampler
from support import training_jobs
from support.layout_jobs import differences
from support.rank_jobs import on_ranks

WRAPS = ("ddp", "fsdp")
LAYOUTS = ("replicated", "sharded")


@pytest.mark.parametrize("scored", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("wrap", WRAPS)
def test_resumed_run_gives_same_bits(wrap, layout, scored, tmp_path):
    outcomes = []
    for halves in (False, True):
        folder = tmp_path / str(halves)
        folder.mkdir()
        first, second = on_ranks(2, training_jobs.trained, str(folder), layout, wrap, halves, scored)
        assert first["whole"]["model"]
        assert not differences(first["rrm"], second["rrm"])
        assert differences(first["next"], second["next"])  # each rank draws random numbers of its own
        outcomes.append((first, second))
    assert not differences(*outcomes)
    assert len(outcomes[0][0]["rrm"]["trajectory"]["rounds"]) == 3


@pytest.mark.parametrize("wrap", WRAPS)
def test_checkpoint_of_two_ranks_resumes_on_one_or_three(wrap, tmp_path):
    on_ranks(2, training_jobs.trained, str(tmp_path), "sharded", wrap, False, False)
    kept = (tmp_path / "run.pt").read_bytes()
    assert on_ranks(1, training_jobs.finished, str(tmp_path), "replicated", wrap) == [(4, 4)]
    (tmp_path / "run.pt").write_bytes(kept)
    assert (
        on_ranks(3, training_jobs.finished, str(tmp_path), "replicated", "fsdp" if wrap == "fsdp" else "ddp")
        == [(4, 4)] * 3
    )


def test_additional_ranks_draw_their_own_random_numbers(tmp_path):
    on_ranks(2, training_jobs.trained, str(tmp_path), "replicated", "ddp", False, False)
    found = on_ranks(4, training_jobs.draws, str(tmp_path))
    assert [len(set(numbers[:1] + numbers[2:])) for numbers in zip(*found, strict=True)] == [3] * 3
    assert len({numbers[0] for numbers in found}) == 4


def test_losses_of_score_loader_decide(tmp_path):
    assert on_ranks(2, training_jobs.scored, str(tmp_path)) == [True, True]


def test_one_rank_evaluates_alone_under_ddp():
    accuracy, other = on_ranks(2, training_jobs.alone, timeout=10)
    assert 0 <= accuracy <= 1
    assert other == -1


def test_evaluates_untrained_model_under_fsdp():
    first, second = on_ranks(2, training_jobs.untrained)
    assert first == second
    assert 0 <= first <= 1


def test_fit_sets_epoch_of_sampler():
    sampler, told = ShardSampler(16, rank=0, size=1), []
    dataset = Indexed(TensorDataset(torch.ones(16, 2), torch.zeros(16, dtype=torch.int64)))
    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loader = DataLoader(dataset, batch_size=4, sampler=sampler)
    fit(model, loader, optimizer, 3, on_epoch=lambda *_: told.append(sampler.epoch))
    assert told == [1, 2, 3]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("how", ["dies", "hangs"])
def test_lost_rank_ends_the_others_and_keeps_checkpoint(how, layout, tmp_path):
    timeout = 4.0 if how == "hangs" else 60.0
    first, second, third = on_ranks(
        3, training_jobs.cut_short, str(tmp_path), how, layout, timeout=timeout, patience=15
    )
    assert second is None
    for told in (first, third):
        assert told.startswith("in time: a collective failed on rank ")
        assert "of 3: another rank exited, or exceeded the group's timeout; restart all ranks" in told
    for size in (3, 2):
        assert on_ranks(size, training_jobs.finished, str(tmp_path), layout, "ddp")[0][1] == 4


def test_failing_save_raises_same_error_on_all_ranks(tmp_path):
    first, second = on_ranks(2, training_jobs.failing_save, str(tmp_path))
    assert first == second
    assert first == [
        "rank 0: output: /run.pt is a folder; name a file in it",
        "rank 1: no room for a copy",
        "rank 1: rrm of checkpoint '/run.pt' doesn't match: no such entry",
        "rank 1 has other objects than rank 0; pass objects of the same names to Checkpoint on all ranks",
        "1",
    ]


@pytest.mark.parametrize("wrap", ["ddp", "fsdp"])
def test_load_that_fails_on_one_rank_is_undone_on_all(tmp_path, wrap):
    assert on_ranks(2, training_jobs.undone_load, str(tmp_path), wrap) == [True, True]


@pytest.mark.parametrize("wrap", ["ddp", "fsdp"])
def test_error_within_collective_state_dict_is_raised(tmp_path, wrap):
    first, second = on_ranks(2, training_jobs.untold, str(tmp_path), wrap, timeout=5)
    assert second == "MemoryError: no room for a copy"
    lost = "a collective failed on rank 0 of 2: another rank exited" if wrap == "ddp" else ""  # torch's own words
    assert first.startswith(f"RuntimeError: {lost}")


def test_failing_load_raises_same_error_on_all_ranks(tmp_path):
    first, second = on_ranks(2, training_jobs.of_other_settings, str(tmp_path))
    assert first == second
    assert first[0].startswith("rank 1: rrm of checkpoint ")
    assert first[0].endswith("other settings: contamination is 0.2 there and 0.3 here")
    assert first[1].startswith("rank 1: [Errno 21] Is a directory")


def test_rejects_different_checkpoints(tmp_path):
    first, second = on_ranks(2, training_jobs.disagreeing, str(tmp_path))
    assert first == second
    assert (
        "ranks find different checkpoints at '/run.pt', after epochs [1, -1] (-1: no file); all ranks must see" in first
    )
