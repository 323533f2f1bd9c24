// Exact order statistics. A sample narrows the search, and exact counts determine the result: an unrepresentative
// sample costs time, but cannot change the result.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <stdexcept>

#include "kernels.h"
#include "tuning.h"

namespace rrm::cpu {

constexpr std::int64_t small_size = 4096; // values up to which select_small is the fastest way

template <class Word> struct Buffer {
    Word *data;
    std::int64_t size; // words

    [[nodiscard]] Buffer after(std::int64_t words) const {
        return {data + words, size - words};
    }
};

inline std::int64_t padded_size(std::int64_t n) {
    return (n + group_size - 1) / group_size * group_size;
}

// Appends NaN up to a full group, as select_small requires.
template <class Word> void pad_with_nan(Word *values, std::int64_t n) {
    std::fill(values + n, values + padded_size(n), std::numeric_limits<Word>::max());
}

template <class V> V next_above(V value) {
    return std::nextafter(value, std::numeric_limits<V>::infinity());
}

// Two pivots, and the fraction of all samples expected strictly between them, which a scan stores as candidates.
template <class V> struct Bracket {
    V low = -std::numeric_limits<V>::infinity(), high = std::numeric_limits<V>::infinity();
    double expected_fraction = 1.0;

    // The bracket with only `value` inside, for a value with so many ties that it is the likely result: its ties are
    // counted and need not be stored.
    static Bracket around(V value) {
        return {-next_above(-value), next_above(value), 0.0};
    }
};

// Whether there is only one value between the pivots.
template <class V> bool has_single_value(const Candidates<V> &candidates) {
    return next_above(next_above(candidates.low)) == candidates.high;
}

// The rank-th smallest of n padded values. With a tolerance, a value whose rank is off by less.
template <class V>
OrderStatistic<V> select_rank(const typename Wide<V>::Bits *values, std::int64_t n, std::int64_t rank,
                              Buffer<typename Wide<V>::Bits> scratch, std::int64_t tolerance = 0);

// The number of losses to sample before choosing a bracket. A larger sample costs more and leaves fewer candidates; the
// total cost is smallest around n^(2/3). Large arrays need a narrower bracket, whose candidates fit into the memory.
inline std::int64_t sample_size(std::int64_t n) {
    constexpr std::int64_t max_size = std::int64_t{1} << 17;
    const double root = std::cbrt(static_cast<double>(n));
    return std::min(max_size, std::max(static_cast<std::int64_t>(root * root), n / 80)) / run_size * run_size;
}

// The indices of a stratified sample of n losses: from each of many equal strata one loss or, in large arrays, a run of
// consecutive losses, which share a memory access. The position within a stratum varies, so that periodic losses cannot
// bias the sample. With seed 0 it follows the multiples of an irrational number, which is cheapest; with another seed
// it is pseudo-random and unrelated to that of seed 0.
class SampleIndices {
  public:
    SampleIndices(std::int64_t n, std::uint32_t seed)
        : run_length(n >= tuning.sample_runs_from ? run_size : 1), n_runs(sample_size(n) / run_length),
          stratum_(n / n_runs), seed_(seed), state_(seed) {}

    const std::int64_t run_length, n_runs;

    // The index of the first loss of the next run.
    std::int64_t next() {
        state_ += 0x9e3779b9;
        std::uint32_t fraction = state_;
        if (seed_ != 0) { // the finaliser of MurmurHash3
            fraction = (fraction ^ (fraction >> 16)) * 0x85ebca6b;
            fraction = (fraction ^ (fraction >> 13)) * 0xc2b2ae35;
            fraction ^= fraction >> 16;
        }
        const auto positions = static_cast<std::uint64_t>(stratum_ - run_length + 1);
        const std::int64_t begin = begin_;
        begin_ += stratum_;
        return begin + static_cast<std::int64_t>((fraction * positions) >> 32);
    }

  private:
    std::int64_t stratum_, begin_ = 0; // of the next stratum
    std::uint32_t seed_, state_;
};

// A sample of the losses, and the brackets estimated from it.
template <class F> class Sample {
  public:
    using V = typename F::Value;
    using Word = typename Wide<V>::Bits;

    // `memory` holds padded_size(sample_size(n)) words, and the rest of it is scratch space for selections.
    Sample(const typename F::Bits *losses, std::int64_t n, std::uint32_t seed, Buffer<Word> memory)
        : values_(memory.data), size_(sample_size(n)), scratch_(memory.after(padded_size(size_))) {
        SampleIndices indices(n, seed);
        has_runs_ = indices.run_length > 1;
        for (std::int64_t i = 0; i < size_; i += indices.run_length) {
            const auto *const run = losses + indices.next();
            for (std::int64_t j = 0; j < indices.run_length; ++j) {
                values_[i + j] = std::bit_cast<Word>(F::value(run[j]));
            }
        }
        for (std::int64_t i = 0; i < size_; ++i) { // a loop of its own, which the compiler vectorises
            const auto value = std::bit_cast<V>(values_[i]);
            const V infinity = std::numeric_limits<V>::infinity();
            values_[i] = std::bit_cast<Word>(value < infinity ? value : infinity); // NaN rank last
            n_valid_ += std::isnan(value) ? 0 : 1;
        }
        pad_with_nan(values_, size_);
    }

    [[nodiscard]] std::int64_t size() const {
        return size_;
    }
    [[nodiscard]] V select_rank(std::int64_t rank, std::int64_t tolerance = 0) const {
        return cpu::select_rank<V>(values_, size_, rank, scratch_, tolerance).value;
    }
    [[nodiscard]] std::int64_t count_up_to(V value) const {
        const PivotCounts counts = kernels<Wide<V>>().count_pivot(values_, size_, value);
        return counts.n_below + counts.n_equal;
    }

    // A bracket around the rank-th smallest of the n losses; its pivots are `deviations` standard deviations away.
    [[nodiscard]] Bracket<V> bracket_rank(std::int64_t n, std::int64_t rank, double deviations) const {
        const auto size = static_cast<double>(size_);
        // A rank beyond the last number stands for that number: NaN are excluded.
        const double quantile =
            std::min(static_cast<double>(rank) / static_cast<double>(n), static_cast<double>(n_valid_) / size);
        double variance = size * quantile * (1.0 - quantile);
        if (has_runs_) {
            // Neighbouring losses may be correlated, and then the sample carries less information. The variance of the
            // counts in runs measures by how much.
            const auto middle = std::clamp<std::int64_t>(std::llround(quantile * size), 1, size_);
            const V pivot = select_rank(middle, size_ / 32 + 1);
            const double measured = kernels<Wide<V>>().variance_of_runs(values_, size_, pivot);
            variance = std::clamp(measured, variance, variance * run_size);
        }
        const double margin = deviations * std::sqrt(variance) + 2.0;
        const auto tolerance = static_cast<std::int64_t>(margin / 8.0);
        const auto first = static_cast<std::int64_t>(quantile * size - margin);
        const auto last = static_cast<std::int64_t>(quantile * size + margin) + 1;
        Bracket<V> bracket;
        if (first >= 1) {
            bracket.low = select_rank(first, tolerance);
        }
        if (last <= n_valid_) {
            bracket.high = select_rank(last, tolerance);
        }
        if (bracket.low == bracket.high) {
            return Bracket<V>::around(bracket.low);
        }
        const std::int64_t width = std::min(last, size_) - std::max<std::int64_t>(first, 0) + tolerance;
        bracket.expected_fraction = static_cast<double>(width) / size;
        return bracket;
    }

  private:
    Word *values_;
    std::int64_t size_;
    std::int64_t n_valid_ = 0; // not NaN
    bool has_runs_ = false;
    Buffer<Word> scratch_;
};

// Radix selection from the most significant digit: one pass per digit of the keys, for any input. Throws
// std::runtime_error if the losses change between the passes.
template <class F>
OrderStatistic<typename F::Value> radix_select(const typename F::Bits *losses, std::int64_t n, std::int64_t rank) {
    using Key = typename F::Bits;
    constexpr int digit_bits = 11; // the histogram fits into the first-level cache
    std::int64_t n_below = 0, n_equal = n;
    Key prefix = 0;
    for (int bits_left = F::width; bits_left > 0;) {
        const int bits = std::min(digit_bits, bits_left), shift = bits_left - bits;
        std::array<std::int64_t, std::size_t{1} << digit_bits> histogram{};
        for (std::int64_t i = 0; i < n; ++i) {
            const auto key = std::uint64_t{F::key(losses[i])};
            if (bits_left == F::width || key >> bits_left == prefix) {
                ++histogram[(key >> shift) & ((std::uint64_t{1} << bits) - 1)];
            }
        }
        std::size_t digit = 0;
        for (; digit < histogram.size() && n_below + histogram[digit] < rank; ++digit) {
            n_below += histogram[digit];
        }
        if (digit == histogram.size()) {
            throw std::runtime_error("losses changed while they were read; don't write to them from another thread");
        }
        n_equal = histogram[digit];
        prefix = static_cast<Key>((std::uint64_t{prefix} << bits) | digit);
        bits_left = shift;
    }
    return {F::value(F::bits(prefix)), n_below, n_equal};
}

// The rank-th smallest of the n values of a scan; nullopt if it is neither a pivot nor among the stored candidates.
// count(pivot, min_equal) counts all values relative to a pivot, at least min_equal of which must be equal to it for
// the pivot to be the result.
template <class V, class Count>
std::optional<OrderStatistic<V>> resolve_rank(std::int64_t n, std::int64_t rank, const Candidates<V> &candidates,
                                              Buffer<typename Wide<V>::Bits> scratch, Count count) {
    const std::int64_t n_up_to_low = n - candidates.n_high - candidates.n_inside;
    if (n_up_to_low < rank && rank <= n_up_to_low + candidates.n_inside) {
        if (has_single_value(candidates)) {
            return OrderStatistic<V>{next_above(candidates.low), n_up_to_low, candidates.n_inside};
        }
        if (candidates.n_stored != candidates.n_inside) {
            return std::nullopt;
        }
        pad_with_nan(candidates.values, candidates.n_stored);
        auto statistic = select_rank<V>(candidates.values, candidates.n_stored, rank - n_up_to_low, scratch);
        statistic.n_below += n_up_to_low;
        return statistic;
    }
    const bool is_low = rank <= n_up_to_low;
    const V pivot = is_low ? candidates.low : candidates.high;
    const PivotCounts counts = count(pivot, is_low ? n_up_to_low - rank + 1 : rank - n_up_to_low - candidates.n_inside);
    if (counts.n_below < rank && rank <= counts.n_below + counts.n_equal) {
        return OrderStatistic<V>{pivot, counts.n_below, counts.n_equal};
    }
    return std::nullopt;
}

template <class V>
OrderStatistic<V> select_rank(const typename Wide<V>::Bits *values, std::int64_t n, std::int64_t rank,
                              Buffer<typename Wide<V>::Bits> scratch, std::int64_t tolerance) {
    using F = Wide<V>;
    if (n <= small_size) {
        return kernels<F>().select_small(values, n, rank, tolerance);
    }
    if (scratch.size > padded_size(sample_size(n)) + small_size) {
        const auto bracket = Sample<F>(values, n, 0, scratch).bracket_rank(n, rank, 4.0);
        ScanResult<V> result;
        auto &candidates = result.candidates[0];
        candidates.low = bracket.low;
        candidates.high = bracket.high;
        candidates.values = scratch.data; // overwrites the sample
        const auto expected = static_cast<std::int64_t>(1.5 * bracket.expected_fraction * static_cast<double>(n));
        candidates.capacity =
            has_single_value(candidates)
                ? 0
                : std::min(scratch.size / 4 * 3, padded_size(expected) + block_size + small_size) - 2 * slack;
        kernels<F>().scan(values, n, 0, result);
        const auto count = [&](V pivot, std::int64_t) { return kernels<F>().count_pivot(values, n, pivot); };
        const auto rest = scratch.after(candidates.capacity + 2 * slack);
        if (const auto statistic = resolve_rank<V>(n, rank, candidates, rest, count)) {
            return *statistic;
        }
    }
    return radix_select<F>(values, n, rank);
}

} // namespace rrm::cpu
