// Host interface of the CUDA kernels: device pointers, lengths, a stream. No function here allocates or synchronises,
// so every call can be captured in a CUDA graph.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../ordered_key.h"
#include "../plan.h"

struct CUstream_st; // cudaStream_t is a pointer to it

namespace rrm::cuda {

using Stream = CUstream_st *;
using Error = int; // cudaError_t

using Count = unsigned long long; // a number of samples, in the type of CUDA's 64-bit atomics

constexpr int max_sample_size = 4096;  // losses that sample_brackets() can sort: 32 KiB of shared memory in float64
constexpr int max_threads = 256;       // per block, except in sample_brackets()
constexpr int max_sort_digit_bits = 8; // of a pass of the sort by group

// Result of a reweight, in device memory.
struct Outcome {
    NonFiniteCounts faults;
    Plan plan;
    InvalidWeights invalid_weights; // if old weights were read: they are counted by the launch that writes the new ones
};

// The old weights found invalid so far, in device memory.
struct InvalidWeightsState {
    Count first; // index of the first; all ones: there is none
    Count n;
    unsigned ticket; // blocks that have read their weights
};

// Result of an apply that reads old weights, in device memory, and the state of their count.
struct ApplyOutcome {
    InvalidWeights invalid_weights;
    InvalidWeightsState state;
};

// Input and output weights.
template <class F> struct Weights {
    const typename F::Weight *old; // null: all ones
    typename F::Weight *out;       // null: only the plan is computed
    double mu;
    bool out_is_new; // if the losses are rejected, a new `out` is filled with NaN; otherwise `out` is left unchanged

    // The old weights if they are read: with mu = 1 they are not.
    [[nodiscard]] RRM_HD const typename F::Weight *old_to_read() const {
        return mu == 1 ? nullptr : old;
    }
};

// Properties of the device that a launch depends on.
struct Device {
    int processors; // streaming multiprocessors
};

// Tuning constants: they affect speed, never the result. Tests lower them.
struct Tuning {
    int threads = max_threads;          // per block
    int blocks_per_processor = 3;       // resident blocks: min_blocks_per_sm
    int sample_size = max_sample_size;  // losses to sort before the scan; a power of two, at most max_sample_size
    int chunk = 256;                    // candidate slots that a warp reserves at a time, at most
    std::int64_t extra_slots = 1 << 20; // candidate slots beyond n / 8; limited to n / 4
    int sort_digit_bits = max_sort_digit_bits; // of a pass of the sort by group
};

// Launch configuration of one call.
struct LaunchConfig {
    int threads, blocks;   // of all launches but the first
    int sample_threads;    // of the first, which is one block
    int sample_size;       // losses in the sample; a power of two if there are more losses
    int chunk;             // candidate slots that a warp reserves at a time
    std::int64_t capacity; // candidate slots, per selection
    int sort_digit_bits;   // of a pass of the sort by group
};

template <class F> LaunchConfig make_launch_config(std::int64_t n, const Device &device, const Tuning &tuning);

// Size in bytes of the device workspace of a call, which must stay allocated until the stream has completed it;
// alignment: 256 bytes.
template <class F> std::size_t workspace_bytes(std::int64_t n, const Rule &rule, const LaunchConfig &config);

// Enqueues a reweight: writes `*outcome`, and the weights unless the losses are rejected. An old weight that is NaN,
// infinite or negative is left as it is in `out`; a new `out` is filled with NaN then.
template <class F>
Error reweight(const typename F::Bits *losses, std::int64_t n, const Rule &rule, const Weights<F> &weights,
               Outcome *outcome, void *workspace, const LaunchConfig &config, Stream stream);

// Enqueues the elementwise half: writes the weights of a plan that is known on the host. Writes `*outcome` if old
// weights are read, and does not use it otherwise.
template <class F>
Error apply(const typename F::Bits *losses, std::int64_t n, const Plan &plan, const Weights<F> &weights,
            ApplyOutcome *outcome, const LaunchConfig &config, Stream stream);

// Enqueues the count of losses that the plan cannot have been made from, into device memory: losses below the plan's
// minimum, and NaN unless allowed.
template <class F>
Error count_foreign(const typename F::Bits *losses, std::int64_t n, double loss_min, bool allow_nan, Count *foreign,
                    const LaunchConfig &config, Stream stream);

} // namespace rrm::cuda
