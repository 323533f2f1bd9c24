"""A page on which a person judges suspicious labels: one HTML file that needs no server and no network."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rrm_core._arguments import as_integer
from rrm_core._atomic_write import atomic_write

from .corrections import Source, read_all
from .page_assembly import assemble_page
from .page_data import PageTable, as_page_data, read_table
from .page_samples import Kind, embed_samples, infer_kind

if TYPE_CHECKING:
    import pandas as pd

DEFAULT_IMAGES = 1_000  # on a page; their thumbnails take less than 10 MB


def write_page(
    issues: Mapping[str, npt.ArrayLike],
    samples: npt.ArrayLike | Sequence[Any] | Mapping[str, npt.ArrayLike] | pd.DataFrame,
    path: str | os.PathLike[str],
    *,
    kind: Kind | None = None,
    classes: Sequence[str] | None = None,
    title: str | None = None,
    notes: Iterable[str] = (),
    pruned: npt.ArrayLike | None = None,
    corrections: Source | Sequence[Source] = (),
    limit: int | None = None,
) -> int:
    """Write a page on which a person looks at samples and corrects their labels, by keys or by touch.

    The page is one HTML file that any browser opens, without a server or a network. It shows each sample with its given
    and its predicted label, stores the decisions in the browser, and exports them as ``corrections.csv`` or
    ``corrections.json``.

    Parameters
    ----------
    issues : mapping of str to array, shape (n_rows,)
        The table of `make_issues`, in any order of the rows, or some of its rows. ``index``, ``given_label`` and
        ``predicted_label`` are required; ``id`` identifies the samples in the export, the index by default.
        ``label_quality`` ranks the samples. Also with a meaning: ``confidence`` (the probability of the predicted
        label, in [0, 1]) and ``duplicates`` (a remark on samples of the same content, or an empty string). Other
        columns are shown with the details of a sample: booleans, integers, floating-point numbers or strings.
    samples : array, sequence, mapping or pandas.DataFrame
        All samples, in the order of the indices.

        Images: an array of shape (n, height, width) or (n, height, width, 1 or 3), of uint8 or of floating-point
        numbers in [0, 1]; or a sequence of paths, encoded files (bytes), PIL images or single arrays.
        Texts: a sequence of str.
        Table: a mapping of names to columns of length n, or a DataFrame.
    path : str or path
        The file; an existing one is replaced.
    kind : {"images", "texts", "table"}, optional
        What the samples are; by default as `samples` looks. A sequence of str holds texts, unless `kind` is "images":
        then file names.
    classes : sequence of str, optional
        The names of all classes, which labels can be changed to. If the labels are integers these are the names of
        0, 1, ..., and the export still has the integers. By default the distinct labels, given or predicted.
    title : str, optional
        By default "Label review".
    notes : iterable of str, optional
        Remarks on the data, for a panel that opens on request.
    pruned : array of bool, shape (n_reweights, n), optional
        Which samples each reweight pruned, by index; drawn as a small chart of each sample.
    corrections : str, path, mapping of str to array, or a sequence of these, optional
        Decisions of an earlier round, as `apply_corrections` takes them: the page starts with those on its samples, and
        repeats those on other samples in its exports.
    limit : int, optional
        The number of samples on the page, the most suspicious first: by ``label_quality``, then index. By default 1,000
        images, and all texts or rows of a table.

    Returns
    -------
    int
        The number of samples on the page.

    Raises
    ------
    TypeError
        Labels or identifiers are neither integers nor strings, or a column or the samples are of another type.
    ValueError
        A column is missing or has the wrong length, an index is no index of a sample or occurs twice, as does an
        identifier, a label is no class, two corrections of a sample differ, one was made of another given label, or an
        image has the wrong shape or values.
    ModuleNotFoundError
        `samples` are images and Pillow isn't installed.
    OSError
        The file can't be written. It is as before the call.

    Warns
    -----
    UserWarning
        Some image files can't be read; the page says so in their place.

    Notes
    -----
    Images are reduced to at most 160 pixels on the longer side; if they take more than 9 MB together they become
    smaller, and their JPEG quality lower.

    Examples
    --------
    >>> import numpy as np
    >>> import rrm_review
    >>> issues = {"index": np.arange(3), "given_label": [0, 1, 1], "predicted_label": [0, 0, 1]}
    >>> texts = ["a furry cat", "a cat that purrs", "a dog"]
    >>> rrm_review.write_page(issues, texts, "review.html", classes=["cat", "dog"])
    3
    """
    if kind is None:
        kind = infer_kind(samples)
    if kind not in ("images", "texts", "table"):
        raise ValueError(f"kind must be 'images', 'texts' or 'table', got {kind!r}")
    if limit is not None:
        limit = as_integer("limit", limit, 1, "a whole number, at least 1, or None")
    elif kind == "images":
        limit = DEFAULT_IMAGES
    table = read_table(issues, classes)
    rows = most_suspicious(table, limit)
    history = None if pruned is None else _read_pruned(pruned, table.index)
    content = embed_samples(kind, samples, table.index, rows)
    texts = _read_texts(notes)
    if title is not None and not isinstance(title, str):
        raise TypeError(f"title must be a string, got {title!r}")
    data = as_page_data(table, rows, kind, content, history, read_all(corrections))
    data |= {"title": title or "Label review", "notes": texts}
    page = assemble_page(data)
    with atomic_write(path) as file:
        file.write(page)
    return len(rows)


def most_suspicious(table: PageTable, limit: int | None) -> npt.NDArray[np.int64]:
    """Return the rows of the page in the order of suspicion: by quality, NaN last, then index."""
    quality = table.columns.get("label_quality")
    if quality is None:
        return np.argsort(table.index, kind="stable")[:limit]
    if quality.dtype.kind not in "iuf":
        raise TypeError(f"label_quality of issues must be numbers, got {quality.dtype}")
    return np.lexsort((table.index, quality))[:limit]


def _read_pruned(pruned: npt.ArrayLike, index: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Return the history of the samples in the table, shape (n_reweights, n_rows)."""
    array = np.asarray(pruned)
    if array.dtype != bool or array.ndim != 2 or (len(index) > 0 and array.shape[1] <= index.max()):
        raise ValueError(
            "pruned must be booleans of shape (n_reweights, n), one column for each sample, got "
            f"{array.dtype} of shape {array.shape}"
        )
    return array[:, index]


def _read_texts(notes: Iterable[str]) -> list[str]:
    if isinstance(notes, str):
        raise TypeError("notes must be a sequence of strings, got one string; put it into a list")
    texts = list(notes)
    for text in texts:
        if not isinstance(text, str):
            raise TypeError(f"notes must be strings, got {text!r}")
    return texts
