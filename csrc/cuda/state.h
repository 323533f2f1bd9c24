// Device-side state of a reweight: the kernels' parameters, and the workspace that passes results between launches.
#pragma once

#include <cstdint>
#include <limits>

#include "compat.h"
#include "reweight.h"

namespace rrm::cuda {

constexpr int warp_size = 32;
constexpr int min_blocks_per_sm = 3; // launch bound: limits a thread to 80 registers
// 16-byte loads that a thread issues before it uses the first; their results must fit in registers.
template <class Bits> constexpr int loads_in_flight = sizeof(Bits) == 2 ? 2 : 4;

// Radix selection: one pass per digit, most significant digit first, each with a histogram in shared memory. 13 bits
// fill 48 KiB of shared memory; with them 64-bit keys need five passes, the most that eight launches allow.
constexpr int digit_bits_of(int width) {
    if (width == 64) {
        return 13;
    }
    return width == 32 ? 11 : 8;
}
template <class F> constexpr int digit_bits = digit_bits_of(F::width);
template <class F> constexpr int n_digits = (F::width + digit_bits<F> - 1) / digit_bits<F>;
template <class F> constexpr int n_buckets = 1 << digit_bits<F>;

// The array that the next radix pass reads; none: the selection is complete.
enum class KeySource : std::uint8_t { none, candidates, losses };

// State of the selection of one threshold.
template <class Bits> struct Selection {
    // Bracket from the sample: the threshold's key is expected in [low, high].
    Bits low, high;
    Count n_reserved; // candidate slots reserved for keys inside (low, high); above the capacity: the buffer overflowed

    KeySource source;
    bool key_known;       // the key is known (gamma rule); only the counts are missing
    std::int32_t n_bits;  // last - first < 2^n_bits
    Bits first, last;     // range of keys that contains the threshold ...
    std::int64_t rank;    // ... as its rank-th smallest key, from 1
    Bits key;             // the threshold's key; valid once complete
    std::int64_t n_below; // losses below `first`; once complete, below the key
    std::int64_t n_equal; // losses equal to the key; valid once complete
};

// Losses relative to a bracket: below low, equal to low, inside (low, high), equal to high (0 if high == low).
template <class Number> struct BracketCounts {
    Number n_below = 0, n_at_low = 0, n_inside = 0, n_at_high = 0;
};

// Result of the scan, of one block or of the grid.
template <class Bits> struct ScanResult {
    Bits minimum = std::numeric_limits<Bits>::max();
    std::int64_t n_minimum = 0, n_nan = 0, n_neg_inf = 0, n_pos_inf = 0;
    BracketCounts<std::int64_t> counts[2]; // by selection

    __device__ void merge(const ScanResult &other) {
        n_minimum = (minimum <= other.minimum ? n_minimum : 0) + (other.minimum <= minimum ? other.n_minimum : 0);
        minimum = minimum < other.minimum ? minimum : other.minimum;
        n_nan += other.n_nan;
        n_neg_inf += other.n_neg_inf;
        n_pos_inf += other.n_pos_inf;
        GPU_UNROLL for (int i = 0; i < 2; ++i) {
            counts[i].n_below += other.counts[i].n_below;
            counts[i].n_at_low += other.counts[i].n_at_low;
            counts[i].n_inside += other.counts[i].n_inside;
            counts[i].n_at_high += other.counts[i].n_at_high;
        }
    }
};

template <class F> struct State {
    using Bits = typename F::Bits;

    Selection<Bits> selections[2]; // the threshold; the recipients' threshold if it needs a selection of its own
    ScanResult<Bits> scan;
    Count first_nan, first_neg_inf; // index of the first; all ones: there is none
    bool rejected;                  // the losses cannot be reweighted
    InvalidWeightsState invalid_weights;
    unsigned scan_ticket;                   // blocks that have finished scan_losses()
    unsigned radix_tickets[n_digits<F>][2]; // blocks that have finished radix_pass(), by pass and selection
};

// Positions in the sorted sample that are expected to enclose the key of a rank.
struct SampleWindow {
    std::int32_t low, high;
};

// Parameters of the kernels.
template <class F> struct KernelParams {
    using Bits = typename F::Bits;

    const Bits *losses;
    std::int64_t n;
    Rule rule;
    LaunchConfig config;
    SampleWindow windows[2];
    std::int32_t n_selections; // 1 or 2
    State<F> *state;
    ScanResult<Bits> *block_results; // one per block
    Count *histograms[2];            // all zero except during radix_pass()
    Bits *candidates[2];

    // True if the sample holds all losses: its order statistics are theirs.
    [[nodiscard]] RRM_HD bool sample_is_complete() const {
        return n <= config.sample_size;
    }
};

} // namespace rrm::cuda
