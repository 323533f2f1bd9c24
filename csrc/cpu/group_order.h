// The order of samples by group, computed once for many calls.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace rrm::cpu {

// Counts the samples of each group. 0 <= groups[i] < n_groups.
inline void count_samples(const std::int32_t *groups, std::int64_t n, std::int64_t n_groups, std::int64_t *sizes) {
    std::fill_n(sizes, n_groups, 0);
    // Every other sample is counted apart: an increment of the same number would have to wait for the last one. Not for
    // so many groups that the counts would take more memory than the samples.
    std::vector<std::int64_t> others(static_cast<std::size_t>(n_groups <= n / 4 ? n_groups : 0));
    std::int64_t i = 0;
    for (; !others.empty() && i + 2 <= n; i += 2) {
        ++sizes[groups[i]];
        ++others[static_cast<std::size_t>(groups[i + 1])];
    }
    for (; i < n; ++i) {
        ++sizes[groups[i]];
    }
    for (std::size_t group = 0; group < others.size(); ++group) {
        sizes[group] += others[group];
    }
}

// A counting sort. Fills the index of each group's first sample in the sorted order and, at the end, n: n_groups + 1
// numbers; and the position of each sample in that order, in which the samples of a group stay in their order.
// 0 <= groups[i] < n_groups.
template <class Index>
void sort_by_group(const std::int32_t *groups, std::int64_t n, std::int64_t n_groups, std::int64_t *starts,
                   Index *positions) {
    std::vector<std::int64_t> next(static_cast<std::size_t>(n_groups));
    count_samples(groups, n, n_groups, next.data());
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
