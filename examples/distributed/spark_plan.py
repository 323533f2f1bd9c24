"""Reweight losses that lie in the partitions of a Spark RDD or DataFrame: python examples/distributed/spark_plan.py."""

from itertools import accumulate

import numpy as np
from pyspark.sql import SparkSession

import rrm_core


def as_arrays(losses):
    """Return an RDD of one array a partition for an RDD of numbers."""

    def as_array(numbers):
        array = np.fromiter(numbers, np.float32)
        return [array] if len(array) else []

    return losses.mapPartitions(as_array)


def merge(a, b):
    """Return one partial result for two."""
    planner = rrm_core.Planner.from_partial(a)
    planner.merge(rrm_core.Planner.from_partial(b))
    return planner.partial()


def plan_parts(parts, **rule):
    """Return the plan of losses in an RDD of arrays."""
    sizes = parts.mapPartitions(lambda arrays: [sum(map(len, arrays))]).collect()
    starts = list(accumulate(sizes, initial=0))  # by which a NaN is found again
    planner = rrm_core.Planner(**rule)
    while not planner.done:
        state = {"state": planner.partial()["state"]}  # without the counts, which are still zero

        def count(partition, arrays, state=state):
            counter, start = rrm_core.Planner.from_partial(state, threads=1), starts[partition]
            for losses in arrays:
                counter.update(losses, offset=start)
                start += len(losses)
            return [counter.partial()]

        partial = parts.mapPartitionsWithIndex(count).treeReduce(merge)
        planner.merge(rrm_core.Planner.from_partial(partial))
        planner.advance()
    return planner.plan


def main(spark):
    """Reweight the losses of a DataFrame in 20 partitions, and compare with those of one array."""
    frame = spark.range(0, 200_000, 1, 20).selectExpr("-ln(1 - rand(0)) as loss")
    rule = {"contamination": 0.2}
    parts = as_arrays(frame.select("loss").rdd.map(lambda row: row.loss)).cache()  # they are read several times
    plan = plan_parts(parts, **rule)
    weights = parts.map(lambda losses: rrm_core.apply(plan, losses, threads=1))
    print(plan)

    expected, expected_plan = rrm_core.reweight(np.concatenate(parts.collect()), **rule)
    print("as in one place:", plan == expected_plan, np.array_equal(np.concatenate(weights.collect()), expected))


if __name__ == "__main__":
    session = SparkSession.builder.master("local[2]").getOrCreate()
    main(session)
    session.stop()
