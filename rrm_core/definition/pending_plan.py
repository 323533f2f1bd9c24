"""PendingPlan: a plan that a device is still computing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .formats import Format
from .plan import Plan
from .rule import Rule


class PendingPlan(Plan):
    """A plan that a device is still computing; the first access to a computed field waits and makes it a `Plan`.

    That access also raises the error if the losses cannot be reweighted, or old weights are invalid. The class changes,
    and a missing attribute is looked up, so that a call on a GPU returns without waiting and its plan is nevertheless a
    `Plan` in every use: comparison, hash, repr, copy, pickle and `dataclasses` functions read it through attributes.
    """

    _read: Callable[[], Plan]

    def _wait(self) -> Plan:
        read = self.__dict__.get("_read")
        # None if another thread has just read the plan.
        if read is not None:
            plan = read()
            self.__dict__.update(plan.__dict__)
            object.__setattr__(self, "__class__", Plan)
            self.__dict__.pop("_read", None)
        return self

    def __getattr__(self, name: str) -> Any:
        if name in Plan.__dataclass_fields__ and name in self._wait().__dict__:
            return self.__dict__[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __eq__(self, other: object) -> bool:
        return self._wait() == other

    __hash__ = Plan.__hash__

    def __reduce_ex__(self, protocol: Any) -> Any:
        return object.__reduce_ex__(self._wait(), protocol)


def pending_plan(n: int, format: Format, rule: Rule, read: Callable[[], Plan]) -> Plan:
    """Return a plan whose computed fields are those of the plan that `read` returns when the first is accessed."""
    plan = object.__new__(PendingPlan)
    plan.__dict__.update(n=n, dtype=format.name, rule=rule, _read=read)
    return plan
