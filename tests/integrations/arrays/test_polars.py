"""Series of polars: read without a copy, and the weights are a Series with the same name."""

from __future__ import annotations

import re

import numpy as np
import polars as pl
import pytest

import rrm_core
from rrm_core.arrays import kinds
from support.array_kinds import RULE, N, assert_parts_and_groups_are_read, assert_result_is_in_kind
from support.families import assert_same_bits, losses

C = losses("exponential", N, "float32")


# Older releases of polars have no float16.
@pytest.mark.parametrize("dtype", [*(["float16"] if hasattr(pl, "Float16") else []), "float32", "float64"])
def test_series_gives_a_series(dtype):
    assert_result_is_in_kind(lambda values: pl.Series("loss", values), pl.Series.to_numpy, dtype)


def test_series_in_parts_groups_and_estimates():
    assert_parts_and_groups_are_read(pl.Series, pl.Series.to_numpy)


def test_weights_have_the_name_of_the_losses_and_losses_are_not_copied():
    c = pl.DataFrame({"loss": C})["loss"]
    weights, _ = rrm_core.reweight(c, **RULE)
    assert weights.name == "loss"
    assert weights.dtype == pl.Float32
    read = kinds.as_array("losses", c)
    assert read.__array_interface__["data"] == c.to_numpy().__array_interface__["data"]


def test_series_of_several_chunks():
    c = pl.concat([pl.Series(C[:7]), pl.Series(C[7:])], rechunk=False)
    assert c.n_chunks() == 2
    assert_same_bits(rrm_core.reweight(c, **RULE)[0].to_numpy(), rrm_core.reweight(C, **RULE)[0])


def test_nulls_are_refused_with_their_number_and_a_remedy():
    c = pl.Series([0.5, None, 2.0, None])
    message = (
        "losses has 2 missing values among 4; leave these samples out, or pass losses.fill_null(float('nan')), "
        "whose NaN are pruned with nan='prune'"
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        rrm_core.plan(c, gamma=1.0)
    assert rrm_core.plan(c.fill_null(float("nan")), gamma=1.0, nan="prune").n_nan == 2


@pytest.mark.parametrize(
    ("c", "message"),
    [
        (pl.Series(["a"]), "got String; pass one real number per sample"),
        (pl.Series([[0.5]]), "got List(Float64); pass one real number per sample"),
        (pl.Series([1, 2]), "got int64; convert them to float32"),
        (pl.DataFrame({"loss": C}), "losses is a table, got DataFrame; pass one column, such as losses['loss']"),
        (pl.LazyFrame({"loss": C}), "losses is a lazy table, got LazyFrame; pass one column, such as losses.collect()"),
    ],
    ids=["text", "lists", "integers", "table", "lazy table"],
)
def test_other_kinds_are_refused_with_a_remedy(c, message):
    with pytest.raises(TypeError, match=re.escape(message)):
        rrm_core.plan(c, **RULE)


def test_series_is_refused_as_out():
    with pytest.raises(TypeError, match="out can't be a polars Series, which is not written in place; leave it out"):
        rrm_core.reweight(C, out=pl.Series(np.ones(N, np.float32)), **RULE)
