// The CUDA kernels' host side: pointers to device memory, lengths, a stream. Nothing here allocates or synchronises, so
// that every call can be captured in a CUDA graph.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../ordered_key.h"
#include "../plan.h"

struct CUstream_st; // cudaStream_t points to one

namespace rrm::cuda {

using Stream = CUstream_st *;
using Error = int; // cudaError_t

using Count = unsigned long long; // of samples; the type that CUDA's 64-bit atomics take

constexpr int most_drawn = 4096;  // losses that draw() can sort: 32 KiB of shared memory in doubles
constexpr int most_threads = 256; // in a block, except that of draw()

// What the host reads in the end.
struct Outcome {
    NonFiniteCounts faults;
    Plan plan;
};

// Where weights are read and written.
template <class F> struct Weights {
    const typename F::Weight *old; // none: ones
    typename F::Weight *out;
    double mu;
    bool fresh; // nobody has seen `out` yet: if the losses are refused it becomes NaN, otherwise it is left alone
};

// What a call needs to know of its device.
struct Device {
    int processors; // streaming multiprocessors
};

// The sizes that decide how a call is cut up, never its answer. Tests lower them.
struct Tuning {
    int threads = most_threads;   // in a block
    int blocks_per_processor = 3; // as many as run at a time: see least_blocks
    int drawn = most_drawn;       // losses to look at before the pass; a power of two, at most most_drawn
    int chunk = 256;              // slots that a warp takes at most at a time
    std::int64_t room = 1 << 20;  // slots for candidates beside an eighth of the losses, but at most a quarter of them
};

// How a call is cut into blocks and samples.
struct Shape {
    int threads, blocks;   // of all launches but the first
    int drawers;           // threads of that one
    int drawn;             // losses it looks at; a power of two where there are more losses
    int chunk;             // slots for candidates that a warp asks for at a time
    std::int64_t capacity; // slots there are, for each cut
};

template <class F> Shape shape_for(std::int64_t n, const Device &device, const Tuning &tuning);

// Bytes of device memory that a call needs beside its arrays, until it is done on the stream; aligned to 256.
template <class F> std::size_t workspace_bytes(std::int64_t n, const Rule &rule, const Shape &shape);

// Plans, and writes the weights if `weights.out` is given and nothing is wrong with the losses. The outcome is there
// when the stream has come this far.
template <class F>
Error reweight(const typename F::Bits *losses, std::int64_t n, const Rule &rule, const Weights<F> &weights,
               Outcome *outcome, void *workspace, const Shape &shape, Stream stream);

// Writes the weights that a plan gives.
template <class F>
Error apply(const typename F::Bits *losses, std::int64_t n, const Plan &plan, const Weights<F> &weights,
            const Shape &shape, Stream stream);

// Counts, in *foreign on the device, losses below the plan's minimum, and NaN unless they are allowed.
template <class F>
Error count_foreign(const typename F::Bits *losses, std::int64_t n, double loss_min, bool allow_nan, Count *foreign,
                    const Shape &shape, Stream stream);

} // namespace rrm::cuda
