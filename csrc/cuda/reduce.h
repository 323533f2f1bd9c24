// Collective operations of a warp, a block and the grid: reductions, prefix sums, detection of the last block.
#pragma once

#include <bit>
#include <cstdint>

#include "compat.h"
#include "state.h"

namespace rrm::cuda {

constexpr unsigned full_mask = 0xffffffffU;

__device__ __forceinline__ unsigned lane() {
    return threadIdx.x % warp_size;
}

// A trivially copyable value as 32-bit words: the unit of shuffles, and a type without a constructor for shared memory.
template <class T> struct Words {
    static_assert(sizeof(T) % sizeof(unsigned) == 0);
    static constexpr int n = sizeof(T) / sizeof(unsigned);
    unsigned at[n];
};

// The value of the lane `offset` above this one.
template <class T> __device__ __forceinline__ T shfl_down(const T &value, unsigned offset) {
    auto words = std::bit_cast<Words<T>>(value);
    GPU_UNROLL for (int i = 0; i < words.n; ++i) {
        words.at[i] = __shfl_down_sync(full_mask, words.at[i], offset);
    }
    return std::bit_cast<T>(words);
}

template <class T> __device__ T warp_reduce(T value) {
    for (unsigned offset = warp_size / 2; offset != 0; offset /= 2) {
        value.merge(shfl_down(value, offset));
    }
    return value;
}

// Merges the values of all threads of the block; the result is valid in thread 0. T{} must be the identity of merge.
template <class T> __device__ T block_reduce(T value) {
    GPU_SHARED(Words<T>[warp_size], warp_results);
    value = warp_reduce(value);
    if (lane() == 0) {
        warp_results[threadIdx.x / warp_size] = std::bit_cast<Words<T>>(value);
    }
    __syncthreads();
    if (threadIdx.x < warp_size) {
        value = T{};
        if (threadIdx.x < blockDim.x / warp_size) {
            value = std::bit_cast<T>(static_cast<Words<T>>(warp_results[threadIdx.x]));
        }
        value = warp_reduce(value);
    }
    __syncthreads(); // warp_results may be reused
    return value;
}

// Exclusive prefix sum over the lanes of the warp; `total` receives the sum of all lanes.
template <class T> __device__ __forceinline__ T exclusive_scan_warp(T value, T &total) {
    T sum = value;
    for (unsigned offset = 1; offset < warp_size; offset *= 2) {
        const T before = __shfl_up_sync(full_mask, sum, offset);
        sum += lane() >= offset ? before : 0;
    }
    total = __shfl_sync(full_mask, sum, warp_size - 1);
    return sum - value;
}

// Exclusive prefix sum over the threads of the block; `total` receives the sum of all threads.
__device__ inline Count exclusive_scan_block(Count value, Count &total) {
    GPU_SHARED(Count[warp_size], warp_totals);
    Count warp_total = 0;
    Count before = exclusive_scan_warp(value, warp_total);
    if (lane() == 0) {
        warp_totals[threadIdx.x / warp_size] = warp_total;
    }
    __syncthreads();
    total = 0;
    for (unsigned i = 0; i < blockDim.x / warp_size; ++i) {
        const Count of_warp = warp_totals[i];
        before += i < threadIdx.x / warp_size ? of_warp : 0;
        total += of_warp;
    }
    __syncthreads();
    return before;
}

// True in the last of the grid's `blocks` blocks to call this; writes of the other blocks before their calls are
// visible to it.
__device__ inline bool is_last_block(unsigned *ticket, unsigned blocks) {
    GPU_SHARED(unsigned, last);
    __syncthreads();
    if (threadIdx.x == 0) {
        __threadfence(); // releases the writes of the whole block: it has passed the barrier
        last = atomicAdd(ticket, 1U) == blocks - 1 ? 1U : 0U;
        __threadfence();
    }
    __syncthreads();
    return last != 0;
}

} // namespace rrm::cuda
