"""Models of one's own: ``--model file.py:name`` or ``--model module:name``."""

from __future__ import annotations

import inspect
import sys
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn


def load_network(reference: str, n_classes: int, size: int) -> nn.Module:
    """Return the network that a function of one's own makes.

    Parameters
    ----------
    reference : str
        ``file.py:name`` or ``module:name``. ``name(n_classes)`` returns a module that maps images, float32 of shape
        (batch, 3, size, size), to logits of shape (batch, n_classes).
    n_classes : int
    size : int
        Width and height of the images, in pixels.

    Raises
    ------
    ValueError
        There is no such file, module or name, or it returns something else.
    """
    network = _call(reference, load_object(reference), n_classes)
    if not isinstance(network, nn.Module):
        raise ValueError(
            f"model {reference!r} must be a function of the number of classes that returns a torch.nn.Module, for "
            f"images, got {type(network).__name__}"
        )
    _check_logits(reference, network, n_classes, size)
    return network


def _check_logits(reference: str, network: nn.Module, n_classes: int, size: int) -> None:
    """Raise a ValueError unless a network maps two images to logits; initialise lazy layers."""
    shape = (2, 3, size, size)
    network.eval()
    try:
        with torch.no_grad():
            logits = network(torch.zeros(shape))
    except Exception as error:
        raise ValueError(
            f"model {reference!r} must map images of shape {shape} to logits: {_describe(error)}"
        ) from error
    expected = (2, n_classes)
    if not isinstance(logits, torch.Tensor) or logits.shape != expected:
        got = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise ValueError(
            f"model {reference!r} must map images of shape {shape} to logits of shape {expected}, a column for each "
            f"class, got {got}"
        )
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise ValueError(f"model {reference!r} must have parameters to train, got none")


def load_classifier(reference: str) -> Any:
    """Return a classifier of one's own with the interface of scikit-learn.

    Parameters
    ----------
    reference : str
        ``file.py:name`` or ``module:name``: a classifier, or a class or function that returns one when it is called
        without arguments. It must have ``fit(X, y, sample_weight=...)``, ``predict_proba`` and ``get_params``.

    Raises
    ------
    ValueError
        There is no such file, module or name, or it is something else.
    """
    classifier = load_object(reference)
    if isinstance(classifier, type) or not hasattr(classifier, "fit"):
        classifier = _call(reference, classifier)
    name = type(classifier).__name__
    missing = [method for method in ("fit", "predict_proba", "get_params") if not hasattr(classifier, method)]
    if missing:
        hint = "; wrap it in sklearn.calibration.CalibratedClassifierCV" if missing == ["predict_proba"] else ""
        raise ValueError(
            f"model {reference!r} must be a classifier of scikit-learn or return one, but {name} has no "
            f"{missing[0]}{hint}"
        )
    if not _takes_weights(classifier):
        raise ValueError(
            f"model {reference!r} must take sample weights, through which RRM works, but fit of {name} has no argument "
            "sample_weight; choose one that has, such as LogisticRegression or RandomForestClassifier"
        )
    return classifier


def _takes_weights(classifier: Any) -> bool:
    """Return whether ``fit`` of a classifier, or of the last step of a pipeline, takes sample weights."""
    steps = getattr(classifier, "steps", None)
    fit = steps[-1][1].fit if steps else classifier.fit
    parameters = inspect.signature(fit).parameters
    return "sample_weight" in parameters or any(item.kind == item.VAR_KEYWORD for item in parameters.values())


def load_object(reference: str) -> Any:
    """Return the object that ``file.py:name`` or ``module:name`` refers to; a ValueError if there is none."""
    location, _, name = reference.rpartition(":")
    if not location or not name:
        raise ValueError(f"model must be file.py:name or module:name, got {reference!r}")
    module = _load_file(Path(location)) if location.endswith(".py") else _import(location)
    if not hasattr(module, name):
        raise ValueError(f"model {reference!r}: {location} has no {name!r}")
    return getattr(module, name)


def _load_file(path: Path) -> ModuleType:
    # A name of its own: a file may be called as a module that is imported already.
    name = f"rrm_find_model_{path.stem}"
    spec = spec_from_file_location(name, path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise ValueError(f"model: {path} isn't an existing file")
    module = module_from_spec(spec)
    # Pickles of its classes look the module up by name.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise ValueError(f"model: {path} can't be executed: {_describe(error)}") from error
    return module


def _import(name: str) -> ModuleType:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise ValueError(f"model: there is no module {name!r} to import: {error}") from error
    except (Exception, SystemExit) as error:
        raise ValueError(f"model: module {name!r} can't be imported: {_describe(error)}") from error


def _call(reference: str, function: Any, *arguments: Any) -> Any:
    if not callable(function):
        raise ValueError(f"model {reference!r} must be a function or a class, got {type(function).__name__}")
    try:
        return function(*arguments)
    except Exception as error:
        values = ", ".join(map(repr, arguments))
        name = reference.rpartition(":")[2]
        raise ValueError(f"model {reference!r}: {name}({values}) can't be called: {_describe(error)}") from error


def _describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
