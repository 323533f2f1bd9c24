from __future__ import annotations

import pytest

import training_jobs
from layout_jobs import differing
from rank_jobs import on_ranks

WRAPS = ("ddp", "fsdp")
LAYOUTS = ("replicated", "sharded")


@pytest.mark.parametrize("scored", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("wrap", WRAPS)
def test_stopped_and_resumed_a_run_ends_with_the_same_bits(wrap, layout, scored, tmp_path):
    outcomes = []
    for halves in (False, True):
        folder = tmp_path / str(halves)
        folder.mkdir()
        first, second = on_ranks(2, training_jobs.trained, str(folder), layout, wrap, halves, scored)
        assert first["whole"]["model"]
        assert not differing(first["rrm"], second["rrm"])
        assert differing(first["next"], second["next"])  # each rank draws random numbers of its own
        outcomes.append((first, second))
    assert not differing(*outcomes)
    assert len(outcomes[0][0]["rrm"]["trajectory"]["rounds"]) == 3


@pytest.mark.parametrize("wrap", WRAPS)
def test_a_run_of_two_ranks_goes_on_with_one_or_three(wrap, tmp_path):
    on_ranks(2, training_jobs.trained, str(tmp_path), "sharded", wrap, False, False)
    kept = (tmp_path / "run.pt").read_bytes()
    assert on_ranks(1, training_jobs.finished, str(tmp_path), "replicated", wrap) == [(4, 4)]
    (tmp_path / "run.pt").write_bytes(kept)
    assert (
        on_ranks(3, training_jobs.finished, str(tmp_path), "replicated", "fsdp" if wrap == "fsdp" else "ddp")
        == [(4, 4)] * 3
    )


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("how", ["dies", "hangs"])
def test_a_rank_that_dies_or_hangs_ends_the_others_and_the_checkpoint_is_whole(how, layout, tmp_path):
    timeout = 4.0 if how == "hangs" else 60.0
    first, second, third = on_ranks(
        3, training_jobs.cut_short, str(tmp_path), how, layout, timeout=timeout, patience=15
    )
    assert second is None
    for told in (first, third):
        assert told.startswith("in time: rank ")
        assert "of 3 has lost the others: one has ended, or didn't come within the group's timeout; start all" in told
    for size in (3, 2):
        assert on_ranks(size, training_jobs.finished, str(tmp_path), layout, "ddp")[0][1] == 4


def test_a_checkpoint_that_cannot_be_written_is_the_same_error_on_all_ranks(tmp_path):
    first, second = on_ranks(2, training_jobs.failing_save, str(tmp_path))
    assert first == second
    assert first[0].startswith("rank 0: [Errno 21] Is a directory")
    assert first[1:] == ["1"]


def test_ranks_that_see_different_folders_are_told(tmp_path):
    first, second = on_ranks(2, training_jobs.disagreeing, str(tmp_path))
    assert first == second
    assert "ranks find different checkpoints at '/run.pt', after epochs [1, -1] (-1: none); all must see the" in first
