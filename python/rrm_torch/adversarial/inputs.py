"""The part of a batch's inputs that an attack perturbs."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from torch import Tensor

from .._models import map_leaves

T = TypeVar("T")


class AttackedInputs(Generic[T]):
    """Inputs with one floating-point tensor, the one to attack.

    Parameters
    ----------
    x : Tensor, or nesting of mappings, lists and tuples
        A batch's inputs.

    Attributes
    ----------
    tensor : Tensor, shape (batch, ...)
        The floating-point tensor.

    Raises
    ------
    TypeError
        There is no such tensor, or more than one.
    """

    def __init__(self, x: T) -> None:
        if isinstance(x, Tensor) and not x.is_floating_point():
            raise TypeError(f"x must be floating-point, got {x.dtype}; convert with x.float()")
        tensors: list[Tensor] = []

        def collect(leaf: Any) -> Any:
            if isinstance(leaf, Tensor) and leaf.is_floating_point():
                tensors.append(leaf)
            return leaf

        map_leaves(collect, x)
        if len(tensors) != 1:
            raise TypeError(
                f"x must be a floating-point tensor, or hold exactly one, which is attacked, got {len(tensors)} in "
                f"{type(x).__name__}; attack a model that takes one tensor, such as the embeddings of a text"
            )
        self.tensor = tensors[0]
        self._x = x

    def replaced_by(self, points: Tensor) -> T:
        """Return the inputs with `points` in place of the tensor; the containers are new."""
        return map_leaves(lambda leaf: points if leaf is self.tensor else leaf, self._x)
