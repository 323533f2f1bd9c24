"""Label Studio: tasks with predictions, and the labelling configuration."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, TypeAlias, get_args
from xml.sax.saxutils import quoteattr

import numpy.typing as npt

from rrm_core import __version__

from ..issues import Column
from .columns import check_unicode, json_values, label_texts, read_table, select_samples
from .json_file import write_list

Kind: TypeAlias = Literal["images", "texts", "table"]

TAGS = {"images": "Image", "texts": "Text", "table": "Table"}
"""The tag of Label Studio that shows a sample. In lower case it is the name of the sample in a task."""

LABELS = ("given_label", "predicted_label")
DATA_NAMES = {"index": "rrm_index", "sample_weight": "weight"}
"""Names in the data of a task, where they differ from those of the columns."""

MISSING = frozenset({"None", "nan", "inf", "-inf", "NaT", "<NA>"})
"""Missing values of NumPy and pandas, and infinities, as text."""

VARIABLE = re.compile(r"\$[\w\[\].{}]")
FORBIDDEN_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def to_label_studio(
    issues: Mapping[str, npt.ArrayLike],
    samples: Any,
    path: str | os.PathLike[str],
    *,
    kind: Kind,
    model_version: str | None = None,
) -> None:
    """Write a table as tasks that Label Studio imports: the predicted label is preselected.

    Parameters
    ----------
    issues : mapping of str to array, shape (rows,)
        A table from `make_issues`, or some of its rows, with ``given_label`` and ``predicted_label``. The tasks have
        the order of the rows.
    samples : sequence of str or path, shape (n,), or mapping of str to array, shape (n,)
        What the annotator sees, in the order of the samples: with `kind` "images" the URLs or paths of images, written
        as they are; with "texts" the texts; with "table" the columns of a table, such as a pandas DataFrame,
        whose cells are written as text and whose missing values and infinities as null.
    path : str or path
        The JSON file; an existing one is replaced.
    kind : {"images", "texts", "table"}
        What the samples are, as in `label_studio_config`.
    model_version : str, optional
        The name of the predictions in Label Studio. By default ``rrm-core`` and its version.

    Raises
    ------
    TypeError
        A column, or `samples`, holds other types than these.
    ValueError
        A column is missing, a sample of the table is missing from `samples`, the table has a column ``image``,
        ``text`` or ``table``, or a string holds a lone surrogate, which JSON can't represent. The file is as before the
        call.
    OSError
        The file can't be written. It is as before the call.

    Notes
    -----
    The ``data`` of a task holds the sample under ``image``, ``text`` or ``table``, ``rrm_index``, the number of the
    sample, and the other columns under their names, ``sample_weight`` as ``weight``; labels are strings. A prediction
    has the predicted label, and ``label_quality`` as its score: the lowest are to be reviewed first. NaN and infinities
    are null.

    Label Studio reads local images from URLs such as ``/data/local-files/?d=folder/a.png``, if its server allows that.
    """
    _check_kind(kind)
    table = read_table("to_label_studio", issues, *LABELS, "label_quality")
    data = _read_data(table)
    name = TAGS[kind].lower()
    if name in data:
        raise ValueError(f"issues must have no column {name!r}, which holds the samples in Label Studio; rename it")
    data = {name: _read_samples(samples, table["index"], kind), **data}
    if model_version is None:
        model_version = f"rrm-core {__version__}"
    check_unicode("model_version", [model_version])
    write_list(path, _make_tasks(data, name, model_version))


def label_studio_config(classes: Iterable[str | int], kind: Kind) -> str:
    """Return the labelling configuration for the tasks of `to_label_studio`, as XML.

    Parameters
    ----------
    classes : iterable of str or int
        The names or numbers of the classes, in the order in which the annotator sees them.
    kind : {"images", "texts", "table"}
        What the samples are.

    Returns
    -------
    str
        The sample, its given label, and one choice for each class.

    Raises
    ------
    ValueError
        There is no class, two have the same name, or a name can't be a choice: it is empty, holds a character that XML
        can't represent, or holds a ``$`` before a letter, digit, dot or bracket, which Label Studio takes for a
        variable.

    Examples
    --------
    >>> import rrm_review
    >>> print(rrm_review.label_studio_config(["cat", "dog"], "images"))
    <View>
      <Header value="Given label: $given_label"/>
      <Image name="image" value="$image"/>
      <Choices name="label" toName="image" choice="single">
        <Choice value="cat"/>
        <Choice value="dog"/>
      </Choices>
    </View>
    """
    _check_kind(kind)
    names = [str(name) for name in classes]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"classes must be distinct names, at least one, got {names}")
    for name in names:
        if not name or VARIABLE.search(name) or FORBIDDEN_IN_XML.search(name):
            raise ValueError(
                f"classes must be names that Label Studio can show, got {name!r}; rename it, without characters that "
                "XML can't represent and without a $ before a letter, digit, dot or bracket"
            )
    tag = TAGS[kind]
    choices = "\n".join(f"    <Choice value={quoteattr(name)}/>" for name in names)
    return (
        "<View>\n"
        '  <Header value="Given label: $given_label"/>\n'
        f'  <{tag} name="{tag.lower()}" value="${tag.lower()}"/>\n'
        f'  <Choices name="label" toName="{tag.lower()}" choice="single">\n'
        f"{choices}\n"
        "  </Choices>\n"
        "</View>"
    )


def _check_kind(kind: str) -> None:
    if kind not in get_args(Kind):
        raise ValueError(f"kind must be 'images', 'texts' or 'table', got {kind!r}")


def _read_data(table: Mapping[str, Column]) -> dict[str, list[Any]]:
    """Return the columns under their names in a task."""
    data = {}
    for name, column in table.items():
        read = label_texts if name in LABELS else json_values
        data[DATA_NAMES.get(name, name)] = read(f"column {name!r} of issues", column)
    return data


def _read_samples(samples: Any, index: Column, kind: Kind) -> list[Any]:
    """Return the sample of each row."""
    if kind != "table":
        if hasattr(samples, "items"):
            raise TypeError(f"samples must be a sequence with kind={kind!r}, got a mapping; pass kind='table'")
        items = select_samples("samples", samples, index).tolist()
        if kind == "images":
            items = [os.fspath(item) if isinstance(item, os.PathLike) else item for item in items]
        return check_unicode("samples", items)
    if not hasattr(samples, "items"):
        raise TypeError(
            f"samples must be a mapping of names to columns with kind='table', got {type(samples).__name__}; "
            "convert an array, dict(zip(names, array.T))"
        )
    names = []
    columns = []
    for name, values in samples.items():
        argument = f"samples[{name!r}]"
        names.append(str(name))
        columns.append(_cell_texts(argument, select_samples(argument, values, index)))
    check_unicode("the names of samples", names)
    if not columns or len(set(names)) < len(names):
        raise ValueError(f"samples must have columns of distinct names, at least one, got {names}")
    return [dict(zip(names, cells, strict=True)) for cells in zip(*columns, strict=True)]


def _cell_texts(name: str, column: Column) -> list[str | None]:
    """Return the cells of a column as text; missing values and infinities are None."""
    if column.dtype.kind in "mM":
        # As Python objects, times in nanoseconds would be integers.
        return [None if text == "NaT" else text for text in column.astype(str).tolist()]
    cells = json_values(name, column) if column.dtype.kind == "f" else column.tolist()
    texts = check_unicode(name, [str(cell) for cell in cells])
    is_missing = [text in MISSING and not isinstance(cell, str) for text, cell in zip(texts, cells, strict=True)]
    return [None if missing else text for text, missing in zip(texts, is_missing, strict=True)]


def _make_tasks(data: Mapping[str, list[Any]], sample_name: str, model_version: str) -> Iterator[dict[str, Any]]:
    for values in zip(*data.values(), strict=True):
        task = dict(zip(data, values, strict=True))
        choice = {
            "from_name": "label",
            "to_name": sample_name,
            "type": "choices",
            "value": {"choices": [task["predicted_label"]]},
        }
        prediction = {"model_version": model_version, "score": task["label_quality"], "result": [choice]}
        yield {"data": task, "predictions": [prediction]}
