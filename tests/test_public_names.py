"""The public names, what they are and how they are called, against a record: no change of them goes unnoticed.

After a change that is meant, ``python tests/test_public_names.py`` writes a new record.
"""

from __future__ import annotations

import ast
import inspect
import json
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, ForwardRef, get_type_hints

import pytest

RECORD = Path(__file__).parent / "support" / "public_names.json"
# JAX has no release for Python 3.10.
WITH_JAX = ("rrm_core.jax",) if find_spec("jax") else ()
PACKAGES = ("rrm_core", "rrm_core.stream", *WITH_JAX, "rrm_review", "rrm_sklearn", "rrm_torch")
SPECIAL = ("__call__", "__getitem__", "__iter__", "__len__")  # methods that callers use without naming them

Entry = dict[str, str]


class Bare(str):
    """Text that a signature shows without quotes."""

    __slots__ = ()
    __repr__ = str.__str__


def names_now() -> dict[str, Entry]:
    """Return what every public name is: of the packages, and of the modules that they list."""
    found: dict[str, Entry] = {}
    paths = list(PACKAGES)
    for path in paths:  # grows by the modules that each module lists
        module = import_module(path)
        for name in public(module):
            value = getattr(module, name)
            found |= entries(f"{path}.{name}", value)
            if isinstance(value, ModuleType) and f"{path}.{name}" not in paths:
                paths.append(f"{path}.{name}")
    return dict(sorted(found.items()))


def public(module: ModuleType) -> list[str]:
    """Return the names in ``__all__``, or, without one, those that the module itself defines."""
    if hasattr(module, "__all__"):
        return list(module.__all__)
    names = []
    for statement in ast.parse(inspect.getsource(module)).body:
        match statement:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.AnnAssign(target=ast.Name(id=name)):
                names.append(name)
            case ast.Assign(targets=targets):
                names += [target.id for target in targets if isinstance(target, ast.Name)]
    return [name for name in names if not name.startswith("_")]


def entries(path: str, value: Any) -> dict[str, Entry]:
    """Return the entry of a name, and those of its methods and properties if it is a class."""
    if isinstance(value, ModuleType):
        return {path: {"kind": "module", "module": value.__name__}}
    if inspect.isclass(value):
        entry = {"kind": "class", "module": value.__module__, "bases": ", ".join(b.__name__ for b in value.__bases__)}
        if not getattr(value, "_is_protocol", False):  # which has no constructor worth the name
            entry["signature"] = signature(value)
        return {path: entry, **members(path, value)}
    if inspect.isfunction(value):
        return {path: {"kind": "function", "module": value.__module__, "signature": signature(value)}}
    return {path: {"kind": "constant", "type": type(value).__name__}}


def members(path: str, kind: type) -> dict[str, Entry]:
    """Return the entries of a class's methods and properties, those of its bases in the packages included."""
    found: dict[str, Entry] = {}
    for base in reversed(kind.__mro__):
        if base.__module__.partition(".")[0] not in ("rrm_core", "rrm_torch"):
            continue
        for name, value in vars(base).items():
            if name.startswith("_") and name not in SPECIAL:
                continue
            if isinstance(value, property):
                found[f"{path}.{name}"] = {"kind": "property", "signature": signature(value.fget)}
            elif isinstance(value, (classmethod, staticmethod)):
                found[f"{path}.{name}"] = {"kind": type(value).__name__, "signature": signature(value.__func__)}
            elif inspect.isfunction(value):
                found[f"{path}.{name}"] = {"kind": "method", "signature": signature(value)}
    return found


def signature(function: Any) -> str:
    """Return a signature as text that is the same in every process and on every version of Python."""
    of = inspect.signature(function)
    parameters = [p.replace(annotation=annotation(p.annotation), default=default(p)) for p in of.parameters.values()]
    return str(of.replace(parameters=parameters, return_annotation=annotation(of.return_annotation)))


def annotation(given: Any) -> Any:
    if isinstance(given, ForwardRef):
        return Bare(given.__forward_arg__)
    return Bare(given) if isinstance(given, str) else given


def default(parameter: inspect.Parameter) -> Any:
    """Return the default; of a function its name, since its repr holds its address."""
    return Bare(parameter.default.__name__) if inspect.isfunction(parameter.default) else parameter.default


def changes(then: dict[str, Entry], now: dict[str, Entry]) -> list[str]:
    """Return a line for each name that was added, removed or changed."""
    lines = []
    for name in sorted(then.keys() | now.keys()):
        if name not in now:
            lines.append(f"removed {name}: {words(then[name])}")
        elif name not in then:
            lines.append(f"added   {name}: {words(now[name])}")
        elif now[name] != then[name]:
            keys = [key for key in {**then[name], **now[name]} if then[name].get(key) != now[name].get(key)]
            lines += [f"changed {name}: {key} was {then[name].get(key)}, is {now[name].get(key)}" for key in keys]
    return lines


def words(entry: Entry) -> str:
    return " ".join(entry.values())


def test_public_names_are_those_recorded():
    recorded = json.loads(RECORD.read_text("utf-8"))
    if not WITH_JAX:
        recorded = {name: entry for name, entry in recorded.items() if not name.startswith("rrm_core.jax.")}
    lines = changes(recorded, names_now())
    assert not lines, "\n".join(["public names differ from tests/support/public_names.json:", *lines])


def public_classes() -> list[type]:
    """Return the public classes of all packages, each once."""
    packages = [import_module(path) for path in (*PACKAGES, "rrm_torch.adversarial", "rrm_torch.losses")]
    packages += [import_module("rrm_torch.distributed")]
    members = [getattr(package, name) for package in packages for name in public(package)]
    return list(dict.fromkeys(member for member in members if inspect.isclass(member)))


@pytest.mark.parametrize("kind", public_classes(), ids=lambda kind: kind.__name__)
def test_annotations_of_public_classes_can_be_evaluated(kind):
    """They are evaluated in the package that `__module__` names, where names of the class's file are unknown."""
    get_type_hints(kind)
    for member in vars(kind).values():
        if inspect.isfunction(member):
            get_type_hints(member)


def test_every_change_is_told():
    plain = {"kind": "function", "module": "m", "signature": "(a)"}
    then, now = {"f": plain, "g": plain, "h": plain}, {"f": plain | {"signature": "(b)"}, "g": plain, "i": plain}
    assert changes(then, now) == [
        "changed f: signature was (a), is (b)",
        "removed h: function m (a)",
        "added   i: function m (a)",
    ]


def record() -> None:
    """Write the record, a name a line."""
    lines = [f"  {json.dumps(name)}: {json.dumps(entry)}" for name, entry in names_now().items()]
    RECORD.parent.mkdir(exist_ok=True)
    RECORD.write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")


if __name__ == "__main__":
    record()
