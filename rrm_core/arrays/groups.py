"""Groups: the group number of each sample, as the caller passes them, prepared for many calls."""

from __future__ import annotations

from typing import Any

import numpy as np
from array_api_compat import array_namespace, is_array_api_obj, is_dask_array

from .._arguments import as_integer
from ..definition.formats import Array
from ..definition.group_numbers import GroupNumbers
from ..definition.host_copy import copy_to_host
from .checks import check_kind, check_not_empty, check_one_dimensional
from .kinds import read_values
from .placement import placement_of
from .tensors import plain_tensor, view_as_numpy

MAX_GROUPS = 2**31 - 1


class Groups(GroupNumbers):
    """The group of each sample: its class, source, annotator, rule or domain.

    A prepared `Groups` can be passed wherever an array of group numbers can. It has checked and copied them, and the
    samples are sorted by group only once for all calls that use it.

    Parameters
    ----------
    groups : array of integers, shape (n,)
        The group of each sample, from 0 to ``n_groups - 1``: an array of any framework and on any device, or a list.
    n_groups : int, at least 1, optional
        Number of groups, of which some may have no sample; by default the largest group number + 1. With it, a Dask
        array is not computed here: the tasks that use it check their blocks.

    Attributes
    ----------
    n_groups : int
    numbers : int32 array of shape (n,)
        The group numbers: a NumPy array, which is read-only, or one of the framework and on the device of `groups`. A
        Dask array keeps its type.

    Raises
    ------
    TypeError
        `groups` is not an array of integers.
    ValueError
        `groups` is empty or not one-dimensional, or a group number lies outside [0, n_groups).

    Examples
    --------
    >>> import rrm_core
    >>> groups = rrm_core.Groups([0, 1, 1, 0, 1, 0])
    >>> groups.sizes
    array([3, 3])
    >>> losses = [0.1, 0.3, 0.2, 4.0, 0.4, 2.0]
    >>> weights, plan = rrm_core.reweight(losses, groups=groups, contamination=[0.0, 0.34], redistribute="kept")
    >>> weights
    array([1.2, 1.2, 1.2, 1.2, 0. , 1.2])
    """

    def __init__(self, groups: Any, n_groups: int | None = None) -> None:
        numbers = _to_integers(groups)
        check_not_empty("groups", numbers)
        if n_groups is not None:
            n_groups = check_n_groups(n_groups)
        if n_groups is not None and is_dask_array(numbers):
            super().__init__(numbers, n_groups)
        else:
            super().__init__(*_check_range("groups", numbers, n_groups))

    @property
    def sizes(self) -> Array:
        """Number of samples of each group: int64, shape (n_groups,)."""
        if self.on_host:
            return self.host_sizes
        return Groups(np.asarray(copy_to_host(self.numbers)), self.n_groups).host_sizes

    def __repr__(self) -> str:
        return f"Groups(n={len(self):_}, n_groups={self.n_groups:_})"


def to_groups(groups: Any, n: int, n_groups: int | None) -> GroupNumbers:
    """Return the groups of `n` losses; `n_groups` is their number, if it follows from another argument.

    Raises
    ------
    TypeError, ValueError
        As `Groups`; also if `groups` have another length.
    """
    prepared = groups if isinstance(groups, Groups) else Groups(groups, n_groups)
    if len(prepared) != n:
        raise ValueError(f"groups must have one entry per loss, got {len(prepared):_} for {n:_} losses")
    return prepared


def check_n_groups(n_groups: Any) -> int:
    """Return a number of groups.

    Raises
    ------
    ValueError
        It is not a whole number from 1 to `MAX_GROUPS`.
    """
    number = as_integer("n_groups", n_groups, 1, "a whole number, at least 1, or None")
    if number > MAX_GROUPS:
        raise ValueError(f"n_groups must be below 2**31, got {n_groups}")
    return number


def to_host_integers(name: str, groups: Any) -> Array:
    """Return group numbers, of which there need not be any, as a NumPy array of integers.

    Raises
    ------
    TypeError, ValueError
        As `Groups`, but for their range.
    """
    numbers = groups.numbers if isinstance(groups, GroupNumbers) else _to_integers(groups, name)
    return numbers if isinstance(numbers, np.ndarray) else np.asarray(copy_to_host(numbers))


def to_host_groups(name: str, groups: Any, n: int, n_groups: int, start: int = 0) -> Array:
    """Return the group numbers of `n` losses, of which there need not be any, as int32 on the host.

    Parameters
    ----------
    name : str
        Name of the argument, for messages.
    groups : array of integers, shape (n,), Groups or GroupNumbers
    n : int
    n_groups : int
    start : int
        Index of the first of them among all samples, for messages.

    Raises
    ------
    TypeError, ValueError
        As `Groups`; also if there are more groups, or group numbers of another length.
    """
    is_checked = isinstance(groups, GroupNumbers) and not is_dask_array(groups.numbers)
    is_valid = is_checked and groups.n_groups <= n_groups
    numbers = to_host_integers(name, groups)
    if len(numbers) != n:
        raise ValueError(f"{name} must have one entry per loss, got {len(numbers):_} for {n:_} losses")
    if not is_valid and n:
        numbers, _ = _check_range(name, numbers, n_groups, start)
    return np.ascontiguousarray(numbers, np.int32)


def _to_integers(groups: Any, name: str = "groups") -> Any:
    """Return group numbers, of which there need not be any, as an array of integers: of NumPy if on the host."""
    if isinstance(groups, (list, tuple)) and not groups:
        # An empty list has no type.
        groups = np.empty(0, np.int32)
    dtype = None
    read = read_values(name, groups)
    if read is not None:
        groups, dtype = read[1]
    elif not is_array_api_obj(groups):
        groups = _from_sequence(name, groups)
    check_kind(name, groups)
    placement = placement_of(groups, native=False)
    if placement.framework == "torch":
        groups = plain_tensor(groups)
    xp = array_namespace(groups)
    if not xp.isdtype(groups.dtype, "integral"):
        raise TypeError(f"{name} must be integers, got {dtype or groups.dtype}; number the groups 0, 1, 2, ...")
    check_one_dimensional(name, groups)
    if placement.on_host:
        return view_as_numpy(groups) if placement.framework == "torch" else np.asarray(groups)
    return groups


def _from_sequence(name: str, groups: Any) -> Array:
    try:
        return np.asarray(groups)
    except ValueError as error:
        raise TypeError(f"{name} must be an array or a flat list of integers: {error}") from None


def _check_range(name: str, numbers: Any, n_groups: int | None, start: int = 0) -> tuple[Any, int]:
    """Return a copy of group numbers as int32, and the number of groups."""
    xp = array_namespace(numbers)
    if is_dask_array(numbers):
        # Computed once for both.
        smallest, largest = np.asarray(xp.stack([xp.min(numbers), xp.max(numbers)])).tolist()
    else:
        smallest = int(xp.min(numbers))
        largest = int(xp.max(numbers))
    end = largest + 1 if n_groups is None else n_groups
    if smallest < 0 or largest >= end:
        outside = numbers < 0
        if largest >= end:  # otherwise `end` may lie beyond the numbers of the type
            outside = outside | (numbers >= end)
        first = int(xp.argmax(xp.astype(outside, xp.uint8)))
        raise ValueError(
            f"{name} must lie in [0, {max(end, 1):_}), but {int(xp.count_nonzero(outside)):_} of "
            f"{int(numbers.shape[0]):_} do not, the first {int(numbers[first])} at index {start + first}"
        )
    if end > MAX_GROUPS:
        raise ValueError(
            f"groups must be fewer than 2**31, got {end:_}; number them 0, 1, 2, ..., as "
            "np.unique(groups, return_inverse=True)[1] does"
        )
    return xp.astype(numbers, xp.int32, copy=True), end
