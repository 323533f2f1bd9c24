#include "reweight.h"

#include <algorithm>
#include <cmath>

#include "draw.h"
#include "gpu.h"
#include "narrow.h"
#include "survey.h"
#include "write.h"

namespace rrm::cuda {

namespace {

std::size_t padded(std::size_t bytes) {
    return (bytes + 255) / 256 * 256;
}

// Deals out the workspace, part by part; without memory it only adds up.
class Parts {
  public:
    explicit Parts(void *memory) : memory(static_cast<unsigned char *>(memory)) {}

    template <class T> T *take(std::int64_t count) {
        T *part = memory == nullptr ? nullptr : reinterpret_cast<T *>(memory + used);
        used += padded(static_cast<std::size_t>(count) * sizeof(T));
        return part;
    }

    std::size_t used = 0;

  private:
    unsigned char *memory;
};

int cuts_of(const Rule &rule, std::int64_t n) {
    return rule.recipient_rank > 1 && rule.recipient_rank <= n ? 2 : 1;
}

// Four and a half standard deviations about where the rank stands in a sample on average: it misses once in 10^5.
Window window_of(std::int64_t rank, std::int64_t n, int drawn) {
    const double share = static_cast<double>(rank) / static_cast<double>(n), middle = share * drawn;
    const double spread = 4.5 * std::sqrt(middle * (1 - share)) + 2;
    return {static_cast<std::int32_t>(std::floor(middle - spread)) - 1,
            static_cast<std::int32_t>(std::ceil(middle + spread))};
}

template <class F> Job<F> deal(Parts &parts, std::int64_t n, const Rule &rule, const Shape &shape) {
    Job<F> job{};
    job.n = n;
    job.rule = rule;
    job.shape = shape;
    job.cuts = cuts_of(rule, n);
    job.state = parts.take<State<F>>(1);
    job.surveys = parts.take<Survey<typename F::Bits>>(shape.blocks);
    for (int i = 0; i < job.cuts; ++i) {
        job.bins[i] = parts.take<Count>(n_bins<F>);
        job.candidates[i] = parts.take<typename F::Bits>(shape.capacity);
    }
    return job;
}

} // namespace

template <class F> Shape shape_for(std::int64_t n, const Device &device, const Tuning &tuning) {
    const std::int64_t tile = std::int64_t{tuning.threads} * in_flight<typename F::Bits> * per_vector<typename F::Bits>;
    const std::int64_t most = std::int64_t{device.processors} * tuning.blocks_per_processor;
    Shape shape{};
    shape.threads = tuning.threads;
    shape.blocks =
        static_cast<int>(std::clamp<std::int64_t>((n + tile) / tile, 1, most)); // the first vector may be short
    shape.drawn = tuning.drawn;
    shape.drawers = std::min(4 * tuning.threads, 1024);
    if (n > shape.drawn) {
        const std::int64_t warps = std::int64_t{shape.blocks} * shape.threads / warp;
        shape.chunk = static_cast<int>(std::clamp<std::int64_t>(n / warps / 16, 1, tuning.chunk));
        shape.capacity = n / 8 + std::min(n / 4, tuning.room);
    }
    return shape;
}

template <class F> std::size_t workspace_bytes(std::int64_t n, const Rule &rule, const Shape &shape) {
    Parts parts(nullptr);
    deal<F>(parts, n, rule, shape);
    return parts.used;
}

template <class F>
Error reweight(const typename F::Bits *losses, std::int64_t n, const Rule &rule, const Weights<F> &weights,
               Outcome *outcome, void *workspace, const Shape &shape, Stream stream) {
    Parts parts(workspace);
    Job<F> job = deal<F>(parts, n, rule, shape);
    job.losses = losses;
    const std::int64_t ranks[] = {rule.rank, rule.recipient_rank}; // the first is 0 if gamma is given
    for (int i = 0; i < job.cuts; ++i) {
        job.window[i] = window_of(ranks[i], n, shape.drawn);
    }
    const auto blocks = static_cast<unsigned>(shape.blocks), threads = static_cast<unsigned>(shape.threads);
    Error error = gpu::launch(draw<F>, 1, static_cast<unsigned>(shape.drawers), stream, job);
    if (error == 0) {
        error = gpu::launch(job.cuts == 2 ? survey<F, 2> : survey<F, 1>, blocks, threads, stream, job);
    }
    if (!job.all_drawn()) {
        const bool known =
            rule.rank == 0 && job.cuts == 1; // then the first pass counts the key's sides, and that is all
        for (int pass = 0; pass < (known ? 1 : digits<F>) && error == 0; ++pass) {
            error = gpu::launch(narrow<F>, {blocks, static_cast<unsigned>(job.cuts)}, threads, stream, job, pass);
        }
    }
    if (error == 0) {
        error = gpu::launch(write<F>, weights.out == nullptr ? 1 : blocks, threads, stream, job, weights, outcome);
    }
    return error;
}

template <class F>
Error apply(const typename F::Bits *losses, std::int64_t n, const Plan &plan, const Weights<F> &weights,
            const Shape &shape, Stream stream) {
    const auto targets = Targets<F>::of(plan.levels, F::key_not_above(plan.threshold),
                                        F::key_not_above(plan.recipient_threshold), weights.mu);
    return gpu::launch(write_planned<F>, static_cast<unsigned>(shape.blocks), static_cast<unsigned>(shape.threads),
                       stream, losses, n, weights, targets);
}

template <class F>
Error count_foreign(const typename F::Bits *losses, std::int64_t n, double loss_min, bool allow_nan, Count *foreign,
                    const Shape &shape, Stream stream) {
    const Error error = cudaMemsetAsync(foreign, 0, sizeof *foreign, stream);
    return error != 0 ? error
                      : gpu::launch(tally_foreign<F>, static_cast<unsigned>(shape.blocks),
                                    static_cast<unsigned>(shape.threads), stream, losses, n, F::key_not_above(loss_min),
                                    allow_nan, foreign);
}

#define RRM_INSTANTIATE(F)                                                                                             \
    template Shape shape_for<F>(std::int64_t, const Device &, const Tuning &);                                         \
    template std::size_t workspace_bytes<F>(std::int64_t, const Rule &, const Shape &);                                \
    template Error reweight<F>(const F::Bits *, std::int64_t, const Rule &, const Weights<F> &, Outcome *, void *,     \
                               const Shape &, Stream);                                                                 \
    template Error apply<F>(const F::Bits *, std::int64_t, const Plan &, const Weights<F> &, const Shape &, Stream);   \
    template Error count_foreign<F>(const F::Bits *, std::int64_t, double, bool, Count *, const Shape &, Stream);

RRM_INSTANTIATE(Float16)
RRM_INSTANTIATE(BFloat16)
RRM_INSTANTIATE(Float32)
RRM_INSTANTIATE(Float64)

} // namespace rrm::cuda
