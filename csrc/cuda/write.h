// Last launch: settles the plan and writes the weights; and the elementwise half alone.
#pragma once

#include "gpu.h"
#include "state.h"
#include "together.h"
#include "vectors.h"

namespace rrm::cuda {

// The weights' side of a plan: w <- keep * w + target of the loss.
template <class F> struct Targets {
    typename F::Bits threshold, reach; // keys; a reach of 0 is nobody's
    typename F::Weight keep, pruned, tied, kept, tied_recipient, kept_recipient;

    // Each operation is rounded in the weights' type, as everywhere (--fmad=false).
    RRM_HD static Targets of(const Levels &levels, typename F::Bits threshold, typename F::Bits reach, double mu) {
        using W = typename F::Weight;
        const W step = static_cast<W>(mu);
        return {threshold,
                reach,
                static_cast<W>(1 - mu),
                step * static_cast<W>(levels.pruned),
                step * static_cast<W>(levels.tied),
                step * static_cast<W>(levels.kept),
                step * static_cast<W>(levels.tied_recipient),
                step * static_cast<W>(levels.kept_recipient)};
    }

    [[nodiscard]] __device__ typename F::Weight smooth(typename F::Bits key, typename F::Weight before) const {
        const auto below = key <= reach ? kept_recipient : kept, at = key <= reach ? tied_recipient : tied;
        const auto not_below = key == threshold ? at : pruned;
        return keep * before + (key < threshold ? below : not_below);
    }
};

// The weights of a vector of losses; ones where there is no array or no loss.
template <class F>
__device__ __forceinline__ auto load_weights(const typename F::Weight *array, bool aligned,
                                             const Vectors<typename F::Bits> &losses, std::int64_t vector) {
    using W = typename F::Weight;
    constexpr int width = Vectors<typename F::Bits>::width;
    const std::int64_t begin = losses.first(vector);
    if (array != nullptr && losses.whole(vector)) {
        return load_pack<W, width>(array + begin, aligned);
    }
    Pack<W, width> part;
    GPU_UNROLL for (int j = 0; j < width; ++j) {
        part.at[j] = array != nullptr && losses.has(begin + j) ? gpu::load(array + begin + j) : W{1};
    }
    return part;
}

template <class F, int Width>
__device__ __forceinline__ void store_weights(typename F::Weight *array, bool aligned,
                                              const Vectors<typename F::Bits> &losses, std::int64_t vector,
                                              const Pack<typename F::Weight, Width> &weights) {
    const std::int64_t begin = losses.first(vector);
    if (losses.whole(vector)) {
        store_pack<typename F::Weight, Width>(array + begin, weights, aligned);
        return;
    }
    GPU_UNROLL for (int j = 0; j < Width; ++j) {
        if (losses.has(begin + j)) {
            gpu::store(array + begin + j, weights.at[j]);
        }
    }
}

template <class F>
__device__ void write_targets(const typename F::Bits *losses, std::int64_t n, const Weights<F> &weights,
                              const Targets<F> &targets) {
    using Bits = typename F::Bits;
    constexpr int width = Vectors<Bits>::width;
    const Vectors<Bits> vectors(losses, n);
    // A step of 1 keeps nothing, so that the old weights, which could be NaN, aren't read.
    const auto *old = weights.mu == 1 ? nullptr : weights.old;
    const bool old_aligned = is_aligned(old, vectors.lead), out_aligned = is_aligned(weights.out, vectors.lead);
    for_each_tile(vectors, [&](const auto &loaded, auto vector) {
        Pack<typename F::Weight, width> packs[in_flight<Bits>];
        GPU_UNROLL for (int i = 0; i < in_flight<Bits>; ++i) {
            packs[i] = load_weights<F>(old, old_aligned, vectors, vector(i));
        }
        GPU_UNROLL for (int i = 0; i < in_flight<Bits>; ++i) {
            GPU_UNROLL for (int j = 0; j < width; ++j) {
                packs[i].at[j] = targets.smooth(F::key(loaded[i].at[j]), packs[i].at[j]);
            }
            store_weights<F>(weights.out, out_aligned, vectors, vector(i), packs[i]);
        }
    });
}

// The plan that follows from what was found, and the recipients' threshold as a key.
template <class F> __device__ Plan settle(const Job<F> &job, typename F::Bits &reach) {
    const State<F> &state = *job.state;
    const auto found = [](const Cut<typename F::Bits> &cut) {
        return OrderStatistic<double>{F::decode(cut.key), cut.below, cut.equal};
    };
    const OrderStatistic<double> least{F::decode(state.seen.least), 0, state.seen.n_least};
    const OrderStatistic<double> own =
        job.cuts == 2 ? found(state.cut[1]) : OrderStatistic<double>{std::numeric_limits<double>::infinity(), 0, 0};
    const Plan plan = rrm::make_plan(job.n, job.rule, least, found(state.cut[0]), own);
    if (plan.n_recipients == 0) {
        reach = 0;
    } else if (plan.recipient_threshold == plan.threshold) {
        reach = state.cut[0].key;
    } else {
        reach = job.cuts == 2 ? state.cut[1].key : state.seen.least;
    }
    return plan;
}

template <class F> __device__ NonFiniteCounts faults_of(const State<F> &state) {
    const auto place = [](Count first) { return static_cast<std::int64_t>(first); }; // all ones become -1
    return {state.seen.n_nan, place(state.first_nan), state.seen.n_low, place(state.first_low), state.seen.n_inf};
}

// Weights none: only the plan is wanted.
template <class F>
__global__ void __launch_bounds__(most_threads, least_blocks) write(Job<F> job, Weights<F> weights, Outcome *outcome) {
    GPU_SHARED(Targets<F>, shared);
    const bool refused = job.state->refused;
    if (threadIdx.x == 0 && !refused) {
        typename F::Bits reach = 0;
        const Plan plan = settle(job, reach);
        shared = Targets<F>::of(plan.levels, job.state->cut[0].key, reach, weights.mu);
        if (blockIdx.x == 0) {
            outcome->plan = plan;
        }
    }
    if (threadIdx.x == 0 && blockIdx.x == 0) {
        outcome->faults = faults_of(*job.state);
    }
    __syncthreads();
    if (weights.out == nullptr) {
        return;
    }
    if (!refused) {
        const Targets<F> targets = shared;
        write_targets<F>(job.losses, job.n, weights, targets);
    } else if (weights.fresh) {
        const std::int64_t thread = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
        for (std::int64_t i = thread; i < job.n; i += std::int64_t{gridDim.x} * blockDim.x) {
            weights.out[i] = std::numeric_limits<typename F::Weight>::quiet_NaN();
        }
    }
}

template <class F>
__global__ void __launch_bounds__(most_threads, least_blocks)
    write_planned(const typename F::Bits *losses, std::int64_t n, Weights<F> weights, Targets<F> targets) {
    write_targets<F>(losses, n, weights, targets);
}

struct Foreign {
    std::int64_t n = 0;

    __device__ void merge(const Foreign &other) {
        n += other.n;
    }
};

// Counts losses that those of a plan can't have contained: below their minimum, or NaN.
template <class F>
__global__ void __launch_bounds__(most_threads, least_blocks)
    tally_foreign(const typename F::Bits *losses, std::int64_t n, typename F::Bits least, bool allow_nan,
                  Count *foreign) {
    using Bits = typename F::Bits;
    const Vectors<Bits> vectors(losses, n);
    Foreign mine;
    for_each_tile(vectors, [&](const auto &loaded, auto vector) {
        GPU_UNROLL for (int i = 0; i < in_flight<Bits>; ++i) {
            GPU_UNROLL for (int j = 0; j < Vectors<Bits>::width; ++j) {
                const Bits key = F::key(loaded[i].at[j]);
                const bool bad = key < least || (key == F::key_nan && !allow_nan);
                mine.n += bad && vectors.has(vectors.first(vector(i)) + j) ? 1 : 0;
            }
        }
    });
    mine = merge_block(mine);
    if (threadIdx.x == 0 && mine.n != 0) {
        atomicAdd(foreign, static_cast<Count>(mine.n));
    }
}

} // namespace rrm::cuda
