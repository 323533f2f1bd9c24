"""Groups on the command line."""

from __future__ import annotations

import json

import numpy as np
import pytest

import rrm_core
from rrm_core import cli
from support.families import assert_same_bits

N = 2_000
C = np.random.default_rng(0).exponential(size=N).astype(np.float32)
# The last group has no sample.
G = np.random.default_rng(1).integers(0, 3, N)
SHARES = [0.1, 0.3, 0.0, 0.2]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Work in a temporary folder that holds losses and groups."""
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.chdir(tmp_path)
    np.save("losses.npy", C)
    np.save("groups.npy", G.astype(np.uint8))
    np.save("shares.npy", SHARES)
    (tmp_path / "shares.txt").write_text("0.1\n0.3\n0.0\n0.2\n", encoding="utf-8")
    np.save("square.npy", np.ones((2, 2)) / 2)
    (tmp_path / "empty.txt").touch()
    parquet.write_table(pa.table({"loss": C, "source": G}), "table.parquet")


@pytest.mark.parametrize("shares", ["0.1,0.3,0,0.2", "shares.npy", "shares.txt"])
@pytest.mark.parametrize("source", ["losses.npy --groups groups.npy", "table.parquet --groups source"])
def test_reweight_with_a_share_of_each_group(source, shares, capsys):
    assert cli.main(f"reweight {source} --contamination {shares} --mass group -o weights.npy".split()) == 0
    expected, plan = rrm_core.reweight(C, groups=rrm_core.Groups(G, 4), contamination=SHARES, mass="group")
    assert_same_bits(np.load("weights.npy"), expected)
    lines = capsys.readouterr().out.splitlines()
    printed = {key.strip(): value.strip() for key, _, value in (line.partition("  ") for line in lines)}
    assert printed["groups"] == "4"
    assert printed["pruned"] == str(int(plan.n_pruned.sum()))
    assert "contamination 0 to 0.3" in printed["rule"]
    assert lines[-4].split()[:2] == ["1", str(plan.sizes[1])]
    assert lines[-1].split() == ["3", "0", "0", "-", "-"]


def test_plan_with_a_cap_as_json(capsys):
    options = "--groups groups.npy --n-groups 4 --contamination 0.2 --cap 0.25 --json"
    assert cli.main(f"plan losses.npy {options}".split()) == 0
    printed = json.loads(capsys.readouterr().out)
    plan = rrm_core.plan(C, groups=rrm_core.Groups(G, 4), contamination=0.2, cap=0.25)
    assert printed["groups"] == 4
    assert printed["rule"]["cap"] == 0.25
    assert printed["rule"]["mass"] == "all"
    assert [row["pruned"] for row in printed["by_group"]] == plan.n_pruned.tolist()
    assert [row["threshold"] for row in printed["by_group"]] == [*plan.threshold[:3].tolist(), None]


def test_json_has_the_share_of_each_group(capsys):
    assert cli.main(["plan", "losses.npy", "--groups", "groups.npy", "--contamination", "shares.npy", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rule"]["contamination"] == SHARES


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--groups groups.npy --contamination 0.2", "n_groups is required"),
        ("--groups groups.npy --contamination 0.1,0.2", "the first 2 at index"),
        ("--groups losses.npy --contamination 0.1,0.2", "must hold integers, got float32"),
        (
            "--groups source --contamination 0.1,0.2",
            "groups='source' names a column of a Parquet or Arrow file, but losses.npy is a .npy file; give the groups",
        ),
        ("--contamination 0.1,0.2", "contamination has 2 values, one per group, but groups is None"),
        ("--contamination auto", "must be a number, got 'auto': losses alone don't tell how many labels are wrong"),
        ("--contamination 0.1,x", "must be a number, numbers separated by commas, or a file of numbers, got '0.1,x'"),
        ("--contamination 0.2 --groups groups.npy --cap table.parquet", "table.parquet is not a file of numbers"),
        ("--contamination 0.2 --cap 0.5", "cap needs groups"),
        ("--contamination 0.2 --n-groups 3", "n_groups needs groups, got n_groups=3"),
        ("--contamination 0.2 --groups groups.npy --cap 0.5,1,0", "cap must lie in [0, 1), got 1.0 for group 1"),
        ("--contamination 0.2 --groups groups.npy --cap nan,1,0", "cap must lie in [0, 1), got nan for group 0"),
        ("--contamination shares.npy --groups groups.npy --n-groups 3", "contamination must have one value per group"),
        ("--contamination square.npy --groups groups.npy", "contamination must be a number or an array of shape"),
        ("--contamination empty.txt --groups groups.npy", "contamination must be a number or an array of shape"),
    ],
)
def test_invalid_options_are_refused(options, message, capsys):
    try:
        code = cli.main(f"plan losses.npy {options}".split())
    except SystemExit as error:
        # An option that argparse refuses.
        code = error.code
    assert code == 2
    assert message in capsys.readouterr().err
