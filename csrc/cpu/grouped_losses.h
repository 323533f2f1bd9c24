// A copy of the losses, sorted by group, in which the kernels for losses without groups work on each group.
#pragma once

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdint>
#include <vector>

#include "../ordered_key.h"
#include "../plan.h"
#include "kernels.h"
#include "scan.h"
#include "scan_group.h"
#include "scratch.h"
#include "thread_team.h"

namespace rrm::cpu {

// The order of samples by group, see group_order.h. Of the two kinds of positions one is null.
struct GroupOrder {
    const std::int64_t *starts; // n_groups + 1
    const std::int32_t *positions;
    const std::int64_t *wide_positions; // for 2^31 samples or more
    std::int64_t n_groups;
};

// Losses of type F that are compared as V. Results do not depend on the number of threads.
template <class F> class GroupedLosses {
  public:
    using V = typename F::Value;
    using Word = typename Wide<V>::Bits;

    // The losses are read here only. Throws std::bad_alloc.
    GroupedLosses(const typename F::Bits *losses, std::int64_t n, const GroupOrder &order, ThreadTeam &team)
        : n_(n), order_(order), team_(team), scratch_words_(largest_scratch()), scratch_(scratch_bytes()),
          values_(scratch_.template allocate<Word>(n)),
          scan_scratch_(scratch_.template allocate<Word>(team.size() * scratch_words_)) {
        for_each_piece(team_, n, [&](int, std::int64_t begin, std::int64_t size) {
            if (order_.positions != nullptr) {
                sort(losses + begin, size, order_.positions + begin);
            } else {
                sort(losses + begin, size, order_.wide_positions + begin);
            }
        });
    }

    // Calls f(group, result) with what a scan finds in each group; ranks[group] may be 0, and ranks empty. Calls for
    // different groups may be made at the same time. Returns true: every rank is found.
    template <class Function> bool scan(const std::vector<std::int64_t> &ranks, Function f) {
        for_each_group([&](int member, std::int64_t group, const Word *values, std::int64_t size) {
            const Buffer<Word> scratch{scan_scratch_ + member * scratch_words_, scratch_words_};
            const std::int64_t rank = ranks.empty() ? 0 : ranks[static_cast<std::size_t>(group)];
            f(group, scan_group<V>(values, size, rank, scratch));
        });
        return true;
    }

    // Replaces statistics[group].value by the statistic with this value, for each group for which select(group) holds.
    template <class Select> void count(std::vector<OrderStatistic<V>> &statistics, Select select) {
        for_each_group([&](int, std::int64_t group, const Word *values, std::int64_t size) {
            auto &statistic = statistics[static_cast<std::size_t>(group)];
            if (select(group)) {
                const auto counts = count_in_group<V>(values, size, statistic.value);
                statistic.n_below = counts.n_below;
                statistic.n_equal = counts.n_equal;
            }
        });
    }

  private:
    static constexpr std::int64_t prefetch_from = std::int64_t{1} << 18; // losses

    template <class Index> void sort(const typename F::Bits *losses, std::int64_t n, const Index *positions) {
        // Beyond the second-level cache, the lines to be written are fetched some time before.
        constexpr std::int64_t ahead = 192;
        const std::int64_t n_prefetched = n_ >= prefetch_from ? n - ahead : 0;
        Word *const to = values_;
        std::int64_t i = 0;
        for (; i < n_prefetched; ++i) {
            __builtin_prefetch(to + positions[i + ahead], 1);
            to[positions[i]] = std::bit_cast<Word>(F::value(losses[i]));
        }
        for (; i < n; ++i) {
            to[positions[i]] = std::bit_cast<Word>(F::value(losses[i]));
        }
    }

    // Words of scratch memory for a scan of the largest group: enough for the candidates of a bracket.
    [[nodiscard]] std::int64_t largest_scratch() const {
        std::int64_t largest = 0;
        for (std::int64_t group = 0; group < order_.n_groups; ++group) {
            largest = std::max(largest, order_.starts[group + 1] - order_.starts[group]);
        }
        return padded_size(small_size) + largest / 8 + 4 * slack;
    }
    [[nodiscard]] std::int64_t scratch_bytes() const {
        constexpr std::int64_t padding = 1024; // since allocations are rounded up to cache lines
        const std::int64_t bytes = (n_ + team_.size() * scratch_words_) * static_cast<std::int64_t>(sizeof(Word));
        // The memory is accessed at random, which is much faster with huge pages.
        constexpr std::int64_t random_access_from = std::int64_t{1} << 20;
        return std::max(bytes + padding, bytes < random_access_from ? 0 : Scratch::min_huge);
    }

    // Calls task(member, group, values, size) for each group. The task must not throw.
    template <class Task> void for_each_group(const Task &task) {
        // Members take the next few groups when they have finished some: groups differ in size.
        const std::int64_t batch = std::max<std::int64_t>(order_.n_groups / (std::int64_t{64} * team_.size()), 1);
        std::atomic<std::int64_t> next = 0;
        team_.run([&](int member) {
            for (std::int64_t first = next.fetch_add(batch); first < order_.n_groups; first = next.fetch_add(batch)) {
                for (std::int64_t group = first; group < std::min(first + batch, order_.n_groups); ++group) {
                    const std::int64_t start = order_.starts[group];
                    task(member, group, values_ + start, order_.starts[group + 1] - start);
                }
            }
        });
    }

    std::int64_t n_;
    GroupOrder order_;
    ThreadTeam &team_;
    std::int64_t scratch_words_; // of one thread
    Scratch scratch_;
    Word *values_;
    Word *scan_scratch_;
};

} // namespace rrm::cpu
