"""Argilla: records with suggestions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

from rrm_core import __version__

from .columns import check_unicode, json_values, label_texts, read_table, select_samples

ARGILLA_MAPPING = {"score": "label.suggestion.score", "model": "label.suggestion.agent"}
"""The `mapping` of ``records.log`` for the records of `to_argilla`."""


def to_argilla(issues: Mapping[str, npt.ArrayLike], texts: Any) -> list[dict[str, Any]]:
    """Return a table as records of Argilla, which suggest the predicted labels.

    Parameters
    ----------
    issues : mapping of str to array, shape (rows,)
        A table from `make_issues`, or some of its rows, with ``given_label`` and ``predicted_label``. The records have
        the order of the rows.
    texts : sequence of str, shape (n,)
        In the order of the samples.

    Returns
    -------
    list of dict
        For ``dataset.records.log(records, mapping=rrm_review.ARGILLA_MAPPING)``. The settings of the dataset have the
        text fields ``text`` and ``given_label`` and the label question ``label``.

        ``id``: the number of the sample, a string.
        ``text``, ``given_label``: strings.
        ``label``, ``score``, ``model``: the suggestion; its score is ``label_quality``, of which the lowest are to be
        reviewed first.

    Raises
    ------
    TypeError
        `texts` holds other objects than strings.
    ValueError
        A column is missing, a text of the table is missing from `texts`, or a string holds a lone surrogate, which
        Argilla can't receive.
    """
    table = read_table("to_argilla", issues, "given_label", "predicted_label", "label_quality")
    columns = {
        "id": [str(number) for number in table["index"].tolist()],
        "text": check_unicode("texts", select_samples("texts", texts, table["index"]).tolist()),
        "given_label": label_texts("column 'given_label' of issues", table["given_label"]),
        "label": label_texts("column 'predicted_label' of issues", table["predicted_label"]),
        "score": json_values("column 'label_quality' of issues", table["label_quality"]),
        "model": [f"rrm-core {__version__}"] * len(table["index"]),
    }
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
