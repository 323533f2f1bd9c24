// What the threads of a warp, of a block and of a grid do together.
#pragma once

#include <bit>
#include <cstdint>

#include "gpu.h"
#include "state.h"

namespace rrm::cuda {

constexpr unsigned all_lanes = 0xffffffffU;

__device__ __forceinline__ unsigned lane() {
    return threadIdx.x % warp;
}

// A value of any type as words: what shuffles carry, and what can lie in shared memory, where nothing is constructed.
template <class T> struct Words {
    static_assert(sizeof(T) % sizeof(unsigned) == 0);
    static constexpr int n = sizeof(T) / sizeof(unsigned);
    unsigned at[n];
};

// What the lane `offset` further holds.
template <class T> __device__ __forceinline__ T from_lane_after(const T &mine, unsigned offset) {
    auto words = std::bit_cast<Words<T>>(mine);
    GPU_UNROLL for (int i = 0; i < words.n; ++i) {
        words.at[i] = __shfl_down_sync(all_lanes, words.at[i], offset);
    }
    return std::bit_cast<T>(words);
}

template <class T> __device__ T merge_warp(T mine) {
    for (unsigned offset = warp / 2; offset != 0; offset /= 2) {
        mine.merge(from_lane_after(mine, offset));
    }
    return mine;
}

// Merges what all threads of the block hold; thread 0 gets the result. T{} must be neutral.
template <class T> __device__ T merge_block(T mine) {
    GPU_SHARED(Words<T>[warp], parts);
    mine = merge_warp(mine);
    if (lane() == 0) {
        parts[threadIdx.x / warp] = std::bit_cast<Words<T>>(mine);
    }
    __syncthreads();
    if (threadIdx.x < warp) {
        mine = T{};
        if (threadIdx.x < blockDim.x / warp) {
            mine = std::bit_cast<T>(static_cast<Words<T>>(parts[threadIdx.x]));
        }
        mine = merge_warp(mine);
    }
    __syncthreads(); // `parts` may be used again
    return mine;
}

// The sum of what the lanes before this one hold; `all` becomes that of the whole warp.
template <class T> __device__ __forceinline__ T sum_before(T mine, T &all) {
    T sum = mine;
    for (unsigned offset = 1; offset < warp; offset *= 2) {
        const T before = __shfl_up_sync(all_lanes, sum, offset);
        sum += lane() >= offset ? before : 0;
    }
    all = __shfl_sync(all_lanes, sum, warp - 1);
    return sum - mine;
}

// The same over the threads of the block, without the total.
__device__ inline Count sum_before_in_block(Count mine) {
    GPU_SHARED(Count[warp], totals);
    Count all = 0;
    Count before = sum_before(mine, all);
    if (lane() == 0) {
        totals[threadIdx.x / warp] = all;
    }
    __syncthreads();
    for (unsigned i = 0; i < threadIdx.x / warp; ++i) {
        before += totals[i];
    }
    __syncthreads();
    return before;
}

// Whether this block is the last of the grid's `blocks` to come here. It then sees all that the others wrote before.
__device__ inline bool is_last_block(unsigned *ticket, unsigned blocks) {
    GPU_SHARED(unsigned, last);
    __syncthreads();
    if (threadIdx.x == 0) {
        __threadfence(); // for the whole block: the barrier comes before
        last = atomicAdd(ticket, 1U) == blocks - 1 ? 1U : 0U;
        __threadfence();
    }
    __syncthreads();
    return last != 0;
}

} // namespace rrm::cuda
