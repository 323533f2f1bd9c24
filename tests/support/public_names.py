"""The public names of packages, what they are and how they are called."""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, ForwardRef

OURS = ("rrm_core", "rrm_keras", "rrm_review", "rrm_sklearn", "rrm_torch")
SPECIAL = ("__call__", "__getitem__", "__iter__", "__len__")  # methods that callers use without naming them

Entry = dict[str, str]


class Bare(str):
    """Text that a signature shows without quotes."""

    __slots__ = ()
    __repr__ = str.__str__


def read_names(packages: Iterable[str]) -> dict[str, Entry]:
    """Return what every public name is: of the packages, and of the modules that they list."""
    found: dict[str, Entry] = {}
    paths = list(packages)
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
        if base.__module__.partition(".")[0] not in OURS:
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


def write_record(path: Path, names: dict[str, Entry]) -> None:
    """Write names to a file, one a line."""
    lines = [f"  {json.dumps(name)}: {json.dumps(entry)}" for name, entry in names.items()]
    path.parent.mkdir(exist_ok=True)
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")
