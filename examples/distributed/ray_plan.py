"""Reweight losses that lie in Ray's object store: python examples/distributed/ray_plan.py."""

import numpy as np
import ray

import rrm_core

FAN_IN = 8  # partial results that one task merges


@ray.remote
def draw(part, size):
    """Return losses; a model's would come from here, and stay in the memory of this task's machine."""
    return np.random.default_rng(part).exponential(size=size).astype(np.float32)


@ray.remote
def count(state, losses, start):
    """Count a part of the losses, where it lies."""
    planner = rrm_core.Planner.from_partial(state, threads=1)
    planner.update(losses, offset=start)
    return planner.partial()


@ray.remote
def merge(*partials):
    """Return one partial result for several."""
    planner, *others = map(rrm_core.Planner.from_partial, partials)
    for other in others:
        planner.merge(other)
    return planner.partial()


@ray.remote
def weigh(plan, losses):
    """Return the weights of a part of the losses, where it lies."""
    return rrm_core.apply(plan, losses, threads=1)


def plan_parts(parts, starts, **rule):
    """Return the plan of losses in several objects; `starts` are the indices of their first ones among all."""
    planner = rrm_core.Planner(**rule)
    while not planner.done:
        state = {"state": planner.partial()["state"]}  # without the counts, which are still zero
        partials = [count.remote(state, part, start) for part, start in zip(parts, starts, strict=True)]
        while len(partials) > 1:
            partials = [merge.remote(*partials[i : i + FAN_IN]) for i in range(0, len(partials), FAN_IN)]
        planner.merge(rrm_core.Planner.from_partial(ray.get(partials[0])))
        planner.advance()
    return planner.plan


def main():
    """Reweight losses in 20 parts, and compare with those of one array."""
    size, rule = 10_000, {"contamination": 0.2}
    parts = [draw.remote(part, size) for part in range(20)]
    plan = plan_parts(parts, range(0, 20 * size, size), **rule)
    weights = [weigh.remote(plan, part) for part in parts]  # objects in the store, too
    print(plan)

    expected, expected_plan = rrm_core.reweight(np.concatenate(ray.get(parts)), **rule)
    print("as in one place:", plan == expected_plan, np.array_equal(np.concatenate(ray.get(weights)), expected))


if __name__ == "__main__":
    ray.init()
    main()
    ray.shutdown()
