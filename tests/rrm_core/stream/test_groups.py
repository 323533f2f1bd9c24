"""Streams with groups: the plan and the weights of `rrm_core.reweight`, from files, arrays and chunks."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

import rrm_core

pa = pytest.importorskip("pyarrow")
feather = pytest.importorskip("pyarrow.feather")
parquet = pytest.importorskip("pyarrow.parquet")

N = 5_000
N_GROUPS = 6
RNG = np.random.default_rng(8)
LOSSES = np.round(RNG.exponential(size=N), 2)
# One group has no sample.
GROUPS = RNG.integers(0, N_GROUPS - 1, N)
OLD = RNG.random(N).astype(np.float32)
SHARES = [0.1, 0.2, 0.3, 0.0, 0.5, 0.4]
RULES = (
    {"contamination": SHARES, "ties": "share", "mass": "group"},
    {"contamination": 0.3, "cap": 0.35, "redistribute": 0.2},
    {"gamma": 1.5, "mass": "group", "redistribute": "kept"},
)


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch):
    """Split also small losses into jobs and tiles."""
    monkeypatch.setattr("rrm_core.stream.pipeline.GROUPED_TILE", 1 << 9)
    monkeypatch.setattr("rrm_core.stream.pipeline.JOB_BYTES", 1 << 12)
    monkeypatch.setattr("rrm_core.stream.pipeline.LAZY_JOB_BYTES", 1 << 12)


def pieces(array, *bounds):
    return [array[first:last] for first, last in pairwise([0, *bounds, len(array)])]


def write_table(path, losses, groups, compression=None):
    table = pa.table({"loss": losses, "source": groups, "row": np.arange(len(losses))})
    if path.suffix == ".parquet":
        parquet.write_table(table, path, row_group_size=700)
    else:
        feather.write_feather(table, path, compression=compression or "uncompressed", chunksize=900)


def sources(kind, folder, losses, groups):
    """Return the arguments `losses` and `groups` of a kind."""
    if kind == "arrays":
        return losses, groups
    if kind == "prepared":
        return losses, rrm_core.Groups(groups, N_GROUPS)
    if kind == "chunks":
        return pieces(losses, 0, 1234, 4000), pieces(groups, 7, 7, 3000)
    if kind == "npy":
        np.save(folder / "losses.npy", losses)
        np.save(folder / "groups.npy", groups.astype(">i2"))
        return folder / "losses.npy", str(folder / "groups.npy")
    if kind == "other parquet":
        np.save(folder / "losses.npy", losses)
        parquet.write_table(pa.table({"source": groups.astype(np.uint8)}), folder / "groups.parquet")
        return folder / "losses.npy", folder / "groups.parquet"
    if kind == "folder":
        table_folder = folder / "tables"
        table_folder.mkdir()
        for i, (part, part_groups) in enumerate(zip(pieces(losses, 2000), pieces(groups, 2000), strict=True)):
            write_table(table_folder / f"part-{i}.parquet", part, part_groups)
        return table_folder, "source"
    suffix, _, compression = kind.partition(" ")
    path = folder / f"table.{suffix}"
    write_table(path, losses, groups, compression)
    return str(path), "source"


KINDS = ("arrays", "prepared", "chunks", "npy", "other parquet", "folder", "parquet", "arrow", "feather", "feather lz4")


@pytest.mark.parametrize(("kind", "threads"), [*((kind, 3) for kind in KINDS), ("chunks", 1), ("feather lz4", 1)])
def test_weights_match_those_of_reweight(kind, threads, tmp_path):
    losses = LOSSES.astype(np.float32)
    source, groups = sources(kind, tmp_path, losses, GROUPS)
    options = {"n_groups": N_GROUPS, "threads": threads, "memory": 64 << 20}
    if kind in ("folder", "parquet", "arrow", "feather", "feather lz4"):
        options["column"] = "loss"
    for rule in RULES:
        weights, plan = rrm_core.reweight(losses, OLD, mu=0.3, groups=rrm_core.Groups(GROUPS, N_GROUPS), **rule)
        out = tmp_path / "weights.npy"
        result = rrm_core.stream.reweight(source, out, weights=OLD, mu=0.3, groups=groups, **options, **rule)
        assert result == plan
        np.testing.assert_array_equal(np.load(out), weights, strict=True)
    assert rrm_core.stream.plan(source, groups=groups, **options, **rule) == plan


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_other_types_and_the_least_memory(dtype):
    losses = LOSSES.astype(dtype)
    weights, plan = rrm_core.reweight(losses, groups=rrm_core.Groups(GROUPS, N_GROUPS), **RULES[0])
    parts = []
    assert rrm_core.stream.reweight(losses, parts.append, groups=GROUPS, memory=16 << 20, **RULES[0]) == plan
    np.testing.assert_array_equal(np.concatenate(parts), weights, strict=True)


@pytest.mark.parametrize(
    ("rule", "least"),
    [({"gamma": 1.0}, "102_400_000"), ({"contamination": 0.1, "cap": 0.2}, "204_801_024")],
    ids=["gamma", "cap"],
)
def test_memory_limits_the_number_of_groups(rule, least):
    with pytest.raises(ValueError, match=rf"^memory must be at least {least} bytes for 100_000 groups, got 16_777_216"):
        rrm_core.stream.plan(LOSSES, groups=GROUPS, n_groups=100_000, memory=16 << 20, **rule)


def test_number_of_groups_is_required_unless_another_argument_tells_it():
    with pytest.raises(ValueError, match="n_groups is required where groups are read in parts"):
        rrm_core.stream.plan(LOSSES, groups=GROUPS, contamination=0.1)
    with pytest.raises(ValueError, match="n_groups needs groups, got n_groups=3"):
        rrm_core.stream.plan(LOSSES, n_groups=3, contamination=0.1)
    with pytest.raises(ValueError, match="contamination must have one value per group, got 6 for 7 groups"):
        rrm_core.stream.plan(LOSSES, groups=GROUPS, n_groups=7, contamination=SHARES)
    with pytest.raises(ValueError, match="contamination has 6 values, one per group, but groups is None"):
        rrm_core.stream.plan(LOSSES, contamination=SHARES)
    expected = rrm_core.plan(LOSSES, groups=GROUPS, contamination=0.1)
    assert rrm_core.stream.plan(LOSSES, groups=rrm_core.Groups(GROUPS), contamination=0.1) == expected


def changed(index, number):
    groups = GROUPS.copy()
    groups[index] = number
    return groups


@pytest.mark.parametrize(
    ("groups", "error", "message"),
    [
        (changed(4_000, 6), ValueError, r"groups must lie in \[0, 6\), but 1 of .* the first 6 at index 4000"),
        (changed(4_500, -1), ValueError, r"groups must lie in \[0, 6\), but 1 of .* the first -1 at index 4500"),
        (GROUPS.astype(float), TypeError, "groups must be integers, got float64"),
        (GROUPS[1:], ValueError, "groups must have one entry per loss, got 4_999 for 5_000 losses"),
        ([GROUPS[:4_000]], ValueError, "groups must have one entry per loss, got 4_000 for 5_000 losses"),
        ([GROUPS, GROUPS[:3]], ValueError, "groups must have one entry per loss, got 5_003 for 5_000 losses"),
        ([GROUPS.astype(float)], TypeError, "groups must be integers, got float64"),
        ("source", ValueError, "groups='source' names a column in the files of the losses, but losses are given as"),
    ],
)
def test_invalid_groups_are_refused(groups, error, message, tmp_path):
    out = tmp_path / "weights.npy"
    with pytest.raises(error, match=message):
        rrm_core.stream.reweight(LOSSES, out, groups=groups, contamination=SHARES)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
def test_invalid_columns_of_groups_are_refused(suffix, tmp_path):
    path = tmp_path / f"table{suffix}"
    groups = pa.array([0, 1, None, 1], pa.int64())
    table = pa.table({"loss": [0.5, 1.5, 2.5, 3.5], "source": groups, "text": ["a", "b", "c", "d"]})
    if suffix == ".parquet":
        parquet.write_table(table, path)
    else:
        feather.write_feather(table, path, compression="uncompressed")
    for column, error, message in (
        ("source", ValueError, "has a null in row 2; give every sample a group"),
        ("loss", TypeError, "column 'loss' must be integers, got"),
        ("text", TypeError, "column 'text' must be integers, got"),
        ("other", ValueError, "has no column 'other'"),
    ):
        with pytest.raises(error, match=rf"groups \(.*table.*{message}"):
            rrm_core.stream.plan(path, groups=column, contamination=[0.1, 0.2])


def test_invalid_files_of_groups_are_refused(tmp_path):
    path = tmp_path / "groups.npy"
    np.save(path, GROUPS.astype(np.float32))
    with pytest.raises(TypeError, match=r"groups \(.*groups.npy\) must hold integers, got float32; number the groups"):
        rrm_core.stream.plan(LOSSES, groups=path, contamination=SHARES)
    np.save(path, changed(4_321, 9))
    with pytest.raises(ValueError, match=r"groups \(.*groups.npy\) must lie in .* the first 9 at index 4321"):
        rrm_core.stream.plan(LOSSES, groups=path, contamination=SHARES)
    np.save(path, GROUPS[:-1])
    with pytest.raises(ValueError, match=r"groups \(.*groups.npy\) must have one entry per loss, got 4_999 for 5_000"):
        rrm_core.stream.plan(LOSSES, groups=path, contamination=SHARES)
    np.save(path, GROUPS)
    with pytest.raises(ValueError, match="out is the file of the groups"):
        rrm_core.stream.reweight(LOSSES, path, groups=path, contamination=SHARES)


class Reused:
    """Chunks of groups that all use the same memory."""

    def __iter__(self):
        memory = np.empty(100, GROUPS.dtype)
        for first in range(0, N, 100):
            memory[:] = GROUPS[first : first + 100]
            yield memory


def test_chunks_of_groups_that_reuse_memory():
    expected, plan = rrm_core.reweight(LOSSES, groups=rrm_core.Groups(GROUPS, N_GROUPS), **RULES[0])
    parts = []
    assert rrm_core.stream.reweight(LOSSES, parts.append, groups=Reused(), threads=3, **RULES[0]) == plan
    np.testing.assert_array_equal(np.concatenate(parts), expected, strict=True)


class Changing:
    """Chunks of groups of which two are exchanged from a pass on."""

    def __init__(self, first_changed):
        self.first_changed = first_changed
        self.n_passes = 0

    def __iter__(self):
        self.n_passes += 1
        groups = GROUPS.copy()
        if self.n_passes >= self.first_changed:
            i, j = np.flatnonzero(groups == 1)[0], np.flatnonzero(groups == 2)[0]
            groups[[i, j]] = 2, 1
        yield groups


@pytest.mark.parametrize("first_changed", [2, 5])
def test_groups_that_change_are_an_error(first_changed, tmp_path):
    # Passes: four rounds, since the losses are float64, and writing.
    with pytest.raises(RuntimeError, match="losses or groups changed"):
        rrm_core.stream.reweight(
            LOSSES, tmp_path / "weights.npy", groups=Changing(first_changed), contamination=SHARES, redistribute="kept"
        )
    assert not list(tmp_path.iterdir())


def test_group_without_a_kept_sample_is_invalid_input():
    losses = np.where(GROUPS == 2, 100.0, LOSSES)
    with pytest.raises(ValueError, match="mass='group' needs a kept sample in each group"):
        rrm_core.stream.plan(losses, groups=GROUPS, n_groups=N_GROUPS, contamination=0.5, mass="group")
