// Sort of the losses by group and then by key: a radix sort of pairs of a key and a group, least significant digit
// first, and the digits of the group last. A pass is three launches: each warp counts the digits of its part of the
// array; the counts become positions; each warp moves its pairs there, in their order.
//
// No step depends on how the samples are distributed among the groups.
#pragma once

#include <type_traits>

#include "compat.h"
#include "reduce.h"
#include "state.h"

namespace rrm::cuda {

constexpr int max_sort_digits = 1 << max_sort_digit_bits; // values of a digit
constexpr int max_warps = max_threads / warp_size;        // of a block

// Integers of a native width, in which keys are sorted.
template <class F> using SortWord = std::conditional_t<F::width == 64, std::uint64_t, std::uint32_t>;

template <class Word> struct SortPass {
    const Word *keys;
    const std::int32_t *groups;
    std::int64_t n;
    Word *sorted_keys;
    std::int32_t *sorted_groups;
    bool of_group;         // the digit is one of the group
    int shift, digit_bits; // of the digit
    Count *positions;      // for each digit one per warp: first the number of its pairs, then the position of the first
    Count *digit_begins;   // for each digit: the number of its pairs, then the position of the first
    unsigned *ticket;      // blocks that have finished find_positions()

    [[nodiscard]] RRM_HD unsigned n_digits() const {
        return 1U << digit_bits;
    }
    [[nodiscard]] __device__ unsigned digit(Word key, std::int32_t group) const {
        const Word word = of_group ? static_cast<Word>(group) : key;
        return static_cast<unsigned>(word >> shift) & (n_digits() - 1);
    }
};

// The part of an array that a warp handles.
struct WarpChunk {
    std::int64_t n_warps, warp, begin, end;

    __device__ explicit WarpChunk(std::int64_t n) {
        const auto per_block = std::int64_t{blockDim.x} / warp_size;
        n_warps = gridDim.x * per_block;
        warp = blockIdx.x * per_block + threadIdx.x / warp_size;
        const std::int64_t size = ((n + n_warps - 1) / n_warps + warp_size - 1) / warp_size * warp_size;
        begin = warp * size < n ? warp * size : n;
        end = begin + size < n ? begin + size : n;
    }
};

// Number and first index of the losses that make a call invalid, of a thread, a block or the grid. An index of all
// ones: there is none.
struct NonFiniteScan {
    Count n_nan = 0, first_nan = ~Count{0}, n_neg_inf = 0, first_neg_inf = ~Count{0};

    __device__ void merge(const NonFiniteScan &other) {
        n_nan += other.n_nan;
        first_nan = first_nan < other.first_nan ? first_nan : other.first_nan;
        n_neg_inf += other.n_neg_inf;
        first_neg_inf = first_neg_inf < other.first_neg_inf ? first_neg_inf : other.first_neg_inf;
    }
};

// Writes the keys of the losses, and adds the non-finite losses to `non_finite`.
template <class F>
__global__ void __launch_bounds__(max_threads, min_blocks_per_sm)
    load_keys(const typename F::Bits *losses, std::int64_t n, SortWord<F> *keys, NonFiniteScan *non_finite) {
    NonFiniteScan scan;
    const std::int64_t thread = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
    for (std::int64_t i = thread; i < n; i += std::int64_t{gridDim.x} * blockDim.x) {
        const auto key = F::key(gpu::load(losses + i));
        gpu::store(keys + i, key);
        if (key == F::key_nan) {
            scan.merge({1, static_cast<Count>(i), 0, ~Count{0}});
        } else if (key == F::key_neg_inf) {
            scan.merge({0, ~Count{0}, 1, static_cast<Count>(i)});
        }
    }
    scan = block_reduce(scan);
    if (threadIdx.x == 0 && scan.n_nan + scan.n_neg_inf != 0) {
        atomicAdd(&non_finite->n_nan, scan.n_nan);
        atomicMin(&non_finite->first_nan, scan.first_nan);
        atomicAdd(&non_finite->n_neg_inf, scan.n_neg_inf);
        atomicMin(&non_finite->first_neg_inf, scan.first_neg_inf);
    }
}

template <class Word>
__global__ void __launch_bounds__(max_threads, min_blocks_per_sm) count_digits(SortPass<Word> pass) {
    GPU_SHARED(unsigned[max_warps * max_sort_digits], counts);
    const WarpChunk chunk(pass.n);
    const unsigned first = threadIdx.x / warp_size * max_sort_digits; // of the warp's counts
    for (unsigned d = lane(); d < pass.n_digits(); d += warp_size) {
        counts[first + d] = 0;
    }
    __syncwarp();
    for (std::int64_t i = chunk.begin + lane(); i < chunk.end; i += warp_size) {
        atomicAdd(&counts[first + pass.digit(gpu::load(pass.keys + i), gpu::load(pass.groups + i))], 1U);
    }
    __syncwarp();
    for (unsigned d = lane(); d < pass.n_digits(); d += warp_size) {
        const unsigned count = counts[first + d];
        gpu::store(pass.positions + d * chunk.n_warps + chunk.warp, count);
    }
}

// Replaces n numbers by their exclusive prefix sums, in one block, and returns their sum.
__device__ inline Count exclusive_scan_array(Count *array, std::int64_t n) {
    Count sum = 0;
    for (std::int64_t begin = 0; begin < n; begin += blockDim.x) {
        const std::int64_t i = begin + threadIdx.x;
        Count total = 0;
        const Count before = exclusive_scan_block(i < n ? gpu::load_fresh(array + i) : 0, total);
        if (i < n) {
            gpu::store(array + i, sum + before);
        }
        sum += total;
    }
    return sum;
}

// Turns counts into positions; one block per digit.
template <class Word>
__global__ void __launch_bounds__(max_threads, min_blocks_per_sm)
    find_positions(SortPass<Word> pass, std::int64_t n_warps) {
    const Count sum = exclusive_scan_array(pass.positions + blockIdx.x * n_warps, n_warps);
    if (threadIdx.x == 0) {
        gpu::store(pass.digit_begins + blockIdx.x, sum);
    }
    if (is_last_block(pass.ticket, gridDim.x)) {
        exclusive_scan_array(pass.digit_begins, pass.n_digits());
    }
}

// The lanes of the warp that take part and have the same digit as this one. All lanes must call it.
__device__ inline unsigned lanes_with_digit(unsigned digit, int digit_bits, bool takes_part) {
    unsigned lanes = __ballot_sync(full_mask, static_cast<int>(takes_part));
    for (int bit = 0; bit < digit_bits; ++bit) {
        const bool is_set = (digit >> bit & 1U) != 0;
        const unsigned set = __ballot_sync(full_mask, static_cast<int>(is_set));
        lanes &= is_set ? set : ~set;
    }
    return lanes;
}

template <class Word>
__global__ void __launch_bounds__(max_threads, min_blocks_per_sm) move_pairs(SortPass<Word> pass) {
    GPU_SHARED(Count[max_warps * max_sort_digits], next_positions);
    const WarpChunk chunk(pass.n);
    const unsigned first = threadIdx.x / warp_size * max_sort_digits; // of the warp's positions
    for (unsigned d = lane(); d < pass.n_digits(); d += warp_size) {
        next_positions[first + d] =
            gpu::load(pass.positions + d * chunk.n_warps + chunk.warp) + gpu::load(pass.digit_begins + d);
    }
    for (std::int64_t begin = chunk.begin; begin < chunk.end; begin += warp_size) {
        const std::int64_t i = begin + lane();
        const bool takes_part = i < chunk.end;
        const Word key = takes_part ? gpu::load(pass.keys + i) : 0;
        const std::int32_t group = takes_part ? gpu::load(pass.groups + i) : 0;
        const unsigned digit = pass.digit(key, group);
        const unsigned lanes = lanes_with_digit(digit, pass.digit_bits, takes_part);
        const int n_before = __popc(lanes & ((1U << lane()) - 1));
        __syncwarp(); // the positions have been written
        const Count next = next_positions[first + digit];
        __syncwarp(); // all lanes have read theirs
        if (takes_part) {
            const Count position = next + static_cast<unsigned>(n_before);
            gpu::store(pass.sorted_keys + position, key);
            gpu::store(pass.sorted_groups + position, group);
            if (n_before == 0) {
                next_positions[first + digit] = next + static_cast<unsigned>(__popc(lanes));
            }
        }
    }
}

} // namespace rrm::cuda
