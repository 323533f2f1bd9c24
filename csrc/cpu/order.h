// Exact order statistics. Sampling says where to look, counting decides: a sample that misleads costs time, never the
// answer.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <stdexcept>

#include "loops.h"

namespace rrm::cpu {

constexpr std::int64_t few = 2048; // values among which bisection is the fastest way

// How many samples to look at before choosing a bracket: more cost more, and leave fewer candidates. What that costs in
// all is least around n^(2/3); large arrays need a narrower bracket, for their candidates must fit the scratch memory.
inline std::int64_t sample_size(std::int64_t n) {
    constexpr std::int64_t most = std::int64_t{1} << 17;
    const double root = std::cbrt(static_cast<double>(n));
    return std::min(most, std::max(static_cast<std::int64_t>(root * root), n / 80)) / 16 * 16;
}

// A word for each value, rounded up as smallest_of_few() reads them.
inline std::int64_t padded(std::int64_t n) {
    return (n + group_size - 1) / group_size * group_size;
}

template <class Word> void pad(Word *values, std::int64_t n) {
    std::fill(values + n, values + padded(n), std::numeric_limits<Word>::max()); // NaN
}

// Two pivots, and the share of all samples that they are expected to enclose.
template <class V> struct Bracket {
    V low = -std::numeric_limits<V>::infinity(), high = std::numeric_limits<V>::infinity();
    double share = 1.0;
};

// A sample of the losses, in memory of the caller: one from each of `size / run` equal stretches of them, or a run of
// `run` neighbours, which are one access to memory.
template <class F> class Sample {
  public:
    using V = typename F::Value;
    using Word = typename Wide<V>::Bits;

    // Room for padded(sample_size(n)) values. Each attempt looks elsewhere.
    Sample(const typename F::Bits *losses, std::int64_t n, int attempt, Word *values)
        : values_(values), run_(n < far ? 1 : 16), size_(sample_size(n) / run_ * run_) {
        const std::int64_t runs = size_ / run_;
        const auto stride = n / runs;
        // A jitter, so that periodic losses don't fool the sample: the fractional parts of multiples of an irrational.
        auto state = std::uint32_t{0x9e3779b9} * static_cast<std::uint32_t>(attempt + 1);
        const auto room = static_cast<std::uint64_t>(stride - run_ + 1);
        for (std::int64_t i = 0; i < runs; ++i) {
            state += 0x9e3779b9;
            const auto *const from = losses + i * stride + static_cast<std::int64_t>((state * room) >> 32);
            for (std::int64_t j = 0; j < run_; ++j) {
                const V value = F::value(from[j]);
                const V infinity = std::numeric_limits<V>::infinity();
                values[i * run_ + j] = std::bit_cast<Word>(value < infinity ? value : infinity); // NaN rank last
            }
        }
        pad(values, size_);
    }

    [[nodiscard]] std::int64_t size() const {
        return size_;
    }
    [[nodiscard]] std::int64_t upto(V value) const {
        const auto census = loops<Wide<V>>().count(values_, size_, value);
        return census.below + census.at;
    }
    // How much more the number of values upto one of them varies than in a sample of independent ones: from the
    // differences of neighbouring runs, so that a trend doesn't count.
    [[nodiscard]] double inflation(V value) const {
        if (run_ == 1) {
            return 1.0;
        }
        std::int64_t squares = 0, total = 0;
        int last = -1;
        for (std::int64_t i = 0; i < size_; i += run_) {
            int now = 0;
            for (int j = 0; j < 16; ++j) {
                now += std::bit_cast<V>(values_[i + j]) <= value ? 1 : 0;
            }
            squares += last < 0 ? 0 : (now - last) * (now - last);
            total += now;
            last = now;
        }
        const auto size = static_cast<double>(size_);
        const double share = static_cast<double>(total) / size, variance = static_cast<double>(squares) / (2.0 * size);
        return share > 0.0 && share < 1.0 ? std::clamp(variance / (share * (1.0 - share)), 1.0, 16.0) : 1.0;
    }

  private:
    static constexpr std::int64_t far = std::int64_t{1} << 17; // from here on a loss is hardly in the near cache

    Word *values_;
    std::int64_t run_, size_;
};

// Among keys, by counting their digits from the leading one on: as many passes as there are digits, whatever the input.
template <class F>
Statistic<typename F::Value> smallest_by_digits(const typename F::Bits *losses, std::int64_t n, std::int64_t rank) {
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

template <class V>
Statistic<V> smallest(const typename Wide<V>::Bits *values, std::int64_t n, std::int64_t rank,
                      typename Wide<V>::Bits *scratch, std::int64_t room, std::int64_t tolerance = 0);

// Pivots around the rank-th smallest of n losses. Scratch holds what smallest() needs for the sample.
template <class F>
Bracket<typename F::Value> bracket_rank(const Sample<F> &sample, const typename Sample<F>::Word *values, std::int64_t n,
                                        std::int64_t rank, double deviations, typename Sample<F>::Word *scratch,
                                        std::int64_t room) {
    using V = typename F::Value;
    const auto size = static_cast<double>(sample.size());
    const double share = static_cast<double>(rank) / static_cast<double>(n);
    const auto at = [&](std::int64_t k, std::int64_t tolerance) {
        return smallest<V>(values, sample.size(), k, scratch, room, tolerance).value;
    };
    const auto middle = std::clamp<std::int64_t>(std::llround(share * size), 1, sample.size());
    const double inflation = n < (std::int64_t{1} << 17) ? 1.0 : sample.inflation(at(middle, 16));
    const double margin = deviations * std::sqrt(size * share * (1.0 - share) * inflation) + 2.0;
    const auto tolerance = static_cast<std::int64_t>(margin / 8.0);
    const auto first = static_cast<std::int64_t>(share * size - margin);
    const auto last = static_cast<std::int64_t>(share * size + margin) + 1;
    Bracket<V> bracket;
    if (first >= 1) {
        bracket.low = at(first, tolerance);
    }
    if (last <= sample.size()) {
        bracket.high = at(last, tolerance);
    }
    bracket.share = static_cast<double>(std::min(last, sample.size()) - std::max<std::int64_t>(first, 0)) / size;
    return bracket;
}

// What a pass says about the rank-th smallest of the n samples it looked at; nothing if that lies elsewhere.
template <class F>
std::optional<Statistic<typename F::Value>>
resolve(const typename F::Bits *losses, std::int64_t n, std::int64_t rank, const Candidates<typename F::Value> &found,
        typename Sample<F>::Word *scratch, std::int64_t room) {
    using V = typename F::Value;
    const std::int64_t upto_low = n - found.n_high - found.n_inside;
    if (upto_low < rank && rank <= upto_low + found.n_inside) {
        if (found.stored != found.n_inside) {
            return std::nullopt;
        }
        pad(found.values, found.stored);
        auto statistic = smallest<V>(found.values, found.stored, rank - upto_low, scratch, room);
        statistic.below += upto_low;
        return statistic;
    }
    const V pivot = rank <= upto_low ? found.low : found.high;
    const Census census = loops<F>().count(losses, n, pivot);
    if (census.below < rank && rank <= census.below + census.at) {
        return Statistic<V>{pivot, census.below, census.at};
    }
    return std::nullopt;
}

template <class V>
Statistic<V> smallest(const typename Wide<V>::Bits *values, std::int64_t n, std::int64_t rank,
                      typename Wide<V>::Bits *scratch, std::int64_t room, std::int64_t tolerance) {
    using F = Wide<V>;
    if (n <= few) {
        return loops<F>().smallest_of_few(values, n, rank, tolerance);
    }
    const std::int64_t own = padded(sample_size(n));
    if (room > own + few) {
        const Sample<F> sample(values, n, 0, scratch);
        const auto bracket = bracket_rank<F>(sample, scratch, n, rank, 3.0, scratch + own, room - own);
        Pass<V> pass;
        auto &found = pass.candidates[0];
        found.low = bracket.low;
        found.high = bracket.high;
        found.values = scratch; // the sample has served
        const auto expected = padded(static_cast<std::int64_t>(1.5 * bracket.share * static_cast<double>(n)));
        found.capacity = std::min(room / 2, expected + block_size + few) - slack;
        const std::int64_t used = found.capacity + slack;
        loops<F>().scan(values, n, 0, pass);
        if (const auto statistic = resolve<F>(values, n, rank, found, scratch + used, room - used)) {
            return *statistic;
        }
    }
    return smallest_by_digits<F>(values, n, rank);
}

} // namespace rrm::cpu
