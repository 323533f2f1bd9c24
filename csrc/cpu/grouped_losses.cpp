#include "grouped_losses.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <limits>

#include "kernels.h"
#include "scan.h"
#include "select.h"
#include "subnormals.h"
#include "tuning.h"

namespace rrm::cpu {
namespace {

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

template <class V> void store(const GroupStatistics &to, std::int64_t group, const OrderStatistic<V> &from) {
    to.values[group] = static_cast<double>(from.value) + 0.0; // + 0.0 turns -0.0 into 0.0
    to.n_below[group] = from.n_below;
    to.n_equal[group] = from.n_equal;
}

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

std::int64_t scratch_words(const std::vector<std::int64_t> &starts) {
    std::int64_t largest = 0;
    for (std::size_t group = 0; group + 1 < starts.size(); ++group) {
        largest = std::max(largest, starts[group + 1] - starts[group]);
    }
    // Enough for the candidates of a bracket; less costs a radix selection.
    return padded_size(small_size) + largest / 8 + 4 * slack;
}

// The losses of one group: their minimum and the counts of those that are not finite, and the one with a rank.
template <class V> struct GroupResult {
    OrderStatistic<V> minimum{std::numeric_limits<V>::infinity(), 0, 0};
    std::int64_t n_nan = 0, n_neg_inf = 0;
    OrderStatistic<V> ranked{std::numeric_limits<V>::quiet_NaN(), 0, 0};
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
GroupResult<V> scan_small(const typename Wide<V>::Bits *values, std::int64_t n, std::int64_t rank,
                          Buffer<typename Wide<V>::Bits> scratch) {
    using F = Wide<V>;
    using Word = typename F::Bits;
    ScanResult<V> scan;
    kernels<F>().scan(values, n, 0, scan);
    GroupResult<V> result{{scan.minimum, 0, scan.n_minimum}, scan.non_finite.n_nan, scan.non_finite.n_neg_inf};
    const std::int64_t n_valid = n - result.n_nan;
    if (rank > 0 && n_valid > 0) {
        // The selection needs numbers without NaN, and padding.
        if (result.n_nan == 0) {
            std::copy(values, values + n, scratch.data);
        } else {
            std::copy_if(values, values + n, scratch.data, [](Word word) { return !std::isnan(F::value(word)); });
        }
        pad_with_nan(scratch.data, n_valid);
        result.ranked = kernels<F>().select_small(scratch.data, n_valid, std::min(rank, n_valid), 0);
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
    return n <= small_size ? scan_small<V>(values, n, rank, scratch) : scan_large<V>(values, n, rank, scratch);
}

} // namespace

template <class V>
template <class Format, class Index>
GroupedLosses<V>::GroupedLosses(const typename Format::Bits *losses, std::int64_t n, const GroupOrder<Index> &order,
                                int threads, Format)
    : starts_(order.starts, order.starts + order.n_groups + 1), threads_(threads),
      scratch_words_(scratch_words(starts_)), team_size_(cpu::team_size(n, threads)),
      scratch_((n + team_size_ * scratch_words_) * static_cast<std::int64_t>(sizeof(Word)) + 1024),
      values_(scratch_.template allocate<Word>(n)),
      scan_scratch_(scratch_.template allocate<Word>(team_size_ * scratch_words_)) {
    const ExactSubnormals exact;
    ThreadTeam team(team_size_);
    for_each_piece(team, n, [&](int, std::int64_t begin, std::int64_t size) {
        const auto *const positions = order.positions + begin;
        for (std::int64_t i = 0; i < size; ++i) {
            values_[positions[i]] = std::bit_cast<Word>(Format::value(losses[begin + i]));
        }
    });
}

template <class V> template <class Task> void GroupedLosses<V>::for_each_group(const Task &task) {
    const ExactSubnormals exact;
    chosen_instruction_set(); // may throw, which the team must not
    const auto n_groups = static_cast<std::int64_t>(starts_.size()) - 1;
    // Members take the next few groups when they have finished some: groups differ in size.
    ThreadTeam team(team_size_);
    const std::int64_t batch = std::max<std::int64_t>(n_groups / (64 * team.size()), 1);
    std::atomic<std::int64_t> next = 0;
    team.run([&](int member) {
        for (std::int64_t first = next.fetch_add(batch); first < n_groups; first = next.fetch_add(batch)) {
            for (std::int64_t group = first; group < std::min(first + batch, n_groups); ++group) {
                const auto start = starts_[static_cast<std::size_t>(group)];
                task(member, group, values_ + start, starts_[static_cast<std::size_t>(group) + 1] - start);
            }
        }
    });
}

template <class V> NonFiniteCounts GroupedLosses<V>::scan(const std::int64_t *ranks, const GroupScan &result) {
    std::atomic<std::int64_t> total_nan = 0, total_neg_inf = 0;
    for_each_group([&](int member, std::int64_t group, const Word *values, std::int64_t size) {
        const Buffer<Word> scratch{scan_scratch_ + member * scratch_words_, scratch_words_};
        const auto of_group = scan_group<V>(values, size, ranks[group], scratch);
        result.minima[group] = size == 0 ? nan : static_cast<double>(of_group.minimum.value) + 0.0;
        result.n_minima[group] = of_group.minimum.n_equal;
        result.n_nan[group] = of_group.n_nan;
        store(result.ranked, group, of_group.ranked);
        if (of_group.n_nan != 0 || of_group.n_neg_inf != 0) {
            total_nan += of_group.n_nan;
            total_neg_inf += of_group.n_neg_inf;
        }
    });
    NonFiniteCounts counts;
    counts.n_nan = total_nan;
    counts.n_neg_inf = total_neg_inf;
    return counts;
}

template <class V> void GroupedLosses<V>::count(const double *values, const GroupStatistics &result) {
    for_each_group([&](int, std::int64_t group, const Word *losses, std::int64_t size) {
        const auto value = static_cast<V>(values[group]);
        PivotCounts counts;
        if (size <= tiny_size) {
            for (std::int64_t i = 0; i < size; ++i) {
                counts.n_below += F::value(losses[i]) < value ? 1 : 0;
                counts.n_equal += F::value(losses[i]) == value ? 1 : 0;
            }
        } else {
            counts = kernels<F>().count_pivot(losses, size, value);
        }
        store(result, group, OrderStatistic<double>{values[group], counts.n_below, counts.n_equal});
    });
}

template <class F> NonFiniteCounts find_non_finite(const typename F::Bits *losses, std::int64_t n) {
    using V = typename F::Value;
    const ExactSubnormals exact;
    NonFiniteCounts counts;
    for (std::int64_t i = 0; i < n; ++i) {
        const V value = F::value(losses[i]);
        if (std::isnan(value)) {
            counts.first_nan = counts.n_nan++ == 0 ? i : counts.first_nan;
        } else if (value == -std::numeric_limits<V>::infinity()) {
            counts.first_neg_inf = counts.n_neg_inf++ == 0 ? i : counts.first_neg_inf;
        }
    }
    return counts;
}

template class GroupedLosses<float>;
template class GroupedLosses<double>;

#define RRM_INSTANTIATE(F)                                                                                             \
    template GroupedLosses<F::Value>::GroupedLosses(const F::Bits *, std::int64_t, const GroupOrder<std::int32_t> &,   \
                                                    int, F);                                                           \
    template GroupedLosses<F::Value>::GroupedLosses(const F::Bits *, std::int64_t, const GroupOrder<std::int64_t> &,   \
                                                    int, F);                                                           \
    template NonFiniteCounts find_non_finite<F>(const F::Bits *, std::int64_t);
RRM_INSTANTIATE(Float16)
RRM_INSTANTIATE(BFloat16)
RRM_INSTANTIATE(Float32)
RRM_INSTANTIATE(Float64)
#undef RRM_INSTANTIATE

} // namespace rrm::cpu
