from __future__ import annotations

import pytest

from rrm_torch.schedule import due


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
def test_due_after_warmup_and_then_every_few_epochs(warmup, every, expected):
    assert [epoch for epoch in range(1, 10) if due(epoch, warmup=warmup, every=every)] == expected
