"""The public names of classes."""

from __future__ import annotations

from typing import get_type_hints


def publish(package: str, *classes: type) -> None:
    """Set `__module__` of a package's public classes to the package, by which they are then shown and pickled.

    Their annotations are evaluated first: afterwards, `typing.get_type_hints` looks up names in the package.
    """
    for public_class in classes:
        if "__annotations__" in vars(public_class):
            hints = get_type_hints(public_class)
            public_class.__annotations__ = {name: hints[name] for name in public_class.__annotations__}
        public_class.__module__ = package
