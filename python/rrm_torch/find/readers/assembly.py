"""The last step of every reader: labels become codes, and samples that can't be used are left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .label_codes import encode_labels
from .labelled_data import Kind, LabelledData, LeftOut, View, join_names, select

LARGEST_INT64 = np.iinfo(np.int64).max


def assemble(
    *,
    name: str,
    where: str,
    kind: Kind,
    samples: Any,
    labels: Sequence[Any] | npt.NDArray[Any],
    ids: npt.NDArray[Any],
    notes: Sequence[str],
    unusable: Mapping[int, str] | None = None,
    class_names: Sequence[str] | None = None,
    view: View | None = None,
) -> LabelledData:
    """Return the usable samples of a source.

    Parameters
    ----------
    name : str
        Name of the file or folder.
    where : str
        The file and the column of labels, for messages.
    kind : {"images", "texts", "table", "features", "probabilities"}
    samples : list, np.ndarray or pandas.DataFrame, of length n
    labels : sequence, shape (n,)
        As the source has them, see `encode_labels`.
    ids : np.ndarray, shape (n,)
    notes : sequence of str
    unusable : mapping of int to str, optional
        Why a sample can't be used, by its position.
    class_names : sequence of str, optional
        The name of each class, if the source has them.
    view : View, optional
        What a person looks at, of all n samples.

    Returns
    -------
    LabelledData

    Raises
    ------
    ValueError, TypeError
        See `encode_labels`; or the number of samples differs from that of the labels.
    """
    if len(samples) != len(labels):
        raise ValueError(f"{where} must have one label per sample, got {len(labels):,} for {len(samples):,} samples")
    unusable = unusable or {}
    if unusable and len(unusable) == len(labels):
        raise ValueError(f"{where}: none of the {len(labels):,} samples can be used: {next(iter(unusable.values()))}")
    encoded = encode_labels(where, labels, unusable, class_names)
    reasons = dict(sorted({**unusable, **encoded.missing}.items()))
    ids = _plain_ids(ids)
    all_notes = [*notes, *encoded.notes]
    if reasons:
        all_notes.append(_summarise(reasons))
    return LabelledData(
        name=name,
        kind=kind,
        samples=select(samples, encoded.rows),
        labels=encoded.codes,
        classes=encoded.classes,
        ids=ids[encoded.rows],
        notes=all_notes,
        left_out=[LeftOut(ids[row], reason) for row, reason in reasons.items()],
        view=None if view is None else View(view.kind, select(view.samples, encoded.rows)),
    )


def _plain_ids(ids: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return integers as int64, if it holds them, and all else as Python strings."""
    if ids.dtype.kind == "i" or (ids.dtype.kind == "u" and not (ids > LARGEST_INT64).any()):
        return ids.astype(np.int64)
    plain = np.empty(len(ids), object)
    plain[:] = [str(item) for item in ids.tolist()]
    return plain


def _summarise(reasons: Mapping[int, str]) -> str:
    counts: dict[str, int] = {}
    for reason in reasons.values():
        counts[reason] = counts.get(reason, 0) + 1
    most_common = sorted(counts, key=lambda reason: -counts[reason])
    parts = [f"{counts[reason]:,} ({reason})" for reason in most_common]
    return f"Samples left out: {join_names(parts)}."
