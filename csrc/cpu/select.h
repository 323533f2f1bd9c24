// Exact order statistics. A sample says where to look, counting decides: a sample that misleads costs time, never the
// answer.
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

constexpr std::int64_t few = 4096; // values among which bisection is the fastest way

// Memory for `room` words.
template <class Word> struct Words {
    Word *at;
    std::int64_t room;

    [[nodiscard]] Words behind(std::int64_t used) const {
        return {at + used, room - used};
    }
};

inline std::int64_t padded(std::int64_t n) {
    return (n + group_size - 1) / group_size * group_size;
}

// Makes values such as smallest_of_few() reads: NaN behind them, up to a full group.
template <class Word> void pad(Word *values, std::int64_t n) {
    std::fill(values + n, values + padded(n), std::numeric_limits<Word>::max());
}

template <class V> V next(V value) {
    return std::nextafter(value, std::numeric_limits<V>::infinity());
}

// Two pivots, and the share of all samples whose values are expected to be kept, those strictly between.
template <class V> struct Bracket {
    V low = -std::numeric_limits<V>::infinity(), high = std::numeric_limits<V>::infinity();
    double share = 1.0;

    // Around one value, for where it ties so often that it is the likely answer: then counting is enough.
    static Bracket around(V value) {
        return {-next(-value), next(value), 0.0};
    }
};

// Whether only one value fits between the pivots.
template <class V> bool is_single(const Candidates<V> &found) {
    return next(next(found.low)) == found.high;
}

// The rank-th smallest of n padded values. With a tolerance, some value whose rank is off by less will do.
template <class V>
OrderStatistic<V> smallest(const typename Wide<V>::Bits *values, std::int64_t n, std::int64_t rank,
                           Words<typename Wide<V>::Bits> scratch, std::int64_t tolerance = 0);

// How many to look at before choosing a bracket: more cost more, and leave fewer candidates. What that costs in all is
// least around n^(2/3); large arrays need a narrower bracket, whose candidates fit the memory.
inline std::int64_t sample_size(std::int64_t n) {
    constexpr std::int64_t most = std::int64_t{1} << 17;
    const double root = std::cbrt(static_cast<double>(n));
    return std::min(most, std::max(static_cast<std::int64_t>(root * root), n / 80)) / run_size * run_size;
}

// Which losses of n make a sample: one from each of many equal stretches, or a run of neighbours, which share an access
// to memory. Where in its stretch is a fraction that keeps periodic losses from fooling the sample: with seed 0 that of
// multiples of an irrational, which costs least; with others it is scattered at random, in no relation to the first.
class Draw {
  public:
    Draw(std::int64_t n, std::uint32_t seed)
        : run(n >= tuning.draw_runs_from ? run_size : 1), runs(sample_size(n) / run), stride_(n / runs), seed_(seed),
          state_(seed) {}

    const std::int64_t run, runs;

    // Where the next run starts.
    std::int64_t next() {
        state_ += 0x9e3779b9;
        std::uint32_t fraction = state_;
        if (seed_ != 0) { // the mixing of MurmurHash3
            fraction = (fraction ^ (fraction >> 16)) * 0x85ebca6b;
            fraction = (fraction ^ (fraction >> 13)) * 0xc2b2ae35;
            fraction ^= fraction >> 16;
        }
        const auto places = static_cast<std::uint64_t>(stride_ - run + 1);
        return stride_ * drawn_++ + static_cast<std::int64_t>((fraction * places) >> 32);
    }

  private:
    std::int64_t stride_, drawn_ = 0;
    std::uint32_t seed_, state_;
};

// The losses drawn, and what they say about all.
template <class F> class Sample {
  public:
    using V = typename F::Value;
    using Word = typename Wide<V>::Bits;

    // In memory that must reach for padded(sample_size(n)) words, with some more to think in.
    Sample(const typename F::Bits *losses, std::int64_t n, std::uint32_t seed, Words<Word> memory)
        : values_(memory.at), size_(sample_size(n)), scratch_(memory.behind(padded(size_))) {
        Draw draw(n, seed);
        in_runs_ = draw.run > 1;
        for (std::int64_t i = 0; i < size_; i += draw.run) {
            const auto *const from = losses + draw.next();
            for (std::int64_t j = 0; j < draw.run; ++j) {
                const V value = F::value(from[j]), infinity = std::numeric_limits<V>::infinity();
                values_[i + j] = std::bit_cast<Word>(value < infinity ? value : infinity); // NaN rank last
                n_valid_ += std::isnan(value) ? 0 : 1;
            }
        }
        pad(values_, size_);
    }

    [[nodiscard]] std::int64_t size() const {
        return size_;
    }
    [[nodiscard]] V smallest(std::int64_t rank, std::int64_t tolerance = 0) const {
        return cpu::smallest<V>(values_, size_, rank, scratch_, tolerance).value;
    }
    [[nodiscard]] std::int64_t upto(V value) const {
        const Census census = loops<Wide<V>>().count(values_, size_, value);
        return census.n_below + census.n_equal;
    }

    // Pivots around the rank-th smallest of the n losses, so many standard deviations away from it.
    [[nodiscard]] Bracket<V> bracket_rank(std::int64_t n, std::int64_t rank, double deviations) const {
        const auto size = static_cast<double>(size_);
        // Ranks beyond the last that isn't NaN mean that one.
        const double share =
            std::min(static_cast<double>(rank) / static_cast<double>(n), static_cast<double>(n_valid_) / size);
        double variance = size * share * (1.0 - share);
        if (in_runs_) {
            // Neighbours may be alike. How much their numbers upto a value vary tells how much less the sample knows.
            const auto middle = std::clamp<std::int64_t>(std::llround(share * size), 1, size_);
            const double measured = loops<Wide<V>>().variance_of_runs(values_, size_, smallest(middle, size_ / 32 + 1));
            variance = std::clamp(measured, variance, variance * run_size);
        }
        const double margin = deviations * std::sqrt(variance) + 2.0;
        const auto tolerance = static_cast<std::int64_t>(margin / 8.0);
        const auto first = static_cast<std::int64_t>(share * size - margin);
        const auto last = static_cast<std::int64_t>(share * size + margin) + 1;
        Bracket<V> bracket;
        if (first >= 1) {
            bracket.low = smallest(first, tolerance);
        }
        if (last <= n_valid_) {
            bracket.high = smallest(last, tolerance);
        }
        if (bracket.low == bracket.high) {
            return Bracket<V>::around(bracket.low);
        }
        const std::int64_t width = std::min(last, size_) - std::max<std::int64_t>(first, 0) + tolerance;
        bracket.share = static_cast<double>(width) / size;
        return bracket;
    }

  private:
    Word *values_;
    std::int64_t size_;
    std::int64_t n_valid_ = 0; // not NaN
    bool in_runs_ = false;
    Words<Word> scratch_;
};

// By counting the digits of keys from the leading one on: a pass for each digit, whatever the input.
template <class F>
OrderStatistic<typename F::Value> smallest_by_digits(const typename F::Bits *losses, std::int64_t n,
                                                     std::int64_t rank) {
    using Key = typename F::Bits;
    constexpr int digit_bits = 11; // their counts fit the first-level cache
    std::int64_t below = 0, at = n;
    Key prefix = 0;
    for (int left = F::width; left > 0;) {
        const int bits = std::min(digit_bits, left), shift = left - bits;
        std::array<std::int64_t, std::size_t{1} << digit_bits> counts{};
        for (std::int64_t i = 0; i < n; ++i) {
            const auto key = std::uint64_t{F::key(losses[i])};
            if (left == F::width || key >> left == prefix) {
                ++counts[(key >> shift) & ((std::uint64_t{1} << bits) - 1)];
            }
        }
        std::size_t digit = 0;
        for (; digit < counts.size() && below + counts[digit] < rank; ++digit) {
            below += counts[digit];
        }
        if (digit == counts.size()) {
            throw std::runtime_error("losses changed while they were read; don't write to them from another thread");
        }
        at = counts[digit];
        prefix = static_cast<Key>((std::uint64_t{prefix} << bits) | digit);
        left = shift;
    }
    return {F::value(F::bits(prefix)), below, at};
}

// The rank-th smallest of the n numbers that a pass has looked at; nothing if it neither lies on a pivot nor is stored.
// `count` counts how all of them stand to a pivot, on which at least so many would have to lie.
template <class V, class Count>
std::optional<OrderStatistic<V>> resolve(std::int64_t n, std::int64_t rank, const Candidates<V> &found,
                                         Words<typename Wide<V>::Bits> scratch, Count count) {
    const std::int64_t upto_low = n - found.n_high - found.n_inside;
    if (upto_low < rank && rank <= upto_low + found.n_inside) {
        if (is_single(found)) {
            return OrderStatistic<V>{next(found.low), upto_low, found.n_inside};
        }
        if (found.stored != found.n_inside) {
            return std::nullopt;
        }
        pad(found.values, found.stored);
        auto statistic = smallest<V>(found.values, found.stored, rank - upto_low, scratch);
        statistic.n_below += upto_low;
        return statistic;
    }
    const bool low = rank <= upto_low;
    const V pivot = low ? found.low : found.high;
    const Census census = count(pivot, low ? upto_low - rank + 1 : rank - upto_low - found.n_inside);
    if (census.n_below < rank && rank <= census.n_below + census.n_equal) {
        return OrderStatistic<V>{pivot, census.n_below, census.n_equal};
    }
    return std::nullopt;
}

template <class V>
OrderStatistic<V> smallest(const typename Wide<V>::Bits *values, std::int64_t n, std::int64_t rank,
                           Words<typename Wide<V>::Bits> scratch, std::int64_t tolerance) {
    using F = Wide<V>;
    if (n <= few) {
        return loops<F>().smallest_of_few(values, n, rank, tolerance);
    }
    if (scratch.room > padded(sample_size(n)) + few) {
        const auto bracket = Sample<F>(values, n, 0, scratch).bracket_rank(n, rank, 4.0);
        Pass<V> pass;
        auto &found = pass.candidates[0];
        found.low = bracket.low;
        found.high = bracket.high;
        found.values = scratch.at; // the sample has served
        const auto expected = static_cast<std::int64_t>(1.5 * bracket.share * static_cast<double>(n));
        found.capacity =
            is_single(found) ? 0 : std::min(scratch.room / 4 * 3, padded(expected) + block_size + few) - 2 * slack;
        loops<F>().scan(values, n, 0, pass);
        const auto count = [&](V pivot, std::int64_t) { return loops<F>().count(values, n, pivot); };
        if (const auto statistic = resolve<V>(n, rank, found, scratch.behind(found.capacity + 2 * slack), count)) {
            return *statistic;
        }
    }
    return smallest_by_digits<F>(values, n, rank);
}

} // namespace rrm::cpu
