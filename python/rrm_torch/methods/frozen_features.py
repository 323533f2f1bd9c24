"""Features of a frozen model, for a linear probe: computed from inputs, or read from a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from rrm_core._npy_header import NpyHeader, read_npy_header

from .._checks import check_count
from .._models import autocast_context, device_of, evaluation_mode, no_grad_context, to_device, unwrap_ddp

FLOATS = ("float16", "float32", "float64")
ROWS_PER_CHECK = 4096


class Inputs(Protocol):
    """Inputs that are fetched in batches, such as images that are decoded when they are needed."""

    def __len__(self) -> int:
        """Return the number of samples."""
        ...

    def __getitem__(self, index: Tensor, /) -> Any:
        """Return a batch of inputs by their indices, int64 of shape (batch,)."""
        ...


def extract_features(
    model: nn.Module,
    inputs: Tensor | Inputs,
    *,
    batch_size: int = 64,
    prepare: Callable[[Any], Any] | None = None,
    autocast: torch.dtype | None = None,
) -> Tensor:
    """Return the outputs of a model for all inputs, in evaluation mode and without gradients.

    Parameters
    ----------
    model : nn.Module
        Maps a batch to one row of features per sample, shape (batch, d). It runs on the device of its parameters.
    inputs : Tensor, shape (n, ...), or Inputs
        A tensor, or anything with ``len(inputs)`` whose ``inputs[index]`` is a batch of inputs, for an int64 tensor of
        indices.
    batch_size : int, default 64
    prepare : callable, optional
        Maps each batch to what the model expects, such as images of another size; on the model's device.
    autocast : torch.dtype, optional
        Mixed precision: ``torch.bfloat16``.

    Returns
    -------
    Tensor of float32, shape (n, d)
        On the CPU.

    Raises
    ------
    TypeError, ValueError
        `inputs` is empty, `batch_size` isn't a positive integer, or the model doesn't return one row of finite
        features per sample.

    Examples
    --------
    >>> import torch
    >>> from rrm_torch.methods import extract_features
    >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.ReLU())
    >>> extract_features(model, torch.tensor([[[1.0, -2.0]], [[-3.0, 4.0]]]))
    tensor([[1., 0.],
            [0., 4.]])
    """
    check_count("batch_size", batch_size)
    n = len(inputs)
    if not n:
        raise ValueError("inputs must hold at least one sample, got none")
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a module that returns features, got {type(model).__name__}")
    model = unwrap_ddp(model)
    device = device_of(model)
    features: Tensor | None = None
    with evaluation_mode(model):
        for start in range(0, n, batch_size):
            index = torch.arange(start, min(start + batch_size, n))
            batch = to_device(inputs[index], device)
            with no_grad_context(model), autocast_context(device, autocast):
                if prepare is not None:
                    batch = prepare(batch)
                rows = _check_rows(model(batch), index)
            if features is None:
                # Outside inference mode: tensors made inside can't be trained on.
                features = torch.empty(n, rows.shape[1])
            elif rows.shape[1] != features.shape[1]:
                raise ValueError(
                    f"model must return as many features for each sample, got {features.shape[1]} and then "
                    f"{rows.shape[1]} at sample {start}"
                )
            features[start : start + len(rows)] = rows
    assert features is not None
    return features


def _check_rows(outputs: object, index: Tensor) -> Tensor:
    """Return a batch of outputs as float32 on the CPU; raise unless they are one row of finite numbers per sample."""
    if not isinstance(outputs, Tensor) or not outputs.is_floating_point():
        kind = outputs.dtype if isinstance(outputs, Tensor) else type(outputs).__name__
        raise TypeError(f"model must return a floating-point tensor, got {kind}; wrap a model that returns several")
    if outputs.ndim != 2 or len(outputs) != len(index):
        raise ValueError(
            f"model must return one row of features per sample, shape ({len(index)}, d), got {tuple(outputs.shape)}; "
            "average feature maps over their pixels, and outputs of a sequence over its tokens"
        )
    rows = outputs.float().cpu()
    is_finite = rows.isfinite().all(1)
    if not bool(is_finite.all()):
        sample = int(index[int((~is_finite).nonzero()[0])])
        raise ValueError(f"model must return finite features, got NaN or infinity for sample {sample}")
    return rows


def load_features(path: str | Path) -> Tensor:
    """Return the features in a .npy file, mapped into memory instead of read as a whole.

    Parameters
    ----------
    path : str or Path
        File of ``numpy.save`` with a matrix of one row per sample, of float16, float32 or float64. The tensor depends
        on it: the file must not change while the tensor is used.

    Returns
    -------
    Tensor of float16, float32 or float64, shape (n, d)
        Changes of it aren't written to the file.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    TypeError
        The file holds something else than floating-point numbers.
    ValueError
        It isn't a .npy file, is truncated, isn't a matrix with at least one row and one column, or a number isn't
        finite.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"features {str(path)!r} isn't an existing file; numpy.save writes one")
    with path.open("rb") as file:
        try:
            header = read_npy_header(file)
        except ValueError as error:
            raise ValueError(f"features {path} isn't a .npy file, such as numpy.save writes: {error}") from error
        offset = file.tell()
    _check_header(path, header)
    expected = offset + header.n_bytes
    if path.stat().st_size < expected:
        raise ValueError(
            f"features {path} is truncated: with shape {header.shape} of {header.dtype} it would have {expected:,} "
            f"bytes, but it has {path.stat().st_size:,}; save it again"
        )
    order = "F" if header.fortran_order else "C"
    # Copy on write: torch warns about arrays that can't be written.
    rows = np.memmap(path, header.dtype, "c", offset, header.shape, order)  # type: ignore[call-overload]
    _check_finite(path, rows)
    return torch.from_numpy(rows)


def _check_header(path: Path, header: NpyHeader) -> None:
    """Raise unless a file holds a matrix of floating-point numbers."""
    if header.dtype.hasobject:
        raise TypeError(f"features {path} must hold numbers, got pickled objects, which are never loaded")
    if header.dtype.name not in FLOATS or not header.dtype.isnative:
        raise TypeError(
            f"features {path} must hold {', '.join(FLOATS)} in this machine's byte order, got {header.dtype.str}; "
            "convert with features.astype('float32')"
        )
    if len(header.shape) != 2 or 0 in header.shape:
        raise ValueError(
            f"features {path} must be a matrix, one row per sample and at least one column, got shape {header.shape}"
        )


def _check_finite(path: Path, rows: npt.NDArray[Any]) -> None:
    for start in range(0, len(rows), ROWS_PER_CHECK):
        is_finite = np.isfinite(rows[start : start + ROWS_PER_CHECK])
        if is_finite.all():
            continue
        row, column = (int(place) for place in np.argwhere(~is_finite)[0])
        hint = ""
        if rows.dtype == np.float16:
            hint = "; float16 ends at 65,504: save larger features as float32"
        raise ValueError(
            f"features {path} must be finite, got {rows[start + row, column]} in row {start + row}, "
            f"column {column}{hint}"
        )
