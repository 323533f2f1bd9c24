// Second launch: one pass over all losses. It computes their minimum, counts the losses below, on, inside and above
// each bracket and those that are NaN or infinite, and appends the keys inside a bracket to its candidate buffer. The
// last block decides how the selection of each threshold continues.
#pragma once

#include <type_traits>

#include "compat.h"
#include "reduce.h"
#include "state.h"
#include "vector_load.h"

namespace rrm::cuda {

// Integers of a native width, in which keys are compared.
template <class Bits> using CompareWord = std::conditional_t<sizeof(Bits) == 2, std::uint32_t, Bits>;

// The key of a loss that is not NaN, in a third of the instructions of F::key: they bound the speed of the scan.
template <class F> __device__ __forceinline__ CompareWord<typename F::Bits> fast_key(typename F::Bits bits) {
    using Bits = typename F::Bits;
    if constexpr (F::width == 32) {
        bits =
            std::bit_cast<Bits>(std::bit_cast<float>(bits) + 0.0F); // -0 + 0 is 0, computed by the floating-point units
    } else {
        bits = bits == F::sign ? Bits{0} : bits;
    }
    const auto negative = static_cast<Bits>(-static_cast<Bits>(bits >> (F::width - 1)));
    return static_cast<Bits>(bits ^ static_cast<Bits>(negative | F::sign));
}

// A bracket of two keys, in registers.
template <class Bits> struct Bracket {
    CompareWord<Bits> low, high;
    CompareWord<Bits> span;      // high - low
    CompareWord<Bits> n_between; // keys strictly between the two

    __device__ explicit Bracket(const Selection<Bits> &selection)
        : low(selection.low), high(selection.high), span(high - low), n_between(span == 0 ? 0 : span - 1) {}

    [[nodiscard]] __device__ bool inside(CompareWord<Bits> key) const {
        return key - low - 1 < n_between; // low < key && key < high, by wrap-around in one comparison
    }
};

// Append-only buffer of candidate keys in global memory, shared by all warps. A warp reserves slots in chunks: with an
// atomic addition per append the contention would take longer than the pass.
template <class Bits> class CandidateBuffer {
  public:
    __device__ CandidateBuffer(Bits *slots, std::int64_t capacity, Count *n_reserved, int chunk)
        : slots(slots), capacity(capacity), n_reserved(n_reserved), chunk(chunk) {}

    // Appends the keys of the warp that are inside the bracket; this lane has n of them. All lanes must call it.
    template <int N>
    __device__ __forceinline__ void append(const CompareWord<Bits> (&keys)[N], unsigned n,
                                           const Bracket<Bits> &bracket) {
        if (!__any_sync(full_mask, n != 0)) {
            return;
        }
        unsigned total = 0;
        const unsigned position = exclusive_scan_warp(n, total);
        if (end - next < static_cast<std::int64_t>(total)) {
            fill_unused(bracket.low);
            const std::int64_t needed = total;
            const std::int64_t size = needed > chunk ? needed : chunk;
            next = reserve(size);
            end = next + size;
        }
        if (next + total <= capacity) {
            Bits *to = slots + next + position;
            GPU_UNROLL for (const CompareWord<Bits> key : keys) {
                if (bracket.inside(key)) {
                    gpu::store(to, static_cast<Bits>(key));
                    ++to;
                }
            }
        }
        next += total;
    }

    // Fills the slots that this warp reserved and did not use with `padding`, a key that is not a candidate.
    __device__ void fill_unused(CompareWord<Bits> padding) {
        for (std::int64_t slot = next + lane(); slot < end && slot < capacity; slot += warp_size) {
            gpu::store(slots + slot, static_cast<Bits>(padding));
        }
    }

  private:
    __device__ std::int64_t reserve(std::int64_t size) {
        Count first = 0;
        if (lane() == 0) {
            first = atomicAdd(n_reserved, static_cast<Count>(size));
        }
        return static_cast<std::int64_t>(__shfl_sync(full_mask, first, 0));
    }

    Bits *slots;
    std::int64_t capacity;
    Count *n_reserved;
    int chunk;
    std::int64_t next = 0, end = 0; // slots reserved by this warp and not yet used
};

// Counts of one thread; 32 bits suffice for its share of 2^40 losses.
template <class Bits> struct ThreadCounts {
    CompareWord<Bits> minimum = std::numeric_limits<Bits>::max();
    unsigned n_minimum = 0, n_nan = 0, n_neg_inf = 0, n_pos_inf = 0;
    BracketCounts<unsigned> counts[2];

    __device__ ScanResult<Bits> to_scan_result() const {
        ScanResult<Bits> s;
        s.minimum = static_cast<Bits>(minimum);
        s.n_minimum = n_minimum;
        s.n_nan = n_nan;
        s.n_neg_inf = n_neg_inf;
        s.n_pos_inf = n_pos_inf;
        GPU_UNROLL for (int i = 0; i < 2; ++i) {
            s.counts[i] = {counts[i].n_below, counts[i].n_at_low, counts[i].n_inside, counts[i].n_at_high};
        }
        return s;
    }
};

// Counts the NaN and infinities of a vector, and records the first NaN and the first -infinity. Rarely called.
template <class F>
__device__ void count_special(const KernelParams<F> &params, const VecArray<typename F::Bits> &vectors,
                              std::int64_t vector, ThreadCounts<typename F::Bits> &thread_counts) {
    const std::int64_t begin = vectors.first_index(vector), end = begin + vectors.width;
    for (std::int64_t i = begin > 0 ? begin : 0; i < (end < params.n ? end : params.n); ++i) {
        const typename F::Bits key = F::key(gpu::load(params.losses + i));
        if (key == F::key_inf) {
            ++thread_counts.n_pos_inf;
        } else if (key == F::key_nan && thread_counts.n_nan++ == 0) { // a thread reads its losses in ascending order
            atomicMin(&params.state->first_nan, static_cast<Count>(i));
        } else if (key == F::key_neg_inf && thread_counts.n_neg_inf++ == 0) {
            atomicMin(&params.state->first_neg_inf, static_cast<Count>(i));
        }
    }
}

template <class Bits> __device__ int bit_width(Bits x) {
    int width = 0;
    for (; x != 0; x = static_cast<Bits>(x >> 1)) {
        ++width;
    }
    return width;
}

// Starts the selection of the `rank`-th smallest key: completes it if the key is on the bracket's edge, otherwise sets
// the range of keys that contains it.
template <class F>
__device__ void begin_rank_search(Selection<typename F::Bits> &selection, const BracketCounts<std::int64_t> &counts,
                                  std::int64_t rank, std::int64_t capacity) {
    using Bits = typename F::Bits;
    const std::int64_t up_to_low = counts.n_below + counts.n_at_low;
    const std::int64_t below_high = up_to_low + counts.n_inside;
    const auto complete = [&](Bits key, std::int64_t n_below, std::int64_t n_equal) {
        selection.source = KeySource::none;
        selection.key = key;
        selection.n_below = n_below;
        selection.n_equal = n_equal;
    };
    const auto search = [&](KeySource source, Bits first, Bits last, std::int64_t n_below) {
        selection.source = source;
        selection.key_known = false;
        selection.first = first;
        selection.last = last;
        selection.n_bits = bit_width(static_cast<Bits>(last - first));
        selection.n_below = n_below;
        selection.rank = rank - n_below;
    };
    if (rank <= counts.n_below) {
        search(KeySource::losses, 0, static_cast<Bits>(selection.low - 1), 0);
    } else if (rank <= up_to_low) {
        complete(selection.low, counts.n_below, counts.n_at_low);
    } else if (rank <= below_high) {
        const bool fits = selection.n_reserved <= static_cast<Count>(capacity);
        search(fits ? KeySource::candidates : KeySource::losses, static_cast<Bits>(selection.low + 1),
               static_cast<Bits>(selection.high - 1), up_to_low);
    } else if (rank <= below_high + counts.n_at_high) {
        complete(selection.high, below_high, counts.n_at_high);
    } else {
        search(KeySource::losses, static_cast<Bits>(selection.high + 1), F::key_inf, below_high + counts.n_at_high);
    }
}

// Starts the count of the losses below and equal to a known key.
template <class F>
__device__ void begin_key_count(Selection<typename F::Bits> &selection, const BracketCounts<std::int64_t> &counts,
                                typename F::Bits key, std::int64_t capacity) {
    selection.key = key;
    selection.key_known = true;
    if (key == selection.low) {
        selection.source = KeySource::none;
        selection.n_below = counts.n_below;
        selection.n_equal = counts.n_at_low;
    } else if (key == selection.high) {
        selection.source = KeySource::none;
        selection.n_below = counts.n_below + counts.n_at_low + counts.n_inside;
        selection.n_equal = counts.n_at_high;
    } else if (key > selection.low && key < selection.high && selection.n_reserved <= static_cast<Count>(capacity)) {
        selection.source = KeySource::candidates;
        selection.first = static_cast<typename F::Bits>(selection.low + 1);
        selection.last = static_cast<typename F::Bits>(selection.high - 1);
        selection.n_below = counts.n_below + counts.n_at_low;
    } else {
        selection.source = KeySource::losses;
        selection.first = 0;
        selection.last = F::key_inf;
        selection.n_below = 0;
    }
}

// Checks the losses and starts the selection of each threshold, given the result of the scan over the grid.
template <class F>
__device__ void begin_selections(const KernelParams<F> &params, const ScanResult<typename F::Bits> &scan) {
    State<F> &state = *params.state;
    state.scan = scan;
    const NonFiniteCounts non_finite{scan.n_nan, 0, scan.n_neg_inf, 0, scan.n_pos_inf};
    state.rejected = non_finite.is_invalid(params.n, params.rule.prune_nan);
    GPU_UNROLL for (int i = 0; i < 2; ++i) {
        if (i == params.n_selections) {
            break;
        }
        Selection<typename F::Bits> &selection = state.selections[i];
        const std::int64_t n_numbers = params.n - scan.n_nan;
        const std::int64_t rank = i == 0 ? params.rule.rank : params.rule.recipient_rank;
        if (state.rejected) {
            selection.source = KeySource::none;
        } else if (rank == 0) {
            const auto key = F::key_not_above(F::decode(scan.minimum) + params.rule.gamma);
            begin_key_count<F>(selection, scan.counts[i], key, params.config.capacity);
        } else {
            begin_rank_search<F>(selection, scan.counts[i], rank < n_numbers ? rank : n_numbers,
                                 params.config.capacity);
        }
    }
}

// Reduces the results of all threads: per block, then in the last block over the grid, which starts the selections.
template <class F>
__device__ void finish_scan(const KernelParams<F> &params, const ScanResult<typename F::Bits> &thread_result) {
    const ScanResult<typename F::Bits> block_result = block_reduce(thread_result);
    if (threadIdx.x == 0) {
        params.block_results[blockIdx.x] = block_result;
    }
    if (!is_last_block(&params.state->scan_ticket, gridDim.x)) {
        return;
    }
    ScanResult<typename F::Bits> grid_result;
    for (unsigned i = threadIdx.x; i < gridDim.x; i += blockDim.x) {
        grid_result.merge(params.block_results[i]);
    }
    grid_result = block_reduce(grid_result);
    if (threadIdx.x == 0) {
        begin_selections(params, grid_result);
    }
}

// Converts the losses of a tile to keys and returns the smallest. Counts NaN and infinities.
template <class F, int N, class Loaded, class Vector>
__device__ __forceinline__ CompareWord<typename F::Bits>
read_keys(const KernelParams<F> &params, const VecArray<typename F::Bits> &vectors, const Loaded &loaded, Vector vector,
          ThreadCounts<typename F::Bits> &thread_counts, CompareWord<typename F::Bits> (&keys)[N]) {
    constexpr int width = VecArray<typename F::Bits>::width;
    CompareWord<typename F::Bits> minimum = F::key_nan;
    CompareWord<typename F::Bits> maximum = 0;
    GPU_UNROLL for (int i = 0; i < N; ++i) {
        keys[i] = fast_key<F>(loaded[i / width].at[i % width]);
        minimum = keys[i] < minimum ? keys[i] : minimum;
        maximum = keys[i] > maximum ? keys[i] : maximum;
    }
    if (minimum > F::key_neg_inf && maximum < F::key_inf) {
        return minimum;
    }
    minimum = F::key_nan; // infinities, NaN of either sign, or a partial vector: fast_key() does not apply
    GPU_UNROLL for (int i = 0; i < N; ++i) {
        keys[i] = F::key(loaded[i / width].at[i % width]);
        minimum = keys[i] < minimum ? keys[i] : minimum;
    }
    GPU_UNROLL for (int i = 0; i < N / width; ++i) {
        count_special(params, vectors, vector(i), thread_counts);
    }
    return minimum;
}

// Updates the thread's minimum and its multiplicity with the keys of a tile, whose smallest is `minimum`.
template <class Bits, int N>
__device__ __forceinline__ void update_minimum(const CompareWord<Bits> (&keys)[N], CompareWord<Bits> minimum,
                                               ThreadCounts<Bits> &thread_counts) {
    if (minimum > thread_counts.minimum) {
        return;
    }
    thread_counts.n_minimum = minimum < thread_counts.minimum ? 0 : thread_counts.n_minimum;
    thread_counts.minimum = minimum;
    GPU_UNROLL for (const CompareWord<Bits> key : keys) {
        thread_counts.n_minimum += key == minimum ? 1 : 0;
    }
}

// Adds the keys of a tile to the counts of a bracket. Returns the number of keys inside.
template <class Bits, int N>
__device__ __forceinline__ unsigned count_bracket(const CompareWord<Bits> (&keys)[N], const Bracket<Bits> &bracket,
                                                  BracketCounts<unsigned> &counts) {
    unsigned n_inside = 0, n_closed = 0;
    GPU_UNROLL for (const CompareWord<Bits> key : keys) {
        counts.n_below += key < bracket.low ? 1 : 0;
        n_closed += key - bracket.low <= bracket.span ? 1 : 0;
        n_inside += bracket.inside(key) ? 1 : 0;
    }
    if (n_closed != n_inside) { // keys on an edge: rare, unless many losses are equal
        GPU_UNROLL for (const CompareWord<Bits> key : keys) {
            counts.n_at_low += key == bracket.low ? 1 : 0;
            counts.n_at_high += key == bracket.high && bracket.span != 0 ? 1 : 0;
        }
    }
    counts.n_inside += n_inside;
    return n_inside;
}

template <class F, int NSelections>
__global__ void __launch_bounds__(max_threads, min_blocks_per_sm) scan_losses(KernelParams<F> params) {
    using Bits = typename F::Bits;
    State<F> *state = params.state;
    const std::int64_t thread = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
    for (std::int64_t i = thread; i < n_buckets<F>; i += std::int64_t{gridDim.x} * blockDim.x) {
        GPU_UNROLL for (int c = 0; c < NSelections; ++c) {
            params.histograms[c][i] = 0;
        }
    }
    const Bracket<Bits> brackets[2] = {Bracket<Bits>(state->selections[0]),
                                       Bracket<Bits>(state->selections[NSelections - 1])};
    CandidateBuffer<Bits> buffers[2] = {
        {params.candidates[0], params.config.capacity, &state->selections[0].n_reserved, params.config.chunk},
        {params.candidates[1], params.config.capacity, &state->selections[1].n_reserved, params.config.chunk}};
    ThreadCounts<Bits> thread_counts;
    const VecArray<Bits> vectors(params.losses, params.n);
    for_each_tile(vectors, [&](const auto &loaded, auto vector) {
        CompareWord<Bits> keys[loads_in_flight<Bits> * VecArray<Bits>::width];
        const CompareWord<Bits> minimum = read_keys<F>(params, vectors, loaded, vector, thread_counts, keys);
        update_minimum<Bits>(keys, minimum, thread_counts);
        GPU_UNROLL for (int c = 0; c < NSelections; ++c) {
            buffers[c].append(keys, count_bracket<Bits>(keys, brackets[c], thread_counts.counts[c]), brackets[c]);
        }
    });
    GPU_UNROLL for (int c = 0; c < NSelections; ++c) {
        buffers[c].fill_unused(brackets[c].low);
    }
    finish_scan(params, thread_counts.to_scan_result());
}

} // namespace rrm::cuda
