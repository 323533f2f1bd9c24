// First launch: one block sorts a sample of the losses and derives a bracket of two keys for each threshold.
//
// The sample affects the amount of work that follows, never the result: scan_losses() counts all losses, and a
// threshold outside its bracket is selected from all losses.
#pragma once

#include "compat.h"
#include "state.h"
#include "vector_load.h"

namespace rrm::cuda {

// Index of the i-th of `sample_size` sampled losses (a power of two): stratified sampling, one loss at a pseudo-random
// offset in each of `sample_size` equal parts, so that neither sorted nor periodic losses bias the sample.
__device__ inline std::int64_t sample_index(int i, int sample_size, std::int64_t n) {
    const int shift = __popc(static_cast<unsigned>(sample_size - 1));
    const std::int64_t begin = (i * n) >> shift, end = ((i + 1) * n) >> shift;
    auto hash = static_cast<std::uint32_t>(i) * 0x9e3779b9U;
    hash = (hash ^ hash >> 15) * 0x2c1b3c6dU;
    hash = (hash ^ hash >> 12) * 0x297a2d39U;
    hash ^= hash >> 15;
    return begin + static_cast<std::int64_t>((static_cast<std::uint64_t>(end - begin) * hash) >> 32);
}

// Bitonic sort of n keys in shared memory; n is a power of two, at least 64. With strides up to 32 each warp exchanges
// keys within 64 keys of its own, so that a warp-level barrier suffices.
template <class Bits, class Keys> __device__ void bitonic_sort(Keys &keys, int n) {
    for (int run = 2; run <= n; run *= 2) {
        for (int stride = run / 2; stride > 0; stride /= 2) {
            for (int i = static_cast<int>(threadIdx.x); i < n / 2; i += static_cast<int>(blockDim.x)) {
                const int a = 2 * i - (i & (stride - 1)), b = a + stride;
                const Bits x = keys[a], y = keys[b];
                if ((x > y) == ((a & run) == 0)) {
                    keys[a] = y;
                    keys[b] = x;
                }
            }
            const int next = stride > 1 ? stride / 2 : run;
            if (stride > warp_size || next > warp_size) {
                __syncthreads();
            } else {
                __syncwarp();
            }
        }
    }
}

// Number of sorted keys that are not NaN; NaN has the greatest key.
template <class F, class Keys> __device__ int count_numbers(Keys &keys, int n) {
    int low = 0, high = n;
    while (low < high) {
        const int middle = (low + high) / 2;
        if (keys[middle] == F::key_nan) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

// Bracket of the gamma rule's threshold, the minimum plus gamma. The sample's minimum is an upper bound of the minimum;
// the sample's 33rd key is about as far above it as the minimum can be expected below.
template <class F, class Keys>
__device__ void bracket_gamma(Selection<typename F::Bits> &selection, Keys &keys, int n_numbers, bool complete,
                              double gamma) {
    const double minimum = F::decode(keys[0]);
    selection.high = F::key_not_above(minimum + gamma);
    if (complete) {
        selection.low = selection.high;
    } else if (n_numbers > warp_size) {
        selection.low = F::key_not_above((minimum - (F::decode(keys[warp_size]) - minimum)) + gamma);
    }
}

// Bracket of the key of a rank, from its window in the sorted sample of `n_numbers` numbers.
template <class F, class Keys>
__device__ void bracket_rank(Selection<typename F::Bits> &selection, Keys &keys, int n_numbers,
                             const SampleWindow &window) {
    // NaN are sorted to the end, and ranks are limited to the numbers: a window beyond them means the largest number.
    const int low = window.low < n_numbers - 2 ? window.low : n_numbers - 2;
    if (low >= 0) {
        selection.low = keys[low];
    }
    selection.high = window.high < n_numbers ? static_cast<typename F::Bits>(keys[window.high]) : F::key_inf;
}

template <class F> __global__ void __launch_bounds__(1024) sample_brackets(KernelParams<F> params) {
    using Bits = typename F::Bits;
    GPU_SHARED(Bits[max_sample_size], keys);
    const bool complete = params.sample_is_complete();
    const int sample_size = complete ? static_cast<int>(params.n) : params.config.sample_size;
    int padded_size = 2 * warp_size; // at least: bracket_gamma() reads keys[warp_size]
    while (padded_size < sample_size) {
        padded_size *= 2;
    }
    for (int i = static_cast<int>(threadIdx.x); i < padded_size; i += static_cast<int>(blockDim.x)) {
        Bits key = F::key_nan;
        if (i < sample_size) {
            const std::int64_t index = complete ? i : sample_index(i, sample_size, params.n);
            key = F::key(gpu::load(params.losses + index));
        }
        keys[i] = key;
    }
    __syncthreads();
    bitonic_sort<Bits>(keys, padded_size);
    if (threadIdx.x != 0) {
        return;
    }
    State<F> &state = *params.state;
    const int n_numbers = count_numbers<F>(keys, padded_size);
    for (int i = 0; i < params.n_selections; ++i) {
        Selection<Bits> selection{};
        if (n_numbers == 0) { // all NaN: rejected, or pruned whatever the bracket
            selection.high = F::key_inf;
        } else if (i == 0 && params.rule.rank == 0) {
            bracket_gamma<F>(selection, keys, n_numbers, complete, params.rule.gamma);
        } else if (complete) {
            const std::int64_t rank = i == 0 ? params.rule.rank : params.rule.recipient_rank;
            const Bits key = keys[(rank < n_numbers ? rank : n_numbers) - 1];
            selection.low = key;
            selection.high = key;
        } else {
            bracket_rank<F>(selection, keys, n_numbers, params.windows[i]);
        }
        state.selections[i] = selection;
    }
    state.first_nan = ~Count{0};
    state.first_neg_inf = ~Count{0};
    state.rejected = false;
    state.invalid_weights = {~Count{0}, 0, 0};
    state.scan_ticket = 0;
    for (int i = 0; i < n_digits<F>; ++i) {
        state.radix_tickets[i][0] = 0;
        state.radix_tickets[i][1] = 0;
    }
}

} // namespace rrm::cuda
