"""Models of one's own: ``--model file.py:name`` or ``--model module:name``."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn


def load_network(reference: str, n_classes: int) -> nn.Module:
    """Return the network that a function of one's own makes.

    Parameters
    ----------
    reference : str
        ``file.py:name`` or ``module:name``. ``name(n_classes)`` returns a module that maps images, float32 of shape
        (batch, 3, 32, 32), to logits of shape (batch, n_classes).
    n_classes : int

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
    return network


def load_classifier(reference: str) -> Any:
    """Return a classifier of one's own with the interface of scikit-learn.

    Parameters
    ----------
    reference : str
        ``file.py:name`` or ``module:name``: a classifier, or a class or function that returns one when it is called
        without arguments. It must have ``fit(X, y, sample_weight=...)`` and ``predict_proba``.

    Raises
    ------
    ValueError
        There is no such file, module or name, or it is something else.
    """
    classifier = load_object(reference)
    if isinstance(classifier, type) or not hasattr(classifier, "fit"):
        classifier = _call(reference, classifier)
    if not hasattr(classifier, "fit"):
        raise ValueError(
            f"model {reference!r} must be a classifier with fit and predict_proba, or return one, got "
            f"{type(classifier).__name__}"
        )
    return classifier


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
    spec = spec_from_file_location(path.stem, path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise ValueError(f"model: {path} isn't an existing file")
    module = module_from_spec(spec)
    # Pickles of its classes look the module up by name.
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ValueError(f"model: {path} can't be executed: {type(error).__name__}: {error}") from error
    return module


def _import(name: str) -> ModuleType:
    try:
        return import_module(name)
    except ImportError as error:
        raise ValueError(f"model: there is no module {name!r} to import: {error}") from error


def _call(reference: str, function: Any, *arguments: Any) -> Any:
    if not callable(function):
        raise ValueError(f"model {reference!r} must be a function or a class, got {type(function).__name__}")
    try:
        return function(*arguments)
    except TypeError as error:
        raise ValueError(f"model {reference!r} can't be called with {len(arguments)} arguments: {error}") from error
