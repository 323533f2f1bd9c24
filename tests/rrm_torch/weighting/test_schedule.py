from __future__ import annotations

import re
from functools import partial

import pytest

from rrm_torch import RRM
from rrm_torch.weighting import schedule
from rrm_torch.weighting.schedule import Ramp, due
from support.weighting import N


@pytest.mark.parametrize(
    ("warmup", "every", "expected"),
    [
        (1, 1, [1, 2, 3, 4, 5, 6, 7, 8, 9]),
        (3, 1, [3, 4, 5, 6, 7, 8, 9]),
        (1, 3, [1, 4, 7]),
        (4, 2, [4, 6, 8]),
        (9, 5, [9]),
        (10, 1, []),
    ],
)
def test_due_after_warmup_then_every_few_epochs(warmup, every, expected):
    assert [epoch for epoch in range(1, 10) if due(epoch, warmup=warmup, every=every)] == expected


def test_ramp_values():
    ramp = Ramp(0.3, over=3, first=0.1, after=2)
    expected = [0.1, 0.1, pytest.approx(1 / 6), pytest.approx(0.7 / 3), 0.3, 0.3]
    assert [ramp(epoch) for epoch in (0, 2, 3, 4, 5, 100)] == expected


def test_ramp_may_fall():
    assert [Ramp(0.0, over=2, first=0.5)(epoch) for epoch in range(4)] == [0.5, 0.25, 0.0, 0.0]


@pytest.mark.parametrize("over", [0, -1, float("nan")])
def test_ramp_rejects_length_below_one(over):
    with pytest.raises(ValueError, match="over must be at least 1 epoch"):
        Ramp(0.3, over=over)


def test_value_of_number_and_function():
    assert schedule.value(0.25, 7) == 0.25
    assert schedule.value(lambda epoch: epoch / 10, 7) == 0.7


def named(epoch):
    return 0.1


def test_descriptions_differ_between_schedules():
    assert schedule.describe(0.25) == 0.25
    assert schedule.describe(Ramp(0.3, over=3)) == "Ramp(final=0.3, over=3, first=0.0, after=0)"
    assert ".test_schedule.named, values " in schedule.describe(named)
    assert schedule.describe(lambda epoch: 0.1) != schedule.describe(lambda epoch: 0.2)
    assert len({schedule.describe(scaled(factor)) for factor in (0.1, 0.2, 0.1)}) == 2


def test_describe_rejects_objects_without_repr():
    for words in (partial(scaled, object()), partial(max, key=object()), type("Odd", (), {"__call__": named})()):
        with pytest.raises(
            TypeError, match=r"must not contain an address, got .* at 0x\w+>.*: give its objects a __repr__"
        ):
            schedule.describe(words)
    assert ".test_schedule.named), values " in schedule.describe(partial(max, key=named))
    assert ".test_schedule.named), values " in schedule.describe(partial(scaled, named))


def scaled(factor):
    return lambda epoch: factor * epoch


def half(share, epoch):
    return share / 2


def test_function_may_fail_for_late_epochs():
    shares = [0.1, 0.2, 0.3]
    assert (
        "values"
        in RRM(N, contamination=lambda epoch: shares[epoch - 1], warmup=1).state_dict()["settings"]["contamination"]
    )


def test_partial_schedule_has_same_description_in_every_process():
    described = schedule.describe(partial(half, 0.3))
    assert re.search(r"test_schedule\.half\(0\.3\), values \w{16}$", described)
    assert "0x" not in described
