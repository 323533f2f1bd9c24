"""DataArrays of xarray: the weights have dimension, coordinates and name of the losses."""

from __future__ import annotations

import re

import dask.array as da
import numpy as np
import pytest
import xarray as xr

import rrm_core
from rrm_core.arrays import kinds
from support.array_kinds import GROUPS, RULE, N, assert_parts_and_groups_are_read, assert_result_is_in_kind
from support.families import losses, old_weights

C = losses("exponential", N, "float32")
W = old_weights(N, "float32")
FILES = [f"image {i}" for i in range(N)]


def to_numpy(array):
    return array.to_numpy()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_data_array_gives_a_data_array(dtype):
    backends = (None, "numpy")
    assert_result_is_in_kind(lambda values: xr.DataArray(values, dims="sample"), to_numpy, dtype, backends=backends)


def test_data_arrays_in_parts_groups_and_estimates():
    assert_parts_and_groups_are_read(lambda values: xr.DataArray(values, dims="sample"), to_numpy)


def test_weights_have_dimension_coordinates_and_name_of_the_losses():
    coordinates = {"file": ("sample", FILES), "class": ("sample", GROUPS), "epoch": 3}
    c = xr.DataArray(C, dims="sample", coords=coordinates, name="loss", attrs={"units": "nat"})
    weights, _ = rrm_core.reweight(c, **RULE)
    values, _ = rrm_core.reweight(C, **RULE)
    xr.testing.assert_identical(weights, xr.DataArray(values, dims="sample", coords=coordinates, name="loss"))
    assert kinds.as_array("losses", c) is c.data


def test_different_labels_are_refused():
    c = xr.DataArray(C, coords={"file": FILES}, dims="file")
    plain = xr.DataArray(W, dims="file")
    rrm_core.reweight(c, plain, mu=0.5, **RULE)
    rrm_core.reweight(c, c.copy(data=W), mu=0.5, **RULE)
    for weights, difference in (
        (plain.assign_coords(file=FILES[::-1]), "different indexes, the first at position 0: 'image 0' and 'image 59'"),
        (plain.rename(file="image"), "dimensions file and image"),
    ):
        with pytest.raises(ValueError, match=re.escape(f"losses and weights have {difference}; they are not aligned")):
            rrm_core.reweight(c, weights, mu=0.5, **RULE)
        with pytest.raises(ValueError, match=re.escape(f"losses and groups have {difference}; they are not aligned")):
            rrm_core.reweight(c, groups=weights.copy(data=GROUPS), **RULE)


def test_other_kinds_are_refused_with_a_remedy():
    lazy = xr.DataArray(da.from_array(C), dims="sample")
    for c, message in (
        (lazy, "losses is a DataArray of a Array; pass losses.data"),
        (
            xr.Dataset({"loss": ("sample", C)}),
            "losses is a data set, got Dataset; pass one variable, such as losses['loss']",
        ),
        (xr.DataArray(np.ones((2, 3))), "losses must be one-dimensional, got shape (2, 3)"),
    ):
        with pytest.raises((TypeError, ValueError), match=re.escape(message)):
            rrm_core.plan(c, **RULE)
    assert rrm_core.plan(lazy.data, **RULE) == rrm_core.plan(C, **RULE)
