"""Exact Rockafellian reweighting of per-sample losses, for any array framework.

One call turns a vector of losses into sample weights: losses above a threshold get weight 0, their mass goes to trusted
samples. See `reweight`.
"""

from importlib.metadata import PackageNotFoundError as _PackageNotFoundError
from importlib.metadata import version as _version
from typing import Any as _Any

from . import stream
from ._public import publish as _publish
from .api import apply, plan, reweight
from .arrays.groups import Groups
from .backends.registry import CpuInfo, available_backends, cpu_info
from .contamination import ContaminationEstimate, estimate_contamination
from .definition.group_plan import GroupedPlan
from .definition.plan import Levels, Plan
from .definition.rule import Rule
from .planner.planner import Planner
from .relaxed_objective import objective

__all__ = [
    "ContaminationEstimate",
    "CpuInfo",
    "GroupedPlan",
    "Groups",
    "Levels",
    "Plan",
    "Planner",
    "Rule",
    "__version__",
    "apply",
    "available_backends",
    "cpu_info",
    "estimate_contamination",
    "objective",
    "plan",
    "reweight",
    "stream",
]

_publish(__name__, ContaminationEstimate, CpuInfo, GroupedPlan, Groups, Levels, Plan, Planner, Rule)

try:
    __version__ = _version("rrm-core")
except _PackageNotFoundError:
    raise ImportError(
        "this is rrm_core's source folder, and it is not installed; from the checkout run: pip install -e ."
    ) from None


def __getattr__(name: str) -> _Any:
    if name == "jax":
        # Only here, since it imports JAX.
        import rrm_core.jax as module

        return module
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
