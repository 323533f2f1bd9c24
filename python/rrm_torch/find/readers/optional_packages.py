"""Import of the packages that only some sources need."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def import_optional(module: str, purpose: str) -> Any:
    """Return a module of a package that may not be installed.

    Parameters
    ----------
    module : str
        Its dotted name.
    purpose : str
        What needs it, the start of the message.

    Raises
    ------
    ImportError
        The package isn't installed.
    """
    package = module.partition(".")[0]
    package = {"PIL": "pillow"}.get(package, package)
    remedy = "datasets" if package == "datasets" else "'rrm-core[find]'"
    try:
        return import_module(module)
    except ImportError as error:
        raise ImportError(f"{purpose} need {package}, which is not installed: pip install {remedy}") from error
