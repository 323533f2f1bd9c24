// Last launch: makes the plan and writes the weights. Also the elementwise half alone, and the check of its losses.
#pragma once

#include "compat.h"
#include "reduce.h"
#include "state.h"
#include "vector_load.h"

namespace rrm::cuda {

// The update of a weight: w <- decay * w + mu * target(loss), with the products mu * target precomputed.
template <class F> struct TargetWeights {
    typename F::Bits threshold_key;
    typename F::Bits recipient_key; // 0: there are no recipients
    typename F::Weight decay, pruned, tied, kept, tied_recipient, kept_recipient;

    // Each operation is rounded in the weights' type, as in all backends (--fmad=false).
    RRM_HD static TargetWeights of(const Levels &levels, typename F::Bits threshold_key, typename F::Bits recipient_key,
                                   double mu) {
        using W = typename F::Weight;
        const W step = static_cast<W>(mu);
        return {threshold_key,
                recipient_key,
                static_cast<W>(1 - mu),
                step * static_cast<W>(levels.pruned),
                step * static_cast<W>(levels.tied),
                step * static_cast<W>(levels.kept),
                step * static_cast<W>(levels.tied_recipient),
                step * static_cast<W>(levels.kept_recipient)};
    }

    [[nodiscard]] __device__ typename F::Weight smooth(typename F::Bits key, typename F::Weight old) const {
        const auto below = key <= recipient_key ? kept_recipient : kept;
        const auto at = key <= recipient_key ? tied_recipient : tied;
        const auto not_below = key == threshold_key ? at : pruned;
        return decay * old + (key < threshold_key ? below : not_below);
    }
};

// The weights of a vector of losses; 1 if `array` is null, and for elements without a loss.
template <class F>
__device__ __forceinline__ auto load_weights(const typename F::Weight *array, bool aligned,
                                             const VecArray<typename F::Bits> &losses, std::int64_t vector) {
    using W = typename F::Weight;
    constexpr int width = VecArray<typename F::Bits>::width;
    const std::int64_t begin = losses.first_index(vector);
    if (array != nullptr && losses.is_full(vector)) {
        return load_vec<W, width>(array + begin, aligned);
    }
    Vec<W, width> partial;
    GPU_UNROLL for (int j = 0; j < width; ++j) {
        partial.at[j] = array != nullptr && losses.contains(begin + j) ? gpu::load(array + begin + j) : W{1};
    }
    return partial;
}

template <class F, int Width>
__device__ __forceinline__ void store_weights(typename F::Weight *array, bool aligned,
                                              const VecArray<typename F::Bits> &losses, std::int64_t vector,
                                              const Vec<typename F::Weight, Width> &weights) {
    const std::int64_t begin = losses.first_index(vector);
    if (losses.is_full(vector)) {
        store_vec<typename F::Weight, Width>(array + begin, weights, aligned);
        return;
    }
    GPU_UNROLL for (int j = 0; j < Width; ++j) {
        if (losses.contains(begin + j)) {
            gpu::store(array + begin + j, weights.at[j]);
        }
    }
}

// An old weight must be finite and at least 0.
template <class W> __device__ __forceinline__ bool is_valid_weight(W weight) {
    return weight >= 0 && weight <= std::numeric_limits<W>::max();
}

// Counts the invalid weights of a vector whose first element has the index `begin`.
template <class W, int Width>
__device__ void count_invalid(const Vec<W, Width> &weights, std::int64_t begin, InvalidWeightsState &invalid) {
    Count n = 0, first = 0;
    for (int j = Width - 1; j >= 0; --j) {
        if (!is_valid_weight(weights.at[j])) {
            first = static_cast<Count>(begin) + static_cast<Count>(j);
            ++n;
        }
    }
    atomicAdd(&invalid.n, n);
    atomicMin(&invalid.first, first);
}

// Once all blocks have written their weights, the last one sets the result; and it fills `out` with NaN if that is new
// and an old weight was invalid.
template <class F>
__device__ void finish_invalid(InvalidWeightsState &invalid, const Weights<F> &weights, std::int64_t n,
                               InvalidWeights &result) {
    using W = typename F::Weight;
    if (!is_last_block(&invalid.ticket, gridDim.x)) {
        return;
    }
    const auto n_invalid = static_cast<std::int64_t>(gpu::load_fresh(&invalid.n));
    if (n_invalid == 0) {
        if (threadIdx.x == 0) {
            result = {};
        }
        return;
    }
    if (threadIdx.x == 0) {
        const auto first = static_cast<std::int64_t>(gpu::load_fresh(&invalid.first));
        result = {n_invalid, first, static_cast<double>(gpu::load_fresh(weights.out + first))};
    }
    __syncthreads();
    for (std::int64_t i = threadIdx.x; weights.out_is_new && i < n; i += blockDim.x) {
        weights.out[i] = std::numeric_limits<W>::quiet_NaN();
    }
}

// Writes the new weights, and counts the invalid old ones: each of them is left as it is, for finish_invalid().
template <class F>
__device__ void smooth_weights(const typename F::Bits *losses, std::int64_t n, const Weights<F> &weights,
                               const TargetWeights<F> &targets, InvalidWeightsState *invalid) {
    using Bits = typename F::Bits;
    constexpr int width = VecArray<Bits>::width;
    const VecArray<Bits> vectors(losses, n);
    const auto *old = weights.old_to_read();
    const bool old_aligned = is_aligned(old, vectors.lead);
    const bool out_aligned = is_aligned(weights.out, vectors.lead);
    for_each_tile(vectors, [&](const auto &loaded, auto vector) {
        Vec<typename F::Weight, width> vecs[loads_in_flight<Bits>];
        GPU_UNROLL for (int i = 0; i < loads_in_flight<Bits>; ++i) {
            vecs[i] = load_weights<F>(old, old_aligned, vectors, vector(i));
        }
        GPU_UNROLL for (int i = 0; i < loads_in_flight<Bits>; ++i) {
            bool all_valid = true;
            GPU_UNROLL for (int j = 0; j < width; ++j) {
                all_valid = all_valid && is_valid_weight(vecs[i].at[j]);
            }
            if (!all_valid) {
                count_invalid(vecs[i], vectors.first_index(vector(i)), *invalid);
            }
            GPU_UNROLL for (int j = 0; j < width; ++j) {
                const auto old_weight = vecs[i].at[j];
                const auto new_weight = targets.smooth(F::key(loaded[i].at[j]), old_weight);
                vecs[i].at[j] = is_valid_weight(old_weight) ? new_weight : old_weight;
            }
            store_weights<F>(weights.out, out_aligned, vectors, vector(i), vecs[i]);
        }
    });
}

// The plan from the completed selections, and the key of the recipients' threshold.
template <class F> __device__ Plan make_plan(const KernelParams<F> &params, typename F::Bits &recipient_key) {
    const State<F> &state = *params.state;
    const auto result = [](const Selection<typename F::Bits> &selection) {
        return OrderStatistic<double>{F::decode(selection.key), selection.n_below, selection.n_equal};
    };
    const OrderStatistic<double> minimum{F::decode(state.scan.minimum), 0, state.scan.n_minimum};
    OrderStatistic<double> recipients{std::numeric_limits<double>::infinity(), 0, 0};
    if (params.n_selections == 2) {
        recipients = result(state.selections[1]);
    }
    const Plan plan = rrm::make_plan(params.n, params.rule, minimum, result(state.selections[0]), recipients);
    if (plan.n_recipients == 0) {
        recipient_key = 0;
    } else if (plan.recipient_threshold == plan.threshold) {
        recipient_key = state.selections[0].key;
    } else {
        recipient_key = params.n_selections == 2 ? state.selections[1].key : state.scan.minimum;
    }
    return plan;
}

template <class F> __device__ NonFiniteCounts non_finite_counts(const State<F> &state) {
    const auto to_index = [](Count first) { return static_cast<std::int64_t>(first); }; // all ones become -1
    const auto &scan = state.scan;
    return {scan.n_nan, to_index(state.first_nan), scan.n_neg_inf, to_index(state.first_neg_inf), scan.n_pos_inf};
}

// Writes the outcome, and the weights if `weights.out` is not null.
template <class F>
__global__ void __launch_bounds__(max_threads, min_blocks_per_sm)
    write_weights(KernelParams<F> params, Weights<F> weights, Outcome *outcome) {
    GPU_SHARED(TargetWeights<F>, shared_targets);
    const bool rejected = params.state->rejected;
    if (threadIdx.x == 0 && !rejected) {
        typename F::Bits recipient_key = 0;
        const Plan plan = make_plan(params, recipient_key);
        shared_targets = TargetWeights<F>::of(plan.levels, params.state->selections[0].key, recipient_key, weights.mu);
        if (blockIdx.x == 0) {
            outcome->plan = plan;
        }
    }
    if (threadIdx.x == 0 && blockIdx.x == 0) {
        outcome->faults = non_finite_counts(*params.state);
        if (rejected || weights.old_to_read() == nullptr) {
            outcome->invalid_weights = {};
        }
    }
    __syncthreads();
    if (weights.out == nullptr) {
        return;
    }
    if (!rejected) {
        const TargetWeights<F> targets = shared_targets;
        smooth_weights<F>(params.losses, params.n, weights, targets, &params.state->invalid_weights);
        if (weights.old_to_read() != nullptr) {
            finish_invalid<F>(params.state->invalid_weights, weights, params.n, outcome->invalid_weights);
        }
    } else if (weights.out_is_new) {
        const std::int64_t thread = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
        for (std::int64_t i = thread; i < params.n; i += std::int64_t{gridDim.x} * blockDim.x) {
            weights.out[i] = std::numeric_limits<typename F::Weight>::quiet_NaN();
        }
    }
}

template <class F>
__global__ void __launch_bounds__(max_threads, min_blocks_per_sm)
    apply_plan(const typename F::Bits *losses, std::int64_t n, Weights<F> weights, TargetWeights<F> targets,
               ApplyOutcome *outcome) {
    // Without old weights none is invalid, and `outcome` may be null.
    const bool reads = weights.old_to_read() != nullptr;
    smooth_weights<F>(losses, n, weights, targets, reads ? &outcome->state : nullptr);
    if (reads) {
        finish_invalid<F>(outcome->state, weights, n, outcome->invalid_weights);
    }
}

struct ForeignCount {
    std::int64_t n = 0;

    __device__ void merge(const ForeignCount &other) {
        n += other.n;
    }
};

// Counts losses that the plan's losses cannot have contained: losses below their minimum, and NaN unless allowed.
template <class F>
__global__ void __launch_bounds__(max_threads, min_blocks_per_sm)
    count_foreign_losses(const typename F::Bits *losses, std::int64_t n, typename F::Bits minimum, bool allow_nan,
                         Count *foreign) {
    using Bits = typename F::Bits;
    const VecArray<Bits> vectors(losses, n);
    ForeignCount count;
    for_each_tile(vectors, [&](const auto &loaded, auto vector) {
        GPU_UNROLL for (int i = 0; i < loads_in_flight<Bits>; ++i) {
            GPU_UNROLL for (int j = 0; j < VecArray<Bits>::width; ++j) {
                const Bits key = F::key(loaded[i].at[j]);
                const bool is_foreign = key < minimum || (key == F::key_nan && !allow_nan);
                count.n += is_foreign && vectors.contains(vectors.first_index(vector(i)) + j) ? 1 : 0;
            }
        }
    });
    count = block_reduce(count);
    if (threadIdx.x == 0 && count.n != 0) {
        atomicAdd(foreign, static_cast<Count>(count.n));
    }
}

} // namespace rrm::cuda
