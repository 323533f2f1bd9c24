from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from rrm_torch import RRM
from rrm_torch.weighting.fingerprint import fingerprint
from support.weighting import N


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
def test_rejects_state_of_other_ids(ids, others):
    assert fingerprint(ids) == fingerprint(ids)
    first, other = (RRM(N, contamination=0.3, ids=given) for given in (ids, others))
    with pytest.raises(ValueError, match="state was saved for another data set: the hash of its ids"):
        other.load_state_dict(first.state_dict())
    RRM(N, contamination=0.3, ids=ids).load_state_dict(first.state_dict())


def test_container_of_ids_does_not_matter():
    numbers = list(range(5))
    assert fingerprint(numbers) == fingerprint(np.array(numbers)) == fingerprint(torch.tensor(numbers))
    assert fingerprint(["a", "bc"]) == fingerprint(np.array(["a", "bc"], dtype="U9")) == fingerprint([b"a", b"bc"])


def test_accepts_paths_and_pandas_strings():
    names = ["a.png", "b.png"]
    series = pd.Series(names, dtype=object)
    assert fingerprint(names) == fingerprint([Path(name) for name in names]) == fingerprint(series)
