"""The compiled modules: found, loaded, and built for these Python files."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

# Version of the interface between the Python files and the compiled modules, which CMakeLists.txt reads here and
# compiles into them. Raise it whenever bindings/, or `counting` or `group_counting` in rrm_core/definition, changes
# what is passed or returned.
INTERFACE = 6


def load_extension(backend: str, module: str, remedy: str) -> ModuleType:
    """Return a compiled module.

    Parameters
    ----------
    backend : str
        Name of the backend that needs it, for messages.
    module : str
        Full name of the module.
    remedy : str
        How to build it, for messages.

    Raises
    ------
    ModuleNotFoundError
        It was not compiled.
    ImportError
        It cannot be loaded, or was built for another version of the interface.
    """
    if find_spec(module) is None:
        raise ModuleNotFoundError(
            f"backend {backend!r} needs the compiled module {module}, {_why_missing(module)}; {remedy}"
        )
    try:
        extension = import_module(module)
    except Exception as error:
        raise ImportError(f"backend {backend!r} cannot load the compiled module {module}: {error}; {remedy}") from error
    version = getattr(extension, "INTERFACE", None)
    if version != INTERFACE:
        raise ImportError(
            f"backend {backend!r} cannot use the compiled module {module}, which was built from other sources than "
            f"these Python files: its interface has version {version}, not {INTERFACE}; {remedy}"
        )
    return extension


def _why_missing(module: str) -> str:
    package, _, name = module.rpartition(".")
    for folder in sys.modules[package].__path__:
        for file in Path(folder).glob(f"{name}.*"):
            if file.suffix in (".so", ".pyd"):
                return f"which is there for another Python only ({file.name})"
    return "which was not compiled when this package was installed"
