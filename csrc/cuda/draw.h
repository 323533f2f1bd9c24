// First launch: one block looks at a sample of the losses and says between which two keys each cut should lie.
//
// The sample decides how much work follows, never the answer: survey() counts, and a key outside its bracket is sought
// among all losses.
#pragma once

#include "gpu.h"
#include "state.h"
#include "vectors.h"

namespace rrm::cuda {

// Where the i-th of `drawn` samples lies, a power of two: anywhere in the i-th of as many equal parts, so that neither
// order nor period of the losses misleads it easily.
__device__ inline std::int64_t place(int i, int drawn, std::int64_t n) {
    const int shift = __popc(static_cast<unsigned>(drawn - 1));
    const std::int64_t begin = (i * n) >> shift, end = ((i + 1) * n) >> shift;
    auto hash = static_cast<std::uint32_t>(i) * 0x9e3779b9U;
    hash = (hash ^ hash >> 15) * 0x2c1b3c6dU;
    hash = (hash ^ hash >> 12) * 0x297a2d39U;
    hash ^= hash >> 15;
    return begin + static_cast<std::int64_t>((static_cast<std::uint64_t>(end - begin) * hash) >> 32);
}

// Sorts a power of two of keys, 64 at least, in shared memory: a bitonic network, whose steps are the same whatever the
// keys. Strides up to 32 stay within the 64 keys on which one warp works, which then waits for nobody else.
template <class Bits, class Keys> __device__ void sort_together(Keys &keys, int n) {
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
            if (stride > warp || next > warp) {
                __syncthreads();
            } else {
                __syncwarp();
            }
        }
    }
}

// How many of the sorted keys aren't NaN.
template <class F, class Keys> __device__ int numbers(Keys &keys, int n) {
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

// The threshold under the gamma rule is the minimum plus gamma. The sample's minimum is an upper bound, and the losses'
// own hardly lies further below it than the sample's 32nd lies above.
template <class F, class Keys>
__device__ void bracket_price(Cut<typename F::Bits> &cut, Keys &keys, int m, bool all, double gamma) {
    const double least = F::decode(keys[0]);
    cut.high = F::key_not_above(least + gamma);
    if (all) {
        cut.low = cut.high;
    } else if (m > warp) {
        cut.low = F::key_not_above((least - (F::decode(keys[warp]) - least)) + gamma);
    }
}

template <class F, class Keys>
__device__ void bracket_rank(Cut<typename F::Bits> &cut, Keys &keys, int m, const Window &window) {
    // NaN stand at the end, and no rank reaches them: beyond the numbers, the largest of all is sought.
    const int low = window.low < m - 2 ? window.low : m - 2;
    if (low >= 0) {
        cut.low = keys[low];
    }
    cut.high = window.high < m ? static_cast<typename F::Bits>(keys[window.high]) : F::key_inf;
}

template <class F> __global__ void __launch_bounds__(1024) draw(Job<F> job) {
    using Bits = typename F::Bits;
    GPU_SHARED(Bits[most_drawn], keys);
    const bool all = job.all_drawn();
    const int drawn = all ? static_cast<int>(job.n) : job.shape.drawn;
    int padded = 2 * warp; // so that keys[warp] is always there
    while (padded < drawn) {
        padded *= 2;
    }
    for (int i = static_cast<int>(threadIdx.x); i < padded; i += static_cast<int>(blockDim.x)) {
        keys[i] = i < drawn ? F::key(gpu::load(job.losses + (all ? i : place(i, drawn, job.n)))) : F::key_nan;
    }
    __syncthreads();
    sort_together<Bits>(keys, padded);
    if (threadIdx.x != 0) {
        return;
    }
    State<F> &state = *job.state;
    const int m = numbers<F>(keys, padded);
    for (int i = 0; i < job.cuts; ++i) {
        Cut<Bits> cut{};
        if (m == 0) { // nothing but NaN: refused, or any bracket will do
            cut.high = F::key_inf;
        } else if (i == 0 && job.rule.rank == 0) {
            bracket_price<F>(cut, keys, m, all, job.rule.gamma);
        } else if (all) {
            const std::int64_t rank = i == 0 ? job.rule.rank : job.rule.recipient_rank;
            cut.low = cut.high = keys[(rank < m ? rank : m) - 1];
        } else {
            bracket_rank<F>(cut, keys, m, job.window[i]);
        }
        state.cut[i] = cut;
    }
    state.first_nan = state.first_low = ~Count{0};
    state.refused = false;
    state.surveyed = 0;
    for (int i = 0; i < digits<F>; ++i) {
        state.narrowed[i][0] = state.narrowed[i][1] = 0;
    }
}

} // namespace rrm::cuda
