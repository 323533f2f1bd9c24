// All counts of a round with groups in one array, so that a pass changes them in one call, which no Python exception
// can interrupt; see round_counts.h.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "round_counts.h"

namespace rrm::cpu {

// What a pass counts, and where in the array, which Python allocates: `GroupPass` in
// rrm_core/definition/group_counting.py has the same places and describes them.
struct GroupPass {
    std::size_t n_groups = 0;
    bool is_first = false;
    int bits = 0;  // of a digit
    int shift = 0; // the digit of a key is its distance from the first key of a range, shifted right
    // First keys of ranges, n_own and n_pivots for each group.
    std::size_t n_own = 0, n_of_all = 0, n_pivots = 0;
    const std::uint64_t *own = nullptr, *of_all = nullptr, *pivots = nullptr;

    static constexpr std::size_t min_keys = 5; // the minima before it are those of `place`
    std::size_t n() const {
        return min_keys + n_groups;
    }
    std::size_t checksum() const {
        return n() + 1;
    }
    std::size_t n_neg_inf() const {
        return n() + 2;
    }
    std::size_t sizes() const {
        return n() + 3;
    }
    std::size_t n_nan() const {
        return sizes() + n_groups;
    }
    std::size_t pivot_counts() const {
        return n_nan() + n_groups;
    }
    std::size_t own_histograms() const {
        return pivot_counts() + 2 * n_pivots * n_groups;
    }
    std::size_t histograms_of_all() const {
        return own_histograms() + ((n_own * n_groups) << bits);
    }
};

// The sum of the words of a loss: of 32 bits, or 16 for losses of 16 bits.
template <class F> std::uint32_t sum_of_words(typename F::Bits bits) {
    if constexpr (F::width == 64) {
        return static_cast<std::uint32_t>(bits) + static_cast<std::uint32_t>(bits >> 32);
    } else {
        return bits;
    }
}

// The checksum of losses with groups: the sum of the words of each loss, times its group number + 1.
template <class F>
std::uint32_t group_checksum(const typename F::Bits *losses, const std::int32_t *groups, std::int64_t n) {
    std::uint32_t sum = 0;
    for (std::int64_t i = 0; i < n; ++i) {
        sum += sum_of_words<F>(losses[i]) * (static_cast<std::uint32_t>(groups[i]) + 1U);
    }
    return sum;
}

// Adds n losses, whose indices start at `first`. 0 <= groups[i] < n_groups.
template <class F>
void add_group_pass(const typename F::Bits *losses, const std::int32_t *groups, std::int64_t n, std::int64_t first,
                    int type_code, const GroupPass &pass, std::int64_t *counts) {
    const std::size_t n_groups = pass.n_groups;
    const std::uint64_t bins = std::uint64_t{1} << pass.bits;
    std::int64_t *const sizes = counts + pass.sizes();
    std::int64_t *const pivot_counts = counts + pass.pivot_counts();
    std::int64_t *const own_histograms = counts + pass.own_histograms();
    std::int64_t *const histograms_of_all = counts + pass.histograms_of_all();
    for (std::int64_t i = 0; i < n; ++i) {
        const auto key = F::key(losses[i]);
        const std::uint64_t wide = key;
        const auto group = static_cast<std::size_t>(groups[i]);
        ++sizes[group];
        if (pass.is_first) {
            if (key == F::key_nan) {
                ++counts[pass.n_nan() + group];
                lower(counts[place::first_nan], first + i);
            } else {
                // Keys are stored as signed numbers in the same order.
                lower(counts[GroupPass::min_keys + group], static_cast<std::int64_t>(wide ^ (std::uint64_t{1} << 63)));
            }
            if (key == F::key_neg_inf) {
                ++counts[pass.n_neg_inf()];
                lower(counts[place::first_neg_inf], first + i);
            }
        }
        // The distance of a key below the first wraps to a large number.
        for (std::size_t j = 0; j < pass.n_own; ++j) {
            const std::size_t row = j * n_groups + group;
            const std::uint64_t digit = (wide - pass.own[row]) >> pass.shift;
            if (digit < bins) {
                ++own_histograms[(row << pass.bits) + digit];
            }
        }
        for (std::size_t j = 0; j < pass.n_of_all; ++j) {
            const std::uint64_t digit = (wide - pass.of_all[j]) >> pass.shift;
            if (digit < bins) {
                ++histograms_of_all[(j << pass.bits) + digit];
            }
        }
        for (std::size_t j = 0; j < pass.n_pivots; ++j) {
            const std::uint64_t pivot = pass.pivots[j * n_groups + group];
            std::int64_t *const n_below = pivot_counts + 2 * j * n_groups + group;
            n_below[0] += static_cast<std::int64_t>(wide < pivot);
            n_below[n_groups] += static_cast<std::int64_t>(wide == pivot);
        }
    }
    if (pass.is_first) {
        lower(counts[place::type_code], type_code);
        lower(counts[place::negative_type_code], -type_code);
    }
    counts[pass.n()] += n;
    counts[pass.checksum()] =
        static_cast<std::uint32_t>(counts[pass.checksum()]) + group_checksum<F>(losses, groups, n);
}

} // namespace rrm::cpu
