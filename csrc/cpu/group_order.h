// The order of samples by group, computed once for many calls.
#pragma once

#include <cstdint>
#include <vector>

namespace rrm::cpu {

// A counting sort. Fills the index of each group's first sample in the sorted order and, at the end, n: n_groups + 1
// numbers; and the position of each sample in that order, in which the samples of a group stay in their order.
// 0 <= groups[i] < n_groups.
template <class Index>
void sort_by_group(const std::int32_t *groups, std::int64_t n, std::int64_t n_groups, std::int64_t *starts,
                   Index *positions) {
    std::vector<std::int64_t> next(static_cast<std::size_t>(n_groups));
    for (std::int64_t i = 0; i < n; ++i) {
        ++next[static_cast<std::size_t>(groups[i])];
    }
    std::int64_t start = 0;
    for (std::int64_t group = 0; group < n_groups; ++group) {
        starts[group] = start;
        start += next[static_cast<std::size_t>(group)];
        next[static_cast<std::size_t>(group)] = starts[group];
    }
    starts[n_groups] = start;
    for (std::int64_t i = 0; i < n; ++i) {
        positions[i] = static_cast<Index>(next[static_cast<std::size_t>(groups[i])]++);
    }
}

} // namespace rrm::cpu
