// The kernels: loops over losses, compiled once per instruction set (kernels_*.cpp). Every result is an integer count
// or one of the losses, so all instruction sets give the same bits.
#pragma once

#include <cstdint>
#include <limits>
#include <string_view>
#include <tuple>

#include "../ordered_key.h"
#include "../plan.h"

namespace rrm::cpu {

constexpr std::int64_t group_size = 64;   // samples whose marks fill one word
constexpr std::int64_t block_size = 2048; // samples that stay in the first-level cache between two loops

constexpr std::int64_t half_size = group_size / 2;
constexpr std::int64_t run_size = 16; // consecutive losses sampled together: in float32 they fill a cache line

// Candidate buffers are written up to this many entries beyond their capacity.
constexpr std::int64_t slack = group_size;

// The number of values below and equal to a pivot, and of NaN.
struct PivotCounts {
    std::int64_t n_below = 0, n_equal = 0, n_nan = 0;
};

// The losses strictly between two pivots. Losses equal to a pivot are only counted, so that ties cannot fill the
// memory.
template <class V> struct Candidates {
    V low = -std::numeric_limits<V>::infinity(), high = std::numeric_limits<V>::infinity();
    typename Wide<V>::Bits *values = nullptr;
    std::int64_t capacity = 0;
    std::int64_t n_stored = 0; // fewer than n_inside if the capacity was too small
    std::int64_t n_inside = 0; // between the pivots
    std::int64_t n_high = 0;   // not below the higher pivot: equal to it, above it, or NaN
};

// Which samples are candidates, as recorded by a marking scan: one word for each half group that has any, and in
// `occupied` one bit for each such half group of a block. (Indices would take more memory, and longer to compress.)
struct CandidateMask {
    std::uint64_t *occupied = nullptr; // one word for each block of the whole array
    std::uint32_t *halves = nullptr;
    std::int64_t capacity = 0, n_stored = 0;
};

// Result of a scan, accumulated piece by piece. Aligned to cache lines of its own, since each thread writes to one.
template <class V> struct alignas(128) ScanResult {
    Candidates<V> candidates[2];
    CandidateMask mask;
    V minimum = std::numeric_limits<V>::infinity(); // NaN excluded
    std::int64_t n_minimum = 0;
    std::uint32_t *minimum_indices = nullptr; // recorded by a marking scan only, up to the capacity
    std::int64_t minimum_capacity = 0;
    NonFiniteCounts non_finite; // without the count of +infinity
};

// A position in the candidates of one scan, as they are read again in the same order.
template <class V> struct CandidateCursor {
    const typename Wide<V>::Bits *values; // the next candidate
    const std::uint32_t *halves;          // the word of the next occupied half group
    const std::uint64_t *occupied;
    std::int64_t *tied_indices; // receives the indices of the losses equal to the threshold, unless null
    std::int64_t n_tied = 0;
};

// Counting passes of a selection over losses in parts, see bucket_counts.h. The first pass counts all losses by the
// leading bin_bits bits of their keys.
constexpr int bin_bits = 16;

struct FirstPassCounts {
    std::int64_t *counts;                                              // of each bin
    std::uint64_t min_key = std::numeric_limits<std::uint64_t>::max(); // smallest key
    std::int64_t first_nan = -1, first_neg_inf = -1;                   // indices; -1: there is none
    std::uint32_t checksum = 0;
};

// The keys from `first`, the key of a number, to `last`; empty if first > last.
struct KeyRange {
    std::uint64_t first = 1, last = 0;
    int shift = 0; // the bin of a key is (key - first) >> shift
};

// Result of a later pass for one range: the counts of its bins or, if `counts` is null, the keys themselves.
struct RangeCounts {
    std::int64_t *counts = nullptr;
    std::uint64_t *keys = nullptr;
    std::int64_t capacity = 0, n_stored = 0;
    std::int64_t n_in_range = 0; // including those beyond the capacity
};

// The losses of one group: their minimum and the counts of those that are not finite, and the one with a rank.
template <class V> struct GroupResult {
    OrderStatistic<V> minimum{std::numeric_limits<V>::infinity(), 0, 0};
    std::int64_t n_nan = 0, n_neg_inf = 0;
    OrderStatistic<V> ranked{std::numeric_limits<V>::quiet_NaN(), 0, 0};
};

// The thresholds and terms of an update. New weight = old_factor * old weight + term, or the term alone where old
// weights are not read. There is one term for each level of the plan.
template <class V> struct WeightUpdate {
    V threshold, recipient_threshold;
    V pruned, tied, kept, tied_recipient, kept_recipient;
    V old_factor;
    bool stream; // bypass the caches, if old weights are not read and `out` is aligned to 16 bytes
};

constexpr int few_groups = 16; // groups whose numbers vector instructions look up

// Result of a scan with a bracket for each of few groups. Numbers of groups that do not exist are not used.
template <class V> struct alignas(128) FewGroupsScan {
    int n_groups = 0;
    V low[few_groups], high[few_groups];
    V minimum[few_groups]; // NaN excluded; to be set before a scan to one of the losses of each group, or infinity
    std::int64_t n_minimum[few_groups] = {};
    std::int64_t n_high[few_groups] = {}; // not below the higher pivot: equal to it, above it, or NaN
    std::int64_t n_inside[few_groups] = {}, n_stored[few_groups] = {};
    std::int64_t n_nan[few_groups] = {};
    typename Wide<V>::Bits *candidates[few_groups] = {};
    std::int64_t capacity = 0; // of each
};

// The losses of each group below and equal to its pivot.
template <class V> struct FewGroupsCounts {
    int n_groups = 0;
    V pivot[few_groups];
    std::int64_t n_below[few_groups] = {}, n_equal[few_groups] = {};
};

// As WeightUpdate. The term of a pruned sample is the same for all groups.
template <class V> struct FewGroupsUpdate {
    V threshold[few_groups], recipient_threshold[few_groups];
    V tied[few_groups], kept[few_groups], kept_recipient[few_groups]; // tied: as a recipient where these are recipients
    V pruned, old_factor;
    bool is_simple; // a sample that is not pruned has the term `kept`
};

// The kernels for losses of one format and one instruction set.
template <class F> struct Kernels {
    using Bits = typename F::Bits;
    using Value = typename F::Value;
    using Word = typename Wide<Value>::Bits;

    // Scan n losses, whose indices start at `first`: with one bracket; with two; and with one, setting the mark of
    // every sample not below the higher pivot. marks[0] has the marks of the first 64 samples.
    void (*scan)(const Bits *losses, std::int64_t n, std::int64_t first, ScanResult<Value> &result);
    void (*scan_two_brackets)(const Bits *losses, std::int64_t n, std::int64_t first, ScanResult<Value> &result);
    void (*scan_and_mark)(const Bits *losses, std::int64_t n, std::int64_t first, ScanResult<Value> &result,
                          std::uint64_t *marks);
    PivotCounts (*count_pivot)(const Bits *losses, std::int64_t n, Value pivot);
    // Sets the marks of the candidates above the threshold, among n losses whose indices start at `first`.
    void (*mark_candidates)(std::int64_t n, std::int64_t first, Value threshold, CandidateCursor<Value> &cursor,
                            std::uint64_t *marks);
    // `old_weights` is not read if null. Returns the invalid ones.
    InvalidWeights (*write)(const Bits *losses, std::int64_t n, const WeightUpdate<Value> &update,
                            const Value *old_weights, Value *out);
    // The same where every sample is either pruned (marked) or kept.
    InvalidWeights (*write_marked)(const std::uint64_t *marks, std::int64_t n, const WeightUpdate<Value> &update,
                                   const Value *old_weights, Value *out);
    // The rank-th smallest of a few thousand values, NaN excluded. With a tolerance, a value whose rank is off by less,
    // and meaningless counts. Reads up to the next multiple of 64 values; the padding must be NaN.
    OrderStatistic<Value> (*select_small)(const Word *values, std::int64_t n, std::int64_t rank,
                                          std::int64_t tolerance);
    // The result for a group of a few thousand values, and the value with a rank unless that is 0; a rank beyond the
    // numbers stands for the largest. `scratch` has room for the next multiple of 64 values.
    GroupResult<Value> (*scan_small)(const Word *values, std::int64_t n, std::int64_t rank, Word *scratch);
    // The variance of the number of values up to a pivot, for n values in consecutive runs. Estimated from the
    // differences between neighbouring runs, so that a trend does not contribute.
    double (*variance_of_runs)(const Word *values, std::int64_t n, Value pivot);
    // Counting passes over n losses: the first, whose indices start at `first`, and a later one, for two key ranges and
    // the keys of two pivots (0: no pivot).
    void (*count_first_pass)(const Bits *losses, std::int64_t n, std::int64_t first, FirstPassCounts &result);
    void (*count_pass)(const Bits *losses, std::int64_t n, const KeyRange *ranges, RangeCounts *range_counts,
                       const std::uint64_t *pivots, PivotCounts *pivot_counts, std::uint32_t &checksum);
    std::uint32_t (*checksum)(const Bits *losses, std::int64_t n);
    // The same for losses of few groups, whose numbers are bytes; null where the instruction set has no look-up.
    void (*scan_few_groups)(const Bits *losses, const std::uint8_t *groups, std::int64_t n,
                            FewGroupsScan<Value> &result);
    void (*count_few_groups)(const Bits *losses, const std::uint8_t *groups, std::int64_t n,
                             FewGroupsCounts<Value> &result);
    InvalidWeights (*write_few_groups)(const Bits *losses, const std::uint8_t *groups, std::int64_t n,
                                       const FewGroupsUpdate<Value> &update, const Value *old_weights, Value *out);
};

using AllKernels = std::tuple<Kernels<Float16>, Kernels<BFloat16>, Kernels<Float32>, Kernels<Float64>>;

// x86-64-v3 has AVX2, x86-64-v4 has AVX-512.
enum class InstructionSet : std::uint8_t { baseline, v3, v4 };

const char *name(InstructionSet set);

// Throws std::invalid_argument if the text names no instruction set or this processor lacks the instruction set.
InstructionSet parse_instruction_set(std::string_view text);
InstructionSet best_instruction_set(); // of this processor
// The best, or the one named by the environment variable RRM_CPU; the first call may throw std::invalid_argument.
InstructionSet chosen_instruction_set();
void choose_instruction_set(InstructionSet set);

// The kernels for the chosen instruction set.
template <class F> const Kernels<F> &kernels();

} // namespace rrm::cpu
