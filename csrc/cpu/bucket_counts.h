// Counting passes of an exact selection over losses that come in parts. Each part adds to counts or takes a minimum, so
// the result does not depend on the order of the parts or on the machines that process them.
#pragma once

#include <array>
#include <cstdint>

#include "kernels.h"

namespace rrm::cpu {

// The first pass: adds the losses, whose indices start at `first`, to the counts of all bins.
template <class F>
void count_first_pass(const typename F::Bits *losses, std::int64_t n, std::int64_t first, int threads,
                      FirstPassCounts &result);

// A later pass: the key ranges and pivots to count, and their counts. A pivot of 0 is unused.
struct CountingPass {
    std::array<KeyRange, 2> ranges;
    std::array<RangeCounts, 2> range_counts;
    std::array<std::uint64_t, 2> pivots{};
    std::array<PivotCounts, 2> pivot_counts;
    std::uint32_t checksum = 0;
};

// Counts the losses in the ranges by bin, or stores their keys; and counts all losses relative to the pivots.
template <class F> void count_pass(const typename F::Bits *losses, std::int64_t n, int threads, CountingPass &pass);

// The checksum alone, for losses that are read only to check that they have not changed.
template <class F> std::uint32_t checksum(const typename F::Bits *losses, std::int64_t n);

} // namespace rrm::cpu
