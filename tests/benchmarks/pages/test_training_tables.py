from __future__ import annotations

from benchmarks.pages import training_tables


def measured(factor):
    return {
        "batches": {"128 of 50000": {"plain": 10.0, "by hand": 22.0, "RRM": 10.0 + 5 * factor}},
        "steps": {
            "1000000": {
                "step, ms": 2.5 * factor,
                "reweight, ms": 0.5,
                "bytes a sample": 17.2 * factor,
                "flagged, s": 0.01 * factor,
                "ranking, s": 0.02 * factor,
            }
        },
        "operations": {"step of 1000000": 55 * factor, "weighted_mean forward": 16 * factor},
    }


def rows_of(text):
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    return {name: values for name, *values in rows}


def test_trainer():
    run = {"what": "processor time", "after": measured(1), "before": measured(20) | {"commit": "c" * 40}}
    rows = rows_of(training_tables.trainer(run))
    assert rows["added to a batch"] == ["128 of 50,000 samples"]
    assert rows["the loop by hand: gather, multiply, record"] == ["12 µs"]
    assert rows["`weighted_mean`, now"] == ["5 µs"]
    assert rows["`weighted_mean`, before, at commit cccccccccc"] == ["100 µs"]
    assert rows["`rrm_core.reweight` alone"] == ["0.5 ms"]
    assert rows["`step`, now"] == ["2.5 ms: its reweight and 2.0 ns a sample"]
    assert rows["`flagged`, before, at commit cccccccccc"] == ["0.2 s"]
    assert rows["resident bytes a sample, now"] == ["17"]
    what = "operations of torch on a device, without the kernel for batches"
    assert rows[what] == ["`step`, n = 1000000", "`weighted_mean`, forward"]
    assert rows["now"] == ["55", "16"]


def test_trainer_without_an_earlier_commit():
    rows = rows_of(training_tables.trainer({"what": "processor time", "after": measured(1)}))
    assert not [name for name in rows if "before" in name]
