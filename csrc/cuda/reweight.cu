// Host side of the CUDA kernels. A reweight enqueues the following launches; none waits for the host.
//
//   1. sample_brackets  (sample.h)      One block sorts a sample of the losses and derives, for each threshold, a
//                                       bracket: two keys that enclose the threshold with high probability.
//   2. scan_losses      (scan.h)        One pass over all losses: their minimum, their counts below, at and inside each
//                                       bracket, invalid losses. Filter: keys inside a bracket are appended to a
//                                       candidate buffer. The last block decides if a threshold is known already.
//   3. radix_pass       (radix_pass.h)  Once per digit, most significant first: histogram of the digit over the
//                                       candidates, or over all losses if the bracket missed the threshold or the
//                                       buffer overflowed; the last block scans the histogram and chooses the bucket
//                                       that contains the rank.
//   4. write_weights    (write.h)       The plan from the counts, then one pass that writes the weights.
//
// Only counts and losses determine the result, so it does not depend on the sample, the grid or the order of blocks.
#include "reweight.h"

#include <algorithm>
#include <cmath>

#include "compat.h"
#include "radix_pass.h"
#include "sample.h"
#include "scan.h"
#include "workspace.h"
#include "write.h"

namespace rrm::cuda {

namespace {

int count_selections(const Rule &rule, std::int64_t n) {
    return rule.recipient_rank > 1 && rule.recipient_rank <= n ? 2 : 1;
}

// 4.5 standard deviations on either side of the rank's expected position in the sample: misses once in 10^5 calls.
SampleWindow sample_window(std::int64_t rank, std::int64_t n, int sample_size) {
    const double quantile = static_cast<double>(rank) / static_cast<double>(n);
    const double position = quantile * sample_size;
    const double margin = 4.5 * std::sqrt(position * (1 - quantile)) + 2;
    return {static_cast<std::int32_t>(std::floor(position - margin)) - 1,
            static_cast<std::int32_t>(std::ceil(position + margin))};
}

template <class F>
KernelParams<F> make_params(WorkspaceAllocator &workspace, std::int64_t n, const Rule &rule,
                            const LaunchConfig &config) {
    KernelParams<F> params{};
    params.n = n;
    params.rule = rule;
    params.config = config;
    params.n_selections = count_selections(rule, n);
    params.state = workspace.allocate<State<F>>(1);
    params.block_results = workspace.allocate<ScanResult<typename F::Bits>>(config.blocks);
    for (int i = 0; i < params.n_selections; ++i) {
        params.histograms[i] = workspace.allocate<Count>(n_buckets<F>);
        params.candidates[i] = workspace.allocate<typename F::Bits>(config.capacity);
    }
    return params;
}

} // namespace

template <class F> LaunchConfig make_launch_config(std::int64_t n, const Device &device, const Tuning &tuning) {
    const std::int64_t tile =
        std::int64_t{tuning.threads} * loads_in_flight<typename F::Bits> * vec_size<typename F::Bits>;
    const std::int64_t max_blocks = std::int64_t{device.processors} * tuning.blocks_per_processor;
    LaunchConfig config{};
    config.threads = tuning.threads;
    // n + tile: the first vector may be partial
    config.blocks = static_cast<int>(std::clamp<std::int64_t>((n + tile) / tile, 1, max_blocks));
    config.sample_size = tuning.sample_size;
    config.sort_digit_bits = tuning.sort_digit_bits;
    config.sample_threads = std::min(4 * tuning.threads, 1024);
    if (n > config.sample_size) {
        const std::int64_t warps = std::int64_t{config.blocks} * config.threads / warp_size;
        config.chunk = static_cast<int>(std::clamp<std::int64_t>(n / warps / 16, 1, tuning.chunk));
        config.capacity = n / 8 + std::min(n / 4, tuning.extra_slots);
    }
    return config;
}

template <class F> std::size_t workspace_bytes(std::int64_t n, const Rule &rule, const LaunchConfig &config) {
    WorkspaceAllocator workspace(nullptr);
    make_params<F>(workspace, n, rule, config);
    return workspace.size;
}

template <class F>
Error reweight(const typename F::Bits *losses, std::int64_t n, const Rule &rule, const Weights<F> &weights,
               Outcome *outcome, void *workspace, const LaunchConfig &config, Stream stream) {
    WorkspaceAllocator allocator(workspace);
    KernelParams<F> params = make_params<F>(allocator, n, rule, config);
    params.losses = losses;
    const std::int64_t ranks[] = {rule.rank, rule.recipient_rank}; // rule.rank is 0 under the gamma rule
    for (int i = 0; i < params.n_selections; ++i) {
        params.windows[i] = sample_window(ranks[i], n, config.sample_size);
    }
    const auto blocks = static_cast<unsigned>(config.blocks);
    const auto threads = static_cast<unsigned>(config.threads);
    Error error = gpu::launch(sample_brackets<F>, 1, static_cast<unsigned>(config.sample_threads), stream, params);
    if (error == 0) {
        const auto kernel = params.n_selections == 2 ? scan_losses<F, 2> : scan_losses<F, 1>;
        error = gpu::launch(kernel, blocks, threads, stream, params);
    }
    if (!params.sample_is_complete()) {
        // Under the gamma rule the scan determines the key, and one pass counts the losses below and equal to it.
        const bool key_known = rule.rank == 0 && params.n_selections == 1;
        const int n_passes = key_known ? 1 : n_digits<F>;
        const dim3 grid(blocks, static_cast<unsigned>(params.n_selections));
        for (int pass = 0; pass < n_passes && error == 0; ++pass) {
            error = gpu::launch(radix_pass<F>, grid, threads, stream, params, pass);
        }
    }
    if (error == 0) {
        const unsigned write_blocks = weights.out == nullptr ? 1 : blocks;
        error = gpu::launch(write_weights<F>, write_blocks, threads, stream, params, weights, outcome);
    }
    return error;
}

template <class F>
Error apply(const typename F::Bits *losses, std::int64_t n, const Plan &plan, const Weights<F> &weights,
            ApplyOutcome *outcome, const LaunchConfig &config, Stream stream) {
    if (weights.old_to_read() != nullptr) {
        Error error = cudaMemsetAsync(outcome, 0, sizeof *outcome, stream);
        if (error == 0) {
            error = cudaMemsetAsync(&outcome->state.first, 0xff, sizeof outcome->state.first, stream);
        }
        if (error != 0) {
            return error;
        }
    }
    const auto targets = TargetWeights<F>::of(plan.levels, F::key_not_above(plan.threshold),
                                              F::key_not_above(plan.recipient_threshold), weights.mu);
    return gpu::launch(apply_plan<F>, static_cast<unsigned>(config.blocks), static_cast<unsigned>(config.threads),
                       stream, losses, n, weights, targets, outcome);
}

template <class F>
Error count_foreign(const typename F::Bits *losses, std::int64_t n, double loss_min, bool allow_nan, Count *foreign,
                    const LaunchConfig &config, Stream stream) {
    const Error error = cudaMemsetAsync(foreign, 0, sizeof *foreign, stream);
    if (error != 0) {
        return error;
    }
    return gpu::launch(count_foreign_losses<F>, static_cast<unsigned>(config.blocks),
                       static_cast<unsigned>(config.threads), stream, losses, n, F::key_not_above(loss_min), allow_nan,
                       foreign);
}

#define RRM_INSTANTIATE(F)                                                                                             \
    template LaunchConfig make_launch_config<F>(std::int64_t, const Device &, const Tuning &);                         \
    template std::size_t workspace_bytes<F>(std::int64_t, const Rule &, const LaunchConfig &);                         \
    template Error reweight<F>(const F::Bits *, std::int64_t, const Rule &, const Weights<F> &, Outcome *, void *,     \
                               const LaunchConfig &, Stream);                                                          \
    template Error apply<F>(const F::Bits *, std::int64_t, const Plan &, const Weights<F> &, ApplyOutcome *,           \
                            const LaunchConfig &, Stream);                                                             \
    template Error count_foreign<F>(const F::Bits *, std::int64_t, double, bool, Count *, const LaunchConfig &, Stream);

RRM_INSTANTIATE(Float16)
RRM_INSTANTIATE(BFloat16)
RRM_INSTANTIATE(Float32)
RRM_INSTANTIATE(Float64)

} // namespace rrm::cuda
