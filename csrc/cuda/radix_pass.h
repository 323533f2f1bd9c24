// Third launch, once per digit, most significant first: radix selection of the thresholds that are not known yet. A
// pass builds a histogram of the digit over the candidates, or over all losses, and the last block chooses the bucket
// that contains the rank. If the key is known already, the only pass counts the keys below and equal to it.
#pragma once

#include "compat.h"
#include "reduce.h"
#include "state.h"
#include "vector_load.h"

namespace rrm::cuda {

// Calls f(key) for each key of this block's tiles of the array, which holds keys or losses.
template <class F, class Function>
__device__ void for_each_key(const typename F::Bits *array, std::int64_t n, bool holds_keys, Function f) {
    using Bits = typename F::Bits;
    for_each_tile(VecArray<Bits>(array, n), [&](const auto &loaded, auto) {
        GPU_UNROLL for (const auto &vector : loaded) {
            GPU_UNROLL for (const Bits bits : vector.at) {
                f(holds_keys ? bits : F::key(bits));
            }
        }
    });
}

// Keys below and equal to a known key.
struct SideCounts {
    std::int64_t n_below = 0, n_equal = 0;

    __device__ void merge(const SideCounts &other) {
        n_below += other.n_below;
        n_equal += other.n_equal;
    }
};

// Adds the number of keys in [first, key) to histogram[0], and the number of keys equal to `key` to histogram[1].
template <class F>
__device__ void count_sides(const Selection<typename F::Bits> &selection, const typename F::Bits *keys, std::int64_t n,
                            bool from_candidates, Count *histogram) {
    const auto first = selection.first, key = selection.key;
    SideCounts sides;
    for_each_key<F>(keys, n, from_candidates, [&](auto k) {
        sides.n_below += k >= first && k < key ? 1 : 0;
        sides.n_equal += k == key ? 1 : 0;
    });
    sides = block_reduce(sides);
    if (threadIdx.x == 0) {
        atomicAdd(histogram, static_cast<Count>(sides.n_below));
        atomicAdd(histogram + 1, static_cast<Count>(sides.n_equal));
    }
}

// Adds the histogram of the digit over the keys in [first, last] to `histogram`.
template <class F>
__device__ void build_histogram(const Selection<typename F::Bits> &selection, const typename F::Bits *keys,
                                std::int64_t n, bool from_candidates, int shift, int n_used, Count *histogram) {
    using Bits = typename F::Bits;
    GPU_SHARED(unsigned[n_buckets<F>], block_histogram);
    const Bits first = selection.first, last = selection.last;
    for (int i = static_cast<int>(threadIdx.x); i < n_used; i += static_cast<int>(blockDim.x)) {
        block_histogram[i] = 0;
    }
    __syncthreads();
    for_each_key<F>(keys, n, from_candidates, [&](Bits k) {
        if (k >= first && k <= last) {
            atomicAdd(&block_histogram[static_cast<int>(static_cast<Bits>(k - first) >> shift)], 1U);
        }
    });
    __syncthreads();
    for (int i = static_cast<int>(threadIdx.x); i < n_used; i += static_cast<int>(blockDim.x)) {
        const unsigned count = block_histogram[i];
        if (count != 0) {
            atomicAdd(histogram + i, static_cast<Count>(count));
        }
    }
}

// Narrows the range of the selection to the bucket that contains the rank, and clears the histogram. Called by the last
// block.
template <class F>
__device__ void choose_bucket(Selection<typename F::Bits> &selection, Count *histogram, int n_used, int shift) {
    using Bits = typename F::Bits;
    const int per_thread = (n_used + static_cast<int>(blockDim.x) - 1) / static_cast<int>(blockDim.x);
    const int begin = static_cast<int>(threadIdx.x) * per_thread;
    const int end = begin + per_thread < n_used ? begin + per_thread : n_used;
    const auto rank = static_cast<Count>(selection.rank);
    Count n_mine = 0;
    for (int i = begin; i < end; ++i) {
        n_mine += gpu::load_fresh(histogram + i);
    }
    Count total = 0;
    Count below = exclusive_scan_block(n_mine, total); // also a barrier: all threads have read the rank
    if (below < rank && rank <= below + n_mine) {
        int bucket = begin;
        Count count = gpu::load_fresh(histogram + bucket);
        while (below + count < rank) {
            below += count;
            ++bucket;
            count = gpu::load_fresh(histogram + bucket);
        }
        selection.first = static_cast<Bits>(selection.first + (static_cast<Bits>(bucket) << shift));
        const Bits rest = static_cast<Bits>((Bits{1} << shift) - 1); // first + rest may overflow
        if (static_cast<Bits>(selection.last - selection.first) >= rest) {
            selection.last = static_cast<Bits>(selection.first + rest);
        }
        selection.rank -= static_cast<std::int64_t>(below);
        selection.n_below += static_cast<std::int64_t>(below);
        selection.n_bits = shift;
        if (shift == 0) {
            selection.source = KeySource::none;
            selection.key = selection.first;
            selection.n_equal = static_cast<std::int64_t>(gpu::load_fresh(histogram + bucket));
        }
    }
    __syncthreads();
    for (int i = static_cast<int>(threadIdx.x); i < n_used; i += static_cast<int>(blockDim.x)) {
        histogram[i] = 0;
    }
}

template <class F>
__global__ void __launch_bounds__(max_threads, min_blocks_per_sm) radix_pass(KernelParams<F> params, int pass) {
    const unsigned index = blockIdx.y;
    Selection<typename F::Bits> &selection = params.state->selections[index];
    if (selection.source == KeySource::none) {
        return;
    }
    const bool key_known = selection.key_known;
    const bool from_candidates = selection.source == KeySource::candidates;
    const auto *keys = from_candidates ? params.candidates[index] : params.losses;
    const std::int64_t n = from_candidates ? static_cast<std::int64_t>(selection.n_reserved) : params.n;
    const int width = selection.n_bits < digit_bits<F> ? selection.n_bits : digit_bits<F>;
    const int shift = selection.n_bits - width;
    const int n_used = 1 << width;
    Count *histogram = params.histograms[index];
    if (key_known) {
        count_sides<F>(selection, keys, n, from_candidates, histogram);
    } else {
        build_histogram<F>(selection, keys, n, from_candidates, shift, n_used, histogram);
    }
    if (!is_last_block(&params.state->radix_tickets[pass][index], gridDim.x)) {
        return;
    }
    if (!key_known) {
        choose_bucket<F>(selection, histogram, n_used, shift);
    } else if (threadIdx.x == 0) {
        selection.source = KeySource::none;
        selection.n_below += static_cast<std::int64_t>(gpu::load_fresh(histogram));
        selection.n_equal = static_cast<std::int64_t>(gpu::load_fresh(histogram + 1));
    }
}

} // namespace rrm::cuda
