// Order statistics and counts of losses by group.
#pragma once

#include <cstdint>
#include <vector>

#include "../ordered_key.h"
#include "../plan.h"
#include "scratch.h"
#include "thread_team.h"

namespace rrm::cpu {

// The order of samples by group, see group_order.h. Indices are int32, or int64 for 2^31 samples or more.
template <class Index> struct GroupOrder {
    const std::int64_t *starts; // n_groups + 1
    const Index *positions;
    std::int64_t n_groups;
};

// A loss of each group, and the number of the group's losses below it and equal to it: arrays of n_groups numbers.
struct GroupStatistics {
    double *values;
    std::int64_t *n_below, *n_equal;
};

// Result of a scan: arrays of n_groups numbers.
struct GroupScan {
    double *minima; // of the numbers other than NaN: +infinity if there is none, NaN for an empty group
    std::int64_t *n_minima, *n_nan;
    GroupStatistics ranked;
};

// A copy of the losses, sorted by group, in the type V in which they are compared. Results do not depend on the number
// of threads. Values that it returns have no negative zero.
template <class V> class GroupedLosses {
  public:
    using F = Wide<V>;
    using Word = typename F::Bits;

    // The losses, of a format that is compared as V, are read here only. Throws std::bad_alloc.
    template <class Format, class Index>
    GroupedLosses(const typename Format::Bits *losses, std::int64_t n, const GroupOrder<Index> &order, int threads,
                  Format);

    // Fills minima and counts, and the loss of each group with a rank: NaN where the rank is 0, and the largest number
    // where it is beyond it. Returns the counts of NaN and of -infinity, without their indices.
    NonFiniteCounts scan(const std::int64_t *ranks, const GroupScan &result);

    // Fills the counts for the values; 0 for NaN. `result.values` may be `values`.
    void count(const double *values, const GroupStatistics &result);

  private:
    // Calls task(member, group, values, size) for each group. The task must not throw.
    template <class Task> void for_each_group(const Task &task);

    std::vector<std::int64_t> starts_;
    int threads_;
    std::int64_t scratch_words_; // scratch memory of one thread in `scan`
    int team_size_;
    Scratch scratch_;
    Word *values_;
    Word *scan_scratch_;
};

// The first NaN and the first -infinity among n losses; -1 if there is none.
template <class F> NonFiniteCounts find_non_finite(const typename F::Bits *losses, std::int64_t n);

} // namespace rrm::cpu
