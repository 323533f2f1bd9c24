// Host interface of the CUDA kernels for losses with groups: device pointers, lengths, a stream. No function here
// allocates or synchronises.
#pragma once

#include <cstddef>
#include <cstdint>

#include "reweight.h"

namespace rrm::cuda {

template <class F> struct TargetWeights;

// What is known of each group once the losses are sorted: arrays of n_groups numbers.
struct GroupSummary {
    std::int64_t *begins, *sizes; // position of the group's first loss in the sorted losses; number of samples
    std::int64_t *n_numbers;      // losses other than NaN
    double *minima;               // of these: +infinity if there is none, NaN for an empty group
    std::int64_t *n_minima;
};

// A loss of each group, NaN if there is none, and the number of the group's losses below it and equal to it: arrays of
// n_groups numbers.
struct GroupStatistics {
    double *values;
    std::int64_t *n_below, *n_equal;
};

// Thresholds and target weights of n_groups groups: arrays of n_groups numbers, and of 5 for each group.
struct GroupLevels {
    const double *thresholds, *recipient_thresholds, *levels;
    std::int64_t n_groups;
};

// The parts of a workspace that are copied from and to the host.
struct GroupBuffers {
    std::int64_t *scan; // non-finite counts (4 numbers), then the arrays of GroupSummary
    void *query;        // a rank (int64) or a value (double) for each group
    double *statistics; // the arrays of GroupStatistics
};

constexpr std::int64_t group_scan_size(std::int64_t n_groups) {
    return 4 + 5 * n_groups;
}

// Size in bytes of the workspace of a call for n losses; alignment: 256 bytes.
template <class F> std::size_t group_workspace_bytes(std::int64_t n, std::int64_t n_groups, const LaunchConfig &config);

template <class F>
GroupBuffers group_buffers(void *workspace, std::int64_t n, std::int64_t n_groups, const LaunchConfig &config);

// Enqueues the sort of the losses by group, and writes `scan` of the buffers. 0 <= groups[i] < n_groups.
template <class F>
Error sort_groups(const typename F::Bits *losses, const std::int32_t *groups, std::int64_t n, std::int64_t n_groups,
                  void *memory, const LaunchConfig &config, Stream stream);

// Enqueues the search for the ranks or values in `query` of the buffers; writes `statistics`. Rank 0 stands for no
// loss, as does NaN, and a rank beyond the numbers for the largest.
template <class F>
Error find_in_groups(bool by_rank, std::int64_t n, std::int64_t n_groups, void *memory, const LaunchConfig &config,
                     Stream stream);

// Device memory of a write: `plan` is to be copied there (thresholds, recipient thresholds, 5 levels a group).
template <class F> struct GroupWriteBuffers {
    ApplyOutcome *outcome;
    double *plan;
    TargetWeights<F> *targets;
};

template <class F> std::size_t group_write_bytes(std::int64_t n_groups);

template <class F> GroupWriteBuffers<F> group_write_buffers(void *workspace, std::int64_t n_groups);

// Enqueues the write of the weights, and of `outcome` if old weights are read.
template <class F>
Error write_groups(const typename F::Bits *losses, const std::int32_t *groups, std::int64_t n, std::int64_t n_groups,
                   const Weights<F> &weights, const GroupWriteBuffers<F> &buffers, const LaunchConfig &config,
                   Stream stream);

// Enqueues the count of losses that contradict a plan with groups.
template <class F>
Error count_foreign_in_groups(const typename F::Bits *losses, const std::int32_t *groups, std::int64_t n,
                              const double *minima, const double *n_nan, Count *foreign, const LaunchConfig &config,
                              Stream stream);

} // namespace rrm::cuda
