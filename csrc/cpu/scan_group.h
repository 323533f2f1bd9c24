// One pass over the losses of a group: their minimum, counts, and an order statistic.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "../ordered_key.h"
#include "../plan.h"
#include "kernels.h"
#include "select.h"

namespace rrm::cpu {

constexpr std::int64_t tiny_size = 32; // losses of a group up to which sorting them is the fastest way

// The keys of the losses of a tiny group, sorted. NaN are last.
template <class F> class SortedKeys {
  public:
    SortedKeys(const typename F::Bits *values, std::int64_t n) : n_(n) {
        for (std::int64_t i = 0; i < n; ++i) {
            const auto key = F::key(values[i]);
            std::int64_t j = i;
            for (; j > 0 && keys_[j - 1] > key; --j) {
                keys_[j] = keys_[j - 1];
            }
            keys_[j] = key;
        }
    }
    // The number of keys below this one.
    [[nodiscard]] std::int64_t n_below(typename F::Bits key) const {
        return std::lower_bound(keys_, keys_ + n_, key) - keys_;
    }
    [[nodiscard]] typename F::Bits operator[](std::int64_t i) const {
        return keys_[i];
    }

  private:
    typename F::Bits keys_[tiny_size];
    std::int64_t n_;
};

template <class V> GroupResult<V> scan_tiny(const typename Wide<V>::Bits *values, std::int64_t n, std::int64_t rank) {
    using F = Wide<V>;
    const SortedKeys<F> keys(values, n);
    const auto statistic = [&](std::int64_t i) {
        const auto key = keys[i];
        const std::int64_t n_below = keys.n_below(key);
        return OrderStatistic<V>{F::value(F::bits(key)), n_below,
                                 keys.n_below(static_cast<typename F::Bits>(key + 1)) - n_below};
    };
    GroupResult<V> result;
    const std::int64_t n_valid = keys.n_below(F::key_nan);
    result.n_nan = n - n_valid;
    if (n_valid > 0) {
        result.minimum = statistic(0);
        result.n_neg_inf = keys.n_below(static_cast<typename F::Bits>(F::key_neg_inf + 1));
        if (rank > 0) {
            result.ranked = statistic(std::min(rank, n_valid) - 1);
        }
    }
    return result;
}

template <class V>
GroupResult<V> scan_large(const typename Wide<V>::Bits *values, std::int64_t n, std::int64_t rank,
                          Buffer<typename Wide<V>::Bits> scratch) {
    using F = Wide<V>;
    ScanResult<V> scan;
    auto &candidates = scan.candidates[0];
    if (rank > 0) {
        // A narrow bracket: an occasional miss costs less than a bracket that never misses.
        const auto bracket = Sample<F>(values, n, 0, scratch).bracket_rank(n, rank, 2.5);
        candidates.low = bracket.low;
        candidates.high = bracket.high;
        candidates.values = scratch.data; // overwrites the sample
        candidates.capacity = has_single_value(candidates) ? 0 : scratch.size / 4 * 3 - 2 * slack;
    }
    kernels<F>().scan(values, n, 0, scan);
    GroupResult<V> result{{scan.minimum, 0, scan.n_minimum}, scan.non_finite.n_nan, scan.non_finite.n_neg_inf};
    const std::int64_t n_valid = n - result.n_nan;
    if (rank > 0 && n_valid > 0) {
        const auto count = [&](V pivot, std::int64_t) { return kernels<F>().count_pivot(values, n, pivot); };
        const auto rest = scratch.after(scratch.size / 4 * 3);
        const std::int64_t k = std::min(rank, n_valid);
        const auto found = resolve_rank<V>(n, k, candidates, rest, count);
        result.ranked = found ? *found : select_rank<V>(values, n, k, scratch);
    }
    return result;
}

template <class V>
GroupResult<V> scan_group(const typename Wide<V>::Bits *values, std::int64_t n, std::int64_t rank,
                          Buffer<typename Wide<V>::Bits> scratch) {
    if (n <= tiny_size) {
        return scan_tiny<V>(values, n, rank);
    }
    return n <= small_size ? kernels<Wide<V>>().scan_small(values, n, rank, scratch.data)
                           : scan_large<V>(values, n, rank, scratch);
}

// The losses of a group below a value and equal to it.
template <class V> PivotCounts count_in_group(const typename Wide<V>::Bits *values, std::int64_t n, V value) {
    using F = Wide<V>;
    if (n > tiny_size) {
        return kernels<F>().count_pivot(values, n, value);
    }
    PivotCounts counts;
    for (std::int64_t i = 0; i < n; ++i) {
        counts.n_below += F::value(values[i]) < value ? 1 : 0;
        counts.n_equal += F::value(values[i]) == value ? 1 : 0;
    }
    return counts;
}

} // namespace rrm::cpu
