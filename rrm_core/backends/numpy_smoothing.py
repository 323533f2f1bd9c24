"""The last step of the reference backend: new weights from the targets and the old weights."""

from __future__ import annotations

from ..definition.formats import Array
from ..definition.old_weights import InvalidWeights, find_invalid_weights


def smooth(target: Array, old_weights: Array | None, mu: float, out: Array) -> tuple[Array, InvalidWeights | None]:
    """Write ``(1 - mu) * old_weights + mu * target`` to `out`, each operation rounded in its type.

    Returns `out` and the invalid old weights. `old_weights` None stands for ones; they may be `out`.
    """
    if mu == 1:
        out[...] = target
        return out, None
    a = out.dtype.type(1 - mu)
    b = out.dtype.type(mu)
    if old_weights is None:
        out[...] = a + b * target
        return out, None
    # Before they are overwritten: `out` may be `old_weights`.
    invalid = find_invalid_weights(old_weights)
    out[...] = a * old_weights + b * target
    return out, invalid
