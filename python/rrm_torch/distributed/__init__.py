"""Losses and weights over the ranks of a torch.distributed job.

`RRM` uses them with ``layout="replicated"`` or ``"sharded"``; `plan` and `reweight` are those of `rrm_core` over ranks.
"""

from rrm_core._public import publish as _publish

from .full_state import FullState
from .planning import plan, reweight
from .process_group import ProcessGroup
from .sampler import ShardSampler
from .shards import slice_of

__all__ = ["FullState", "ProcessGroup", "ShardSampler", "plan", "reweight", "slice_of"]

_publish(__name__, FullState, ProcessGroup, ShardSampler)
