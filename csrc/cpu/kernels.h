// The loops over losses, in one copy per instruction set. Every answer is an integer count or one of the losses, so all
// copies give the same bits.
#pragma once

#include <cstdint>
#include <limits>
#include <string_view>
#include <tuple>

#include "../ordered_key.h"
#include "../plan.h"

namespace rrm::cpu {

constexpr std::int64_t group_size = 64;   // samples whose marks fill one word
constexpr std::int64_t block_size = 2048; // samples that stay in the first-level cache while two loops look at them

constexpr std::int64_t half_size = group_size / 2;
constexpr std::int64_t run_size = 16; // samples drawn together: of float32 as many as share a cache line

// Beyond their capacity, buffers of candidates are written up to this many entries further.
constexpr std::int64_t slack = group_size;

// How values stand to one number.
struct Census {
    std::int64_t n_below = 0, n_equal = 0, n_nan = 0;
};

// The samples strictly between two pivots. Those on a pivot are only counted, so that ties can't swamp the memory.
template <class V> struct Candidates {
    V low = -std::numeric_limits<V>::infinity(), high = std::numeric_limits<V>::infinity();
    typename Wide<V>::Bits *values = nullptr;
    std::int64_t capacity = 0;
    std::int64_t stored = 0;   // of those inside, as far as the memory reaches
    std::int64_t n_inside = 0; // between the pivots
    std::int64_t n_high = 0;   // not below the higher pivot: on it, above it, or NaN
};

// Which samples are candidates, kept by a marking pass: a word with their bits for each half group that has any, and in
// `occupied` a bit for each such half of a block. (Indices would take more memory, and longer to compress.)
struct Occupancy {
    std::uint64_t *occupied = nullptr; // of all blocks: [0] is that of the first samples
    std::uint32_t *halves = nullptr;
    std::int64_t capacity = 0, stored = 0;
};

// What a pass over losses, taken piece by piece, has found so far.
template <class V> struct alignas(128) Pass { // on cache lines of its own: each member writes to one
    Candidates<V> candidates[2];
    Occupancy occupancy;
    V lowest = std::numeric_limits<V>::infinity(); // NaN left out
    std::int64_t n_lowest = 0;
    std::uint32_t *lowest_places = nullptr; // kept only by a marking pass, as far as the memory reaches
    std::int64_t lowest_capacity = 0;
    NonFiniteCounts faults; // but for +infinity
};

// Where the candidates of one pass stand, walked in the same order again.
template <class V> struct alignas(128) Walk { // likewise
    const typename Wide<V>::Bits *values;     // the next one
    const std::uint32_t *halves;              // the next occupied half group's
    const std::uint64_t *occupied;
    std::int64_t *tied; // gets the places of those on the threshold, unless null
    std::int64_t n_tied = 0;
};

// A selection in rounds, bucket_counts.h. What its first round finds; so many leading bits of a key choose a count.
constexpr int bin_bits = 16;

struct Tally {
    std::int64_t *counts;                                             // of each bin
    std::uint64_t lowest = std::numeric_limits<std::uint64_t>::max(); // key
    std::int64_t first_nan = -1, first_low = -1;                      // -1: nowhere
    std::uint32_t checksum = 0;
};

// Keys from the first, that of a number, to the last; none if these are in the wrong order.
struct Interval {
    std::uint64_t first = 1, last = 0;
    int shift = 0; // from a key's distance from the first to its bin
};

// What a later round finds in an interval: counts, or where these are null, the keys themselves.
struct Partial {
    std::int64_t *counts = nullptr;
    std::uint64_t *keys = nullptr;
    std::int64_t capacity = 0, stored = 0;
    std::int64_t inside = 0; // also of those for which there was no memory
};

// New weights: keep * old + step, or the step itself where the old weight isn't read.
template <class V> struct Steps {
    V threshold, recipient_threshold;
    V pruned, tied, kept, tied_recipient, kept_recipient;
    V keep;
    bool stream; // past the caches, if the old weights aren't read and `out` is a multiple of 16
};

template <class F> struct Loops {
    using Bits = typename F::Bits;
    using Value = typename F::Value;
    using Word = typename Wide<Value>::Bits;

    // Look at n losses, whose indices start at `first`, with one bracket, with two, and with one while setting the mark
    // of every sample not below its higher pivot: marks[0] holds those of the first 64.
    void (*scan)(const Bits *losses, std::int64_t n, std::int64_t first, Pass<Value> &pass);
    void (*scan_two)(const Bits *losses, std::int64_t n, std::int64_t first, Pass<Value> &pass);
    void (*scan_marking)(const Bits *losses, std::int64_t n, std::int64_t first, Pass<Value> &pass,
                         std::uint64_t *marks);
    Census (*count)(const Bits *losses, std::int64_t n, Value pivot);
    // Sets the marks of the candidates above the threshold among n losses from index `first` on.
    void (*mark)(std::int64_t n, std::int64_t first, Value threshold, Walk<Value> &walk, std::uint64_t *marks);
    // Null `old` isn't read.
    void (*write)(const Bits *losses, std::int64_t n, const Steps<Value> &steps, const Value *old, Value *out);
    // The same where all samples are pruned (marked) or kept.
    void (*write_marked)(const std::uint64_t *marks, std::int64_t n, const Steps<Value> &steps, const Value *old,
                         Value *out);
    // The rank-th smallest of a few thousand values, NaN left out; with a tolerance, some value whose rank is off by
    // less, and counts that mean nothing. Reads up to the next multiple of 64 values, which must be NaN.
    OrderStatistic<Value> (*smallest_of_few)(const Word *values, std::int64_t n, std::int64_t rank,
                                             std::int64_t tolerance);
    // Of the number of values upto a pivot among n, in runs that follow each other: from the differences of
    // neighbouring runs, so that a trend doesn't count.
    double (*variance_of_runs)(const Word *values, std::int64_t n, Value pivot);
    // The rounds of a selection among n losses: the first, whose indices start at `first`; and the others, for two
    // intervals and the keys of two points, of which 0 is none.
    void (*tally_all)(const Bits *losses, std::int64_t n, std::int64_t first, Tally &tally);
    void (*tally_some)(const Bits *losses, std::int64_t n, const Interval *intervals, Partial *partials,
                       const std::uint64_t *points, Census *censuses, std::uint32_t &checksum);
    std::uint32_t (*checksum)(const Bits *losses, std::int64_t n);
};

using AllLoops = std::tuple<Loops<Float16>, Loops<BFloat16>, Loops<Float32>, Loops<Float64>>;

enum class InstructionSet : std::uint8_t { baseline, v3, v4 };

const char *name(InstructionSet set);

InstructionSet instruction_set(std::string_view asked); // throws std::invalid_argument if this processor lacks it
InstructionSet best_instruction_set();                  // of this processor
InstructionSet chosen_instruction_set(); // the best, or the one that the environment variable RRM_CPU names
void choose_instruction_set(InstructionSet set);

// The loops compiled for the chosen instruction set.
template <class F> const Loops<F> &loops();

} // namespace rrm::cpu
