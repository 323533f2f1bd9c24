// Host side of the CUDA kernels for losses with groups.
//
//   1. load_keys            (group_sort.h)        The keys of the losses, and which losses are not finite.
//   2. count_digits,        (group_sort.h)        Once per digit: one pass of the sort by group and key.
//      find_positions, move_pairs
//   3. summarize_groups     (group_statistics.h)  Bounds and minimum of each group.
//   4. find_statistics      (group_statistics.h)  Once per question of the host: a rank or a value of each group.
//   5. make_targets,        (group_write.h)       The target weights of each group, then one pass that writes the
//      write_group_weights                        weights, in the order of the samples.
//
// The number of launches depends on the losses' type and on the number of digits of a group number. Only counts and
// losses determine the result.
#include "groups.h"

#include <algorithm>
#include <bit>

#include "compat.h"
#include "group_sort.h"
#include "group_statistics.h"
#include "group_write.h"
#include "workspace.h"

namespace rrm::cuda {

namespace {

int count_digits_of(int bits, const LaunchConfig &config) {
    return (bits + config.sort_digit_bits - 1) / config.sort_digit_bits;
}

template <class F> int count_passes(std::int64_t n_groups, const LaunchConfig &config) {
    const auto group_bits = static_cast<int>(std::bit_width(static_cast<std::uint64_t>(n_groups - 1)));
    return count_digits_of(F::width, config) + count_digits_of(group_bits, config);
}

std::int64_t count_warps(const LaunchConfig &config) {
    return std::int64_t{config.blocks} * config.threads / warp_size;
}

// Blocks of a launch with one thread per group.
unsigned group_blocks(std::int64_t n_groups, const LaunchConfig &config) {
    constexpr std::int64_t max_blocks = 4096;
    return static_cast<unsigned>(std::min((n_groups + config.threads - 1) / config.threads, max_blocks));
}

// The two copies of the pairs, from one to the other of which each pass moves them, and the rest of the workspace.
template <class F> struct GroupWorkspace {
    SortWord<F> *keys[2];
    std::int32_t *groups[2];
    Count *positions, *digit_begins;
    int n_passes;
    unsigned *tickets; // one per pass
    GroupBuffers buffers;

    GroupWorkspace(WorkspaceAllocator &allocator, std::int64_t n, std::int64_t n_groups, const LaunchConfig &config) {
        for (int i = 0; i < 2; ++i) {
            keys[i] = allocator.allocate<SortWord<F>>(n);
            groups[i] = allocator.allocate<std::int32_t>(n);
        }
        const std::int64_t n_digits = std::int64_t{1} << config.sort_digit_bits;
        positions = allocator.allocate<Count>(n_digits * count_warps(config));
        digit_begins = allocator.allocate<Count>(n_digits);
        n_passes = count_passes<F>(n_groups, config);
        tickets = allocator.allocate<unsigned>(n_passes);
        buffers.scan = allocator.allocate<std::int64_t>(group_scan_size(n_groups));
        buffers.query = allocator.allocate<std::int64_t>(n_groups);
        buffers.statistics = allocator.allocate<double>(3 * n_groups);
    }

    [[nodiscard]] NonFiniteScan *non_finite() const {
        return reinterpret_cast<NonFiniteScan *>(buffers.scan);
    }
    [[nodiscard]] GroupSummary summary(std::int64_t n_groups) const {
        std::int64_t *arrays = buffers.scan + 4;
        return {arrays, arrays + n_groups, arrays + 2 * n_groups, reinterpret_cast<double *>(arrays + 3 * n_groups),
                arrays + 4 * n_groups};
    }
    [[nodiscard]] SortedLosses<F> sorted(std::int64_t n, std::int64_t n_groups) const {
        return {keys[n_passes % 2], groups[n_passes % 2], n, n_groups};
    }
};

template <class F>
GroupWorkspace<F> make_workspace(void *workspace, std::int64_t n, std::int64_t n_groups, const LaunchConfig &config) {
    WorkspaceAllocator allocator(workspace);
    return {allocator, n, n_groups, config};
}

template <class Word> Error launch_pass(const SortPass<Word> &pass, const LaunchConfig &config, Stream stream) {
    const auto blocks = static_cast<unsigned>(config.blocks);
    const auto threads = static_cast<unsigned>(config.threads);
    const std::int64_t n_warps = count_warps(config);
    Error error = gpu::launch(count_digits<Word>, blocks, threads, stream, pass);
    if (error == 0) {
        // No more threads than there are counts of a digit.
        const std::int64_t enough = (n_warps + warp_size - 1) / warp_size * warp_size;
        const auto scan_threads = static_cast<unsigned>(std::min<std::int64_t>(enough, config.threads));
        error = gpu::launch(find_positions<Word>, pass.n_digits(), scan_threads, stream, pass, n_warps);
    }
    if (error == 0) {
        error = gpu::launch(move_pairs<Word>, blocks, threads, stream, pass);
    }
    return error;
}

// Enqueues all passes of the sort. The keys are in the first copy, the groups in the caller's array.
template <class F>
Error launch_sort(const GroupWorkspace<F> &workspace, const std::int32_t *groups, std::int64_t n,
                  const LaunchConfig &config, Stream stream) {
    const int n_key_passes = count_digits_of(F::width, config);
    const std::size_t size = static_cast<std::size_t>(workspace.n_passes) * sizeof(unsigned);
    Error error = cudaMemsetAsync(workspace.tickets, 0, size, stream);
    for (int i = 0; i < workspace.n_passes && error == 0; ++i) {
        SortPass<SortWord<F>> pass{};
        pass.keys = workspace.keys[i % 2];
        pass.groups = i == 0 ? groups : workspace.groups[i % 2];
        pass.n = n;
        pass.sorted_keys = workspace.keys[(i + 1) % 2];
        pass.sorted_groups = workspace.groups[(i + 1) % 2];
        pass.of_group = i >= n_key_passes;
        pass.digit_bits = config.sort_digit_bits;
        pass.shift = config.sort_digit_bits * (pass.of_group ? i - n_key_passes : i);
        pass.positions = workspace.positions;
        pass.digit_begins = workspace.digit_begins;
        pass.ticket = workspace.tickets + i;
        error = launch_pass(pass, config, stream);
    }
    return error;
}

} // namespace

template <class F>
std::size_t group_workspace_bytes(std::int64_t n, std::int64_t n_groups, const LaunchConfig &config) {
    WorkspaceAllocator allocator(nullptr);
    const GroupWorkspace<F> workspace(allocator, n, n_groups, config);
    return allocator.size;
}

template <class F>
GroupBuffers group_buffers(void *workspace, std::int64_t n, std::int64_t n_groups, const LaunchConfig &config) {
    return make_workspace<F>(workspace, n, n_groups, config).buffers;
}

template <class F>
Error sort_groups(const typename F::Bits *losses, const std::int32_t *groups, std::int64_t n, std::int64_t n_groups,
                  void *memory, const LaunchConfig &config, Stream stream) {
    const auto workspace = make_workspace<F>(memory, n, n_groups, config);
    NonFiniteScan *non_finite = workspace.non_finite();
    Error error = cudaMemsetAsync(non_finite, 0, sizeof *non_finite, stream);
    for (Count *first : {&non_finite->first_nan, &non_finite->first_neg_inf}) {
        if (error == 0) {
            error = cudaMemsetAsync(first, 0xff, sizeof *first, stream);
        }
    }
    if (error == 0) {
        error = gpu::launch(load_keys<F>, static_cast<unsigned>(config.blocks), static_cast<unsigned>(config.threads),
                            stream, losses, n, workspace.keys[0], non_finite);
    }
    if (error == 0) {
        error = launch_sort(workspace, groups, n, config, stream);
    }
    if (error == 0) {
        error = gpu::launch(summarize_groups<F>, group_blocks(n_groups, config), static_cast<unsigned>(config.threads),
                            stream, workspace.sorted(n, n_groups), workspace.summary(n_groups));
    }
    return error;
}

template <class F>
Error find_in_groups(bool by_rank, std::int64_t n, std::int64_t n_groups, void *memory, const LaunchConfig &config,
                     Stream stream) {
    const auto workspace = make_workspace<F>(memory, n, n_groups, config);
    const void *query = workspace.buffers.query;
    double *values = workspace.buffers.statistics;
    auto *counts = reinterpret_cast<std::int64_t *>(values + n_groups);
    return gpu::launch(find_statistics<F>, group_blocks(n_groups, config), static_cast<unsigned>(config.threads),
                       stream, workspace.sorted(n, n_groups), workspace.summary(n_groups),
                       by_rank ? static_cast<const std::int64_t *>(query) : nullptr,
                       by_rank ? nullptr : static_cast<const double *>(query),
                       GroupStatistics{values, counts, counts + n_groups});
}

template <class F> GroupWriteBuffers<F> group_write_buffers(void *workspace, std::int64_t n_groups) {
    WorkspaceAllocator allocator(workspace);
    auto *outcome = allocator.allocate<ApplyOutcome>(1);
    auto *plan = allocator.allocate<double>(7 * n_groups);
    return {outcome, plan, allocator.allocate<TargetWeights<F>>(n_groups)};
}

template <class F> std::size_t group_write_bytes(std::int64_t n_groups) {
    WorkspaceAllocator allocator(nullptr);
    allocator.allocate<ApplyOutcome>(1);
    allocator.allocate<double>(7 * n_groups);
    allocator.allocate<TargetWeights<F>>(n_groups);
    return allocator.size;
}

template <class F>
Error write_groups(const typename F::Bits *losses, const std::int32_t *groups, std::int64_t n, std::int64_t n_groups,
                   const Weights<F> &weights, const GroupWriteBuffers<F> &buffers, const LaunchConfig &config,
                   Stream stream) {
    const auto threads = static_cast<unsigned>(config.threads);
    Error error = cudaMemsetAsync(buffers.outcome, 0, sizeof *buffers.outcome, stream);
    if (error == 0) {
        Count *first = &buffers.outcome->state.first;
        error = cudaMemsetAsync(first, 0xff, sizeof *first, stream);
    }
    if (error == 0) {
        const GroupLevels plan{buffers.plan, buffers.plan + n_groups, buffers.plan + 2 * n_groups, n_groups};
        error = gpu::launch(make_targets<F>, group_blocks(n_groups, config), threads, stream, plan, weights.mu,
                            buffers.targets);
    }
    if (error == 0) {
        error = gpu::launch(write_group_weights<F>, static_cast<unsigned>(config.blocks), threads, stream, losses,
                            groups, n, weights, buffers.targets, buffers.outcome);
    }
    return error;
}

template <class F>
Error count_foreign_in_groups(const typename F::Bits *losses, const std::int32_t *groups, std::int64_t n,
                              const double *minima, const double *n_nan, Count *foreign, const LaunchConfig &config,
                              Stream stream) {
    const Error error = cudaMemsetAsync(foreign, 0, sizeof *foreign, stream);
    if (error != 0) {
        return error;
    }
    return gpu::launch(count_foreign_by_group<F>, static_cast<unsigned>(config.blocks),
                       static_cast<unsigned>(config.threads), stream, losses, groups, n, minima, n_nan, foreign);
}

#define RRM_INSTANTIATE(F)                                                                                             \
    template std::size_t group_workspace_bytes<F>(std::int64_t, std::int64_t, const LaunchConfig &);                   \
    template GroupBuffers group_buffers<F>(void *, std::int64_t, std::int64_t, const LaunchConfig &);                  \
    template Error sort_groups<F>(const F::Bits *, const std::int32_t *, std::int64_t, std::int64_t, void *,           \
                                  const LaunchConfig &, Stream);                                                       \
    template Error find_in_groups<F>(bool, std::int64_t, std::int64_t, void *, const LaunchConfig &, Stream);          \
    template std::size_t group_write_bytes<F>(std::int64_t);                                                           \
    template GroupWriteBuffers<F> group_write_buffers<F>(void *, std::int64_t);                                        \
    template Error write_groups<F>(const F::Bits *, const std::int32_t *, std::int64_t, std::int64_t,                  \
                                   const Weights<F> &, const GroupWriteBuffers<F> &, const LaunchConfig &, Stream);    \
    template Error count_foreign_in_groups<F>(const F::Bits *, const std::int32_t *, std::int64_t, const double *,     \
                                              const double *, Count *, const LaunchConfig &, Stream);

RRM_INSTANTIATE(Float16)
RRM_INSTANTIATE(BFloat16)
RRM_INSTANTIATE(Float32)
RRM_INSTANTIATE(Float64)

} // namespace rrm::cuda
