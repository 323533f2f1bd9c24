from __future__ import annotations

import io

import numpy as np
import pytest
import torch

from rrm_torch import RRM
from rrm_torch.weighting.schedule import Ramp
from support.weighting import LOSSES, N, one_epoch


@pytest.mark.parametrize("number", [np.float32, np.float64])
def test_numpy_settings_are_saved_as_python_numbers(number):
    rrm = RRM(np.int64(5), contamination=number(0.2), mu=number(0.5), warmup=np.int32(1), redistribute=number(0.5))
    one_epoch(rrm)
    file = io.BytesIO()
    torch.save(rrm.state_dict(), file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    assert state["settings"]["contamination"] == 0.2
    RRM(5, contamination=0.2, mu=0.5, warmup=1, redistribute=0.5).load_state_dict(state)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"n": 0, "contamination": 0.2}, ValueError, "n must be at least 1, got 0"),
        ({"n": 2.0, "contamination": 0.2}, TypeError, "n must be an integer, got 2.0"),
        ({"n": 5, "contamination": 0.2, "gamma": 1.0}, ValueError, "exactly one of contamination and gamma"),
        ({"n": 5, "contamination": 1.0}, ValueError, r"contamination must lie in \[0, 1\), got 1.0"),
        ({"n": 5, "gamma": -1.0}, ValueError, "gamma must be at least 0, got -1.0"),
        ({"n": 5, "gamma": 1.0, "mu": 2}, ValueError, r"mu must lie in \(0, 1\], got 2"),
        ({"n": 5, "gamma": 1.0, "warmup": 0}, ValueError, "warmup must be at least 1, got 0"),
        ({"n": 5, "gamma": 1.0, "every": True}, ValueError, "every must be at least 1, got True"),
        ({"n": 5, "gamma": 1.0, "nan": "drop"}, ValueError, "nan must be 'raise' or 'prune', got 'drop'"),
        ({"n": 5, "gamma": 1.0, "redistribute": "all"}, ValueError, "redistribute must be .*got 'all'"),
        ({"n": 5, "gamma": 1.0, "ties": "share"}, ValueError, "ties='share' needs contamination"),
    ],
)
def test_rejects_invalid_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        RRM(**arguments)


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
        ({"contamination": 0.2, "ids": [None] * 10}, TypeError, "ids must be text or numbers, got NoneType among them"),
    ],
)
def test_rejects_invalid_options(settings, error, message):
    with pytest.raises(error, match=message):
        RRM(**({"n": N} | settings))


def test_contamination_zero_prunes_nothing():
    assert RRM(4, contamination=0, warmup=1).step(LOSSES[:4]).n_pruned == 0


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
def test_rejects_invalid_ends_of_ramp(options, message):
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
def test_rejects_arguments_of_wrong_type(options, message):
    with pytest.raises(TypeError, match=message):
        RRM(N, contamination=0.3, **options)
