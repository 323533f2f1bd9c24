// The write step with groups: each sample's new weight from its loss and the target weights of its group. Also the
// check of its losses.
#pragma once

#include "compat.h"
#include "groups.h"
#include "write.h"

namespace rrm::cuda {

// Writes the target weights of each group.
template <class F>
__global__ void __launch_bounds__(max_threads, min_blocks_per_sm)
    make_targets(GroupLevels plan, double mu, TargetWeights<F> *targets) {
    const std::int64_t thread = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
    for (std::int64_t g = thread; g < plan.n_groups; g += std::int64_t{gridDim.x} * blockDim.x) {
        const double *of_group = plan.levels + 5 * g;
        const Levels levels{gpu::load(of_group), gpu::load(of_group + 1), gpu::load(of_group + 2),
                            gpu::load(of_group + 3), gpu::load(of_group + 4)};
        targets[g] = TargetWeights<F>::of(levels, F::key_not_above(gpu::load(plan.thresholds + g)),
                                          F::key_not_above(gpu::load(plan.recipient_thresholds + g)), mu);
    }
}

// Writes the new weights. An invalid old weight is left as it is, for finish_invalid().
template <class F>
__global__ void __launch_bounds__(max_threads, min_blocks_per_sm)
    write_group_weights(const typename F::Bits *losses, const std::int32_t *groups, std::int64_t n, Weights<F> weights,
                        const TargetWeights<F> *targets, ApplyOutcome *outcome) {
    using W = typename F::Weight;
    const W *old_weights = weights.old_to_read();
    const std::int64_t thread = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
    for (std::int64_t i = thread; i < n; i += std::int64_t{gridDim.x} * blockDim.x) {
        const W old = old_weights == nullptr ? W{1} : gpu::load(old_weights + i);
        W result = old;
        if (is_valid_weight(old)) {
            result = targets[gpu::load(groups + i)].smooth(F::key(gpu::load(losses + i)), old);
        } else {
            count_invalid(Vec<W, 1>{{old}}, i, outcome->state);
        }
        gpu::store(weights.out + i, result);
    }
    if (old_weights != nullptr) {
        finish_invalid<F>(outcome->state, weights, n, outcome->invalid_weights);
    }
}

// Counts losses that the plan's losses cannot have contained: losses below the minimum of their group, those of a group
// whose minimum is NaN, and NaN unless the group had some.
template <class F>
__global__ void __launch_bounds__(max_threads, min_blocks_per_sm)
    count_foreign_by_group(const typename F::Bits *losses, const std::int32_t *groups, std::int64_t n,
                           const double *minima, const double *n_nan, Count *foreign) {
    ForeignCount count;
    const std::int64_t thread = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
    for (std::int64_t i = thread; i < n; i += std::int64_t{gridDim.x} * blockDim.x) {
        const auto key = F::key(gpu::load(losses + i));
        const std::int32_t group = gpu::load(groups + i);
        const bool is_possible =
            key == F::key_nan ? gpu::load(n_nan + group) != 0 : F::decode(key) >= gpu::load(minima + group);
        count.n += is_possible ? 0 : 1;
    }
    count = block_reduce(count);
    if (threadIdx.x == 0 && count.n != 0) {
        atomicAdd(foreign, static_cast<Count>(count.n));
    }
}

} // namespace rrm::cuda
