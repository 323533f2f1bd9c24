// All counts of a round in one array, so that a pass changes them in one call, which no Python exception can interrupt.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "bucket_counts.h"

namespace rrm::cpu {

// Places in the array, which Python allocates: rrm_core/definition/counting.py has the same ones and describes them.
namespace place {
constexpr std::size_t min_key = 0, first_nan = 1, first_neg_inf = 2, type_code = 3, negative_type_code = 4;
constexpr std::size_t n = 5, checksum = 6, pivots = 7, ranges = 11, histograms = 13;
} // namespace place

// Lowers a number of the array to `value`.
inline void lower(std::int64_t &number, std::int64_t value) {
    number = std::min(number, value);
}

// Adds what the two kinds of passes have in common.
inline void add_totals(std::int64_t *counts, std::int64_t n, std::uint32_t checksum) {
    counts[place::n] += n;
    counts[place::checksum] = static_cast<std::uint32_t>(counts[place::checksum]) + checksum;
}

// Adds n losses, whose indices start at `first`, in the first round. If an exception is thrown, nothing is added.
template <class F>
void add_first_pass(const typename F::Bits *losses, std::int64_t n, std::int64_t first, int type_code, int threads,
                    std::int64_t *counts) {
    FirstPassCounts pass{.counts = counts + place::histograms};
    count_first_pass<F>(losses, n, first, threads, pass);
    if (pass.min_key < F::key_nan) {
        // Keys are stored as signed numbers in the same order.
        lower(counts[place::min_key], static_cast<std::int64_t>(pass.min_key ^ (std::uint64_t{1} << 63)));
    }
    if (pass.first_nan >= 0) {
        lower(counts[place::first_nan], pass.first_nan);
    }
    if (pass.first_neg_inf >= 0) {
        lower(counts[place::first_neg_inf], pass.first_neg_inf);
    }
    lower(counts[place::type_code], type_code);
    lower(counts[place::negative_type_code], -type_code);
    add_totals(counts, n, pass.checksum);
}

// Memory for the keys of a range; the keys stored so far are as many as the array counts, or fill the memory.
struct KeyMemory {
    std::uint64_t *keys = nullptr;
    std::int64_t capacity = 0;
};

// Adds n losses in a later round, and stores the keys of a range that has memory for them: the others have a histogram.
// If an exception is thrown, nothing is added.
template <class F>
void add_pass(const typename F::Bits *losses, std::int64_t n, const std::array<KeyRange, 2> &ranges,
              const std::array<KeyMemory, 2> &memory, const std::array<std::uint64_t, 2> &pivots, int threads,
              std::int64_t *counts) {
    CountingPass pass{.ranges = ranges, .range_counts = {}, .pivots = pivots, .pivot_counts = {}};
    for (std::size_t i = 0; i < 2; ++i) {
        RangeCounts &range_counts = pass.range_counts[i];
        if (memory[i].keys != nullptr) {
            range_counts.keys = memory[i].keys;
            range_counts.capacity = memory[i].capacity;
            range_counts.n_stored = std::min(counts[place::ranges + i], memory[i].capacity);
        } else if (ranges[i].first <= ranges[i].last) {
            range_counts.counts = counts + place::histograms + (i << bin_bits);
        }
    }
    count_pass<F>(losses, n, threads, pass);
    for (std::size_t i = 0; i < 2; ++i) {
        counts[place::ranges + i] += pass.range_counts[i].n_in_range;
        counts[place::pivots + 2 * i] += pass.pivot_counts[i].n_below;
        counts[place::pivots + 2 * i + 1] += pass.pivot_counts[i].n_equal;
    }
    add_totals(counts, n, pass.checksum);
}

} // namespace rrm::cpu
