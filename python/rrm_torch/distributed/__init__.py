"""Losses and weights over the ranks of a torch.distributed job.

`RRM` takes part with ``layout="replicated"`` or ``"sharded"``; `plan` and `reweight` are `rrm_core`'s over ranks.
"""

from .full_state import FullState
from .planning import plan, reweight
from .process_group import ProcessGroup
from .sampler import ShardSampler
from .shards import slice_of

__all__ = ["FullState", "ProcessGroup", "ShardSampler", "plan", "reweight", "slice_of"]
