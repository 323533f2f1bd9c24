// The launches between: each determines one digit of every cut that is still sought, most significant first, by a
// histogram of that digit over the candidates, or over all losses where those wouldn't do. Where the key is known
// already, the first of them counts its sides.
#pragma once

#include "gpu.h"
#include "state.h"
#include "together.h"
#include "vectors.h"

namespace rrm::cuda {

// Calls f(key) for every key of the array, those of other blocks excepted.
template <class F, class Function>
__device__ void for_each_key(const typename F::Bits *array, std::int64_t n, bool is_key, Function f) {
    using Bits = typename F::Bits;
    for_each_tile(Vectors<Bits>(array, n), [&](const auto &loaded, auto) {
        GPU_UNROLL for (const auto &vector : loaded) {
            GPU_UNROLL for (const Bits bits : vector.at) {
                f(is_key ? bits : F::key(bits));
            }
        }
    });
}

// How many lie below and on a known key, as far as this block has seen.
struct Sides {
    std::int64_t below = 0, equal = 0;

    __device__ void merge(const Sides &other) {
        below += other.below;
        equal += other.equal;
    }
};

// Adds up, in bins 0 and 1, how many keys lie below the known one, but not below the first, and on it.
template <class F>
__device__ void count_sides(const Cut<typename F::Bits> &cut, const typename F::Bits *keys, std::int64_t n,
                            bool from_candidates, Count *bins) {
    const auto first = cut.first, key = cut.key;
    Sides sides;
    for_each_key<F>(keys, n, from_candidates, [&](auto k) {
        sides.below += k >= first && k < key ? 1 : 0;
        sides.equal += k == key ? 1 : 0;
    });
    sides = merge_block(sides);
    if (threadIdx.x == 0) {
        atomicAdd(bins, static_cast<Count>(sides.below));
        atomicAdd(bins + 1, static_cast<Count>(sides.equal));
    }
}

// Adds up how many keys between the first and the last have which digit.
template <class F>
__device__ void count_digits(const Cut<typename F::Bits> &cut, const typename F::Bits *keys, std::int64_t n,
                             bool from_candidates, int shift, int used, Count *bins) {
    using Bits = typename F::Bits;
    GPU_SHARED(unsigned[n_bins<F>], histogram);
    const Bits first = cut.first, last = cut.last;
    for (int i = static_cast<int>(threadIdx.x); i < used; i += static_cast<int>(blockDim.x)) {
        histogram[i] = 0;
    }
    __syncthreads();
    for_each_key<F>(keys, n, from_candidates, [&](Bits k) {
        if (k >= first && k <= last) {
            atomicAdd(&histogram[static_cast<int>(static_cast<Bits>(k - first) >> shift)], 1U);
        }
    });
    __syncthreads();
    for (int i = static_cast<int>(threadIdx.x); i < used; i += static_cast<int>(blockDim.x)) {
        const unsigned here = histogram[i];
        if (here != 0) {
            atomicAdd(bins + i, static_cast<Count>(here));
        }
    }
}

// Takes the digit whose bin the rank falls into; called by the last block. Leaves the bins zero.
template <class F> __device__ void choose_digit(Cut<typename F::Bits> &cut, Count *bins, int used, int shift) {
    using Bits = typename F::Bits;
    const int share = (used + static_cast<int>(blockDim.x) - 1) / static_cast<int>(blockDim.x);
    const int begin = static_cast<int>(threadIdx.x) * share, end = begin + share < used ? begin + share : used;
    const auto rank = static_cast<Count>(cut.rank);
    Count mine = 0;
    for (int i = begin; i < end; ++i) {
        mine += gpu::load_fresh(bins + i);
    }
    Count below = sum_before_in_block(mine); // also a barrier: everyone has read the rank
    if (below < rank && rank <= below + mine) {
        int digit = begin;
        for (Count here = gpu::load_fresh(bins + digit); below + here < rank; here = gpu::load_fresh(bins + digit)) {
            below += here;
            ++digit;
        }
        cut.first = static_cast<Bits>(cut.first + (static_cast<Bits>(digit) << shift));
        const Bits rest = static_cast<Bits>((Bits{1} << shift) - 1); // first + rest may be too large for a key
        cut.last = static_cast<Bits>(cut.last - cut.first) < rest ? cut.last : static_cast<Bits>(cut.first + rest);
        cut.rank -= static_cast<std::int64_t>(below);
        cut.below += static_cast<std::int64_t>(below);
        cut.bits = shift;
        if (shift == 0) {
            cut.search = Search::over;
            cut.key = cut.first;
            cut.equal = static_cast<std::int64_t>(gpu::load_fresh(bins + digit));
        }
    }
    __syncthreads();
    for (int i = static_cast<int>(threadIdx.x); i < used; i += static_cast<int>(blockDim.x)) {
        bins[i] = 0;
    }
}

template <class F> __global__ void __launch_bounds__(most_threads, least_blocks) narrow(Job<F> job, int pass) {
    const unsigned c = blockIdx.y;
    Cut<typename F::Bits> &cut = job.state->cut[c];
    if (cut.search == Search::over) {
        return;
    }
    const bool known = cut.known, from_candidates = cut.search == Search::candidates;
    const auto *keys = from_candidates ? job.candidates[c] : job.losses;
    const std::int64_t n = from_candidates ? static_cast<std::int64_t>(cut.reserved) : job.n;
    const int width = cut.bits < digit_bits<F> ? cut.bits : digit_bits<F>, shift = cut.bits - width;
    Count *bins = job.bins[c];
    if (known) {
        count_sides<F>(cut, keys, n, from_candidates, bins);
    } else {
        count_digits<F>(cut, keys, n, from_candidates, shift, 1 << width, bins);
    }
    if (!is_last_block(&job.state->narrowed[pass][c], gridDim.x)) {
        return;
    }
    if (!known) {
        choose_digit<F>(cut, bins, 1 << width, shift);
    } else if (threadIdx.x == 0) {
        cut.search = Search::over;
        cut.below += static_cast<std::int64_t>(gpu::load_fresh(bins));
        cut.equal = static_cast<std::int64_t>(gpu::load_fresh(bins + 1));
    }
}

} // namespace rrm::cuda
