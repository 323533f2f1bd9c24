// Order statistics and counts of each group, by binary searches in the losses sorted by group and key: one thread per
// group.
#pragma once

#include "compat.h"
#include "group_sort.h"
#include "groups.h"

namespace rrm::cuda {

// Keys and groups of the losses, sorted by group and then by key.
template <class F> struct SortedLosses {
    const SortWord<F> *keys;
    const std::int32_t *groups;
    std::int64_t n, n_groups;
};

// The first of the positions in [begin, end) of a sorted array at which there is no number below x.
template <class T> __device__ std::int64_t lower_bound(const T *sorted, std::int64_t begin, std::int64_t end, T x) {
    while (begin < end) {
        const std::int64_t middle = begin + (end - begin) / 2;
        if (gpu::load(sorted + middle) < x) {
            begin = middle + 1;
        } else {
            end = middle;
        }
    }
    return begin;
}

template <class F>
__global__ void __launch_bounds__(max_threads, min_blocks_per_sm)
    summarize_groups(SortedLosses<F> sorted, GroupSummary summary) {
    using Word = SortWord<F>;
    const std::int64_t thread = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
    for (std::int64_t g = thread; g < sorted.n_groups; g += std::int64_t{gridDim.x} * blockDim.x) {
        const auto group = static_cast<std::int32_t>(g);
        const std::int64_t begin = lower_bound(sorted.groups, 0, sorted.n, group);
        const std::int64_t end = lower_bound(sorted.groups, begin, sorted.n, group + 1);
        const std::int64_t end_of_numbers = lower_bound(sorted.keys, begin, end, Word{F::key_nan});
        double minimum = std::numeric_limits<double>::quiet_NaN();
        std::int64_t n_minimum = 0;
        if (begin < end_of_numbers) {
            const Word key = gpu::load(sorted.keys + begin);
            minimum = F::decode(static_cast<typename F::Bits>(key));
            n_minimum = lower_bound(sorted.keys, begin, end_of_numbers, static_cast<Word>(key + 1)) - begin;
        } else if (begin < end) {
            minimum = std::numeric_limits<double>::infinity();
        }
        gpu::store(summary.begins + g, begin);
        gpu::store(summary.sizes + g, end - begin);
        gpu::store(summary.n_numbers + g, end_of_numbers - begin);
        gpu::store(summary.minima + g, minimum);
        gpu::store(summary.n_minima + g, n_minimum);
    }
}

// Finds the loss with a rank of each group, or counts relative to a value of each group if `ranks` is null.
template <class F>
__global__ void __launch_bounds__(max_threads, min_blocks_per_sm)
    find_statistics(SortedLosses<F> sorted, GroupSummary summary, const std::int64_t *ranks, const double *values,
                    GroupStatistics result) {
    using Word = SortWord<F>;
    const std::int64_t thread = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
    for (std::int64_t g = thread; g < sorted.n_groups; g += std::int64_t{gridDim.x} * blockDim.x) {
        const std::int64_t begin = gpu::load(summary.begins + g);
        const std::int64_t n_numbers = gpu::load(summary.n_numbers + g);
        Word key = F::key_nan;
        if (ranks == nullptr) {
            const double value = gpu::load(values + g);
            key = value == value ? F::key_not_above(value) : F::key_nan;
        } else {
            const std::int64_t rank = gpu::load(ranks + g) < n_numbers ? gpu::load(ranks + g) : n_numbers;
            key = rank > 0 ? gpu::load(sorted.keys + begin + rank - 1) : Word{F::key_nan};
        }
        double found = std::numeric_limits<double>::quiet_NaN();
        std::int64_t n_below = 0, n_equal = 0;
        if (key != F::key_nan) {
            const std::int64_t end = begin + n_numbers;
            const std::int64_t first = lower_bound(sorted.keys, begin, end, key);
            found = F::decode(static_cast<typename F::Bits>(key));
            n_below = first - begin;
            n_equal = lower_bound(sorted.keys, first, end, static_cast<Word>(key + 1)) - first;
        }
        gpu::store(result.values + g, found);
        gpu::store(result.n_below + g, n_below);
        gpu::store(result.n_equal + g, n_equal);
    }
}

} // namespace rrm::cuda
