#include "select.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <memory>
#include <stdexcept>
#include <type_traits>
#include <utility>

#include "subnormals.h"

namespace rrm::cpu {
namespace {

constexpr std::int64_t block_size = 2048; // losses that stay in the first-level cache while several loops look at them

template <class Key> struct Scan {
    Faults faults;
    Key lowest;
    std::int64_t n_lowest;
};

template <class F>
void find_faults(const typename F::Bits *losses, std::int64_t begin, std::int64_t end, Faults &faults) {
    for (std::int64_t i = begin; i < end; ++i) {
        const auto key = F::key(losses[i]);
        faults.n_inf += key == F::key_inf;
        if (key == F::key_nan && faults.n_nan++ == 0) {
            faults.first_nan = i;
        }
        if (key == F::key_low && faults.n_low++ == 0) {
            faults.first_low = i;
        }
    }
}

template <class F> Scan<typename F::Bits> scan(const typename F::Bits *losses, std::int64_t n) {
    using Key = typename F::Bits;
    // Signed integers compare fastest on the oldest processors. With the magnitude of the negative ones reversed they
    // stand in the order of the numbers; -0 is just below +0, and NaN of either sign at either end.
    using Signed = std::make_signed_t<Key>;
    constexpr auto magnitude = static_cast<Signed>(static_cast<Key>(~F::sign));
    const auto reversed = [](Signed bits) {
        return static_cast<Signed>(bits ^ ((bits >> (F::width - 1)) & magnitude));
    };

    Scan<Key> s{{}, F::key_inf, 0};
    for (std::int64_t begin = 0; begin < n; begin += block_size) {
        const Key *const block = losses + begin;
        const auto size = static_cast<int>(std::min(block_size, n - begin));
        Signed largest = 0, least = magnitude;
        for (int i = 0; i < size; ++i) {
            const auto bits = static_cast<Signed>(block[i]);
            largest = std::max(largest, static_cast<Signed>(bits & magnitude));
            least = std::min(least, reversed(bits));
        }
        Key lowest = F::key(static_cast<Key>(reversed(least)));
        if (static_cast<Key>(largest) >= F::infinity) {
            find_faults<F>(losses, begin, begin + size, s.faults);
            lowest = F::key_nan;
            for (int i = 0; i < size; ++i) {
                lowest = std::min(lowest, F::key(block[i]));
            }
        }
        if (lowest < s.lowest) {
            s.lowest = lowest;
            s.n_lowest = 0;
        }
        if (lowest == s.lowest) {
            int at = 0;
            for (int i = 0; i < size; ++i) {
                at += F::key(block[i]) == lowest;
            }
            s.n_lowest += at;
        }
    }
    return s;
}

// An order statistic: its key, and how many keys lie below and on it.
template <class Key> struct Statistic {
    Key key;
    std::int64_t below, at;
};

// Radix selection among keys below 2^width, leading digit first: only those that share the digits settled so far stay.
// Reorders `keys`.
template <class Key> Statistic<Key> radix_select(Key *keys, std::int64_t n, std::int64_t rank, int width) {
    constexpr int digit_bits = 11; // the counts of one digit fit the first-level cache
    std::int64_t below = 0;
    for (int shift = width; shift > 0;) {
        const int bits = std::min(digit_bits, shift);
        shift -= bits;
        const auto digit_of = [shift, mask = (std::uint64_t{1} << bits) - 1](Key key) {
            return static_cast<std::size_t>((std::uint64_t{key} >> shift) & mask);
        };
        std::array<std::int64_t, std::size_t{1} << digit_bits> counts{};
        for (std::int64_t i = 0; i < n; ++i) {
            ++counts[digit_of(keys[i])];
        }
        std::size_t digit = 0;
        for (; rank > counts[digit]; ++digit) {
            rank -= counts[digit];
            below += counts[digit];
        }
        std::int64_t left = 0;
        for (std::int64_t i = 0; i < n; ++i) { // without a branch: which keys stay can't be predicted
            const Key key = keys[i];
            keys[left] = key;
            left += digit_of(key) == digit;
        }
        n = left;
    }
    return {keys[0], below, n};
}

// A range that holds the rank-th smallest key, unless a sample of the losses misleads.
template <class F>
std::pair<typename F::Bits, typename F::Bits> bracket(const typename F::Bits *losses, std::int64_t n,
                                                      std::int64_t rank) {
    constexpr std::int64_t sample_size = 4096;
    if (n < 16 * sample_size) {
        return {F::key_low, F::key_inf};
    }
    std::array<typename F::Bits, static_cast<std::size_t>(sample_size)> sample;
    const std::int64_t stride = n / sample_size;
    std::uint64_t state = 0x9e3779b97f4a7c15; // a jitter, so that periodic losses don't fool the sample
    for (std::int64_t i = 0; i < sample_size; ++i) {
        state = state * 6364136223846793005 + 1442695040888963407;
        const auto jitter = static_cast<std::int64_t>((state >> 33) % static_cast<std::uint64_t>(stride));
        sample[static_cast<std::size_t>(i)] = F::key(losses[i * stride + jitter]);
    }
    const double share = static_cast<double>(rank) / static_cast<double>(n);
    const double centre = share * sample_size;
    const double margin = 4.0 * std::sqrt(sample_size * share * (1.0 - share)) + 2.0; // four standard deviations
    const auto first = static_cast<std::int64_t>(centre - margin), last = static_cast<std::int64_t>(centre + margin);
    const auto statistic = [&](std::int64_t k) {
        std::nth_element(sample.begin(), sample.begin() + k, sample.end());
        return sample[static_cast<std::size_t>(k)];
    };
    return {first < 0 ? F::key_low : statistic(first),
            last >= sample_size ? F::key_inf : std::min(F::key_inf, statistic(last))};
}

template <class F>
Statistic<typename F::Bits> count(const typename F::Bits *losses, std::int64_t n, typename F::Bits threshold) {
    const auto t = F::value(F::bits(threshold));
    Statistic<typename F::Bits> s{threshold, 0, 0};
    for (std::int64_t begin = 0; begin < n; begin += block_size) {
        const auto size = static_cast<int>(std::min(block_size, n - begin));
        int below = 0, at = 0;
        for (int i = 0; i < size; ++i) {
            const auto c = F::value(losses[begin + i]);
            below += c < t;
            at += c == t;
        }
        s.below += below;
        s.at += at;
    }
    return s;
}

template <class F>
Statistic<typename F::Bits> smallest(const typename F::Bits *losses, std::int64_t n, std::int64_t rank) {
    using Key = typename F::Bits;
    auto [low, high] = bracket<F>(losses, n, rank);
    if (low == high) { // heavy ties: one value is all there is to choose from, if the sample is right
        const auto statistic = count<F>(losses, n, low);
        if (statistic.below < rank && rank <= statistic.below + statistic.at) {
            return statistic;
        }
        low = F::key_low;
        high = F::key_inf;
    }
    // Room for all, but memory is only touched as far as candidates reach.
    const auto candidates = std::make_unique_for_overwrite<Key[]>(static_cast<std::size_t>(n + 1));
    for (;;) {
        const auto from = F::value(F::bits(low)), to = F::value(F::bits(high));
        std::int64_t below = 0, m = 0;
        for (std::int64_t begin = 0; begin < n; begin += block_size) {
            const std::int64_t size = std::min(block_size, n - begin);
            std::array<std::uint8_t, static_cast<std::size_t>(block_size)> inside;
            int lower = 0;
            for (std::int64_t i = 0; i < size; ++i) {
                const auto c = F::value(losses[begin + i]);
                lower += c < from;
                inside[static_cast<std::size_t>(i)] = static_cast<std::uint8_t>((c >= from) & (c <= to));
            }
            below += lower;
            for (std::int64_t i = 0; i < size; ++i) { // without a branch: one in twenty, at random
                candidates[static_cast<std::size_t>(m)] = losses[begin + i];
                m += inside[static_cast<std::size_t>(i)];
            }
        }
        if (below < rank && rank <= below + m) {
            for (std::int64_t i = 0; i < m; ++i) { // above the bracket's lower end, where few digits tell them apart
                candidates[static_cast<std::size_t>(i)] =
                    static_cast<Key>(F::key(candidates[static_cast<std::size_t>(i)]) - low);
            }
            const auto width = static_cast<int>(std::bit_width(static_cast<Key>(high - low)));
            const auto found = radix_select(candidates.get(), m, rank - below, width);
            return {static_cast<Key>(found.key + low), found.below + below, found.at};
        }
        if (low == F::key_low && high == F::key_inf) {
            throw std::runtime_error("losses changed while they were read; don't write to them from another thread");
        }
        low = F::key_low; // the sample misled: take all
        high = F::key_inf;
    }
}

} // namespace

template <class F>
Faults select(const typename F::Bits *losses, std::int64_t n, const Rule &rule, Plan<typename F::Bits> &plan) {
    const ExactSubnormals exact;
    const auto s = scan<F>(losses, n);
    if (s.faults.refuse(n, rule.prune_nan)) {
        return s.faults;
    }
    const std::int64_t n_valid = n - s.faults.n_nan;
    const auto t = rule.rank != 0 ? smallest<F>(losses, n, std::min(rule.rank, n_valid))
                                  : count<F>(losses, n, F::key_not_above(F::decode(s.lowest) + rule.gamma));
    plan.loss_min = s.lowest;
    plan.threshold = t.key;
    plan.n_tied = t.at;
    plan.n_pruned = n - t.below - t.at;

    if (rule.recipient_rank == 0) {
        plan.recipient_threshold = F::key_low;
        plan.n_recipients = 0;
    } else if (rule.recipient_rank == 1) {
        plan.recipient_threshold = s.lowest;
        plan.n_recipients = s.n_lowest;
    } else if (rule.recipient_rank > n || std::min(rule.recipient_rank, n_valid) > t.below) {
        plan.recipient_threshold = t.key;
        plan.n_recipients = t.below + t.at;
    } else {
        const auto r = smallest<F>(losses, n, std::min(rule.recipient_rank, n_valid));
        plan.recipient_threshold = r.key;
        plan.n_recipients = r.below + r.at;
    }

    plan.removed = std::max(plan.n_pruned, rule.quota);
    plan.levels = levels(n, plan.n_pruned, plan.n_tied, plan.n_recipients, plan.removed, rule.redistribute);
    return s.faults;
}

template <class F>
std::int64_t count_foreign(const typename F::Bits *losses, std::int64_t n, typename F::Bits loss_min, bool allow_nan) {
    std::int64_t foreign = 0;
    for (std::int64_t i = 0; i < n; ++i) {
        const auto key = F::key(losses[i]);
        foreign += key < loss_min || (!allow_nan && key == F::key_nan);
    }
    return foreign;
}

#define RRM_INSTANTIATE(F)                                                                                             \
    template Faults select<F>(const F::Bits *, std::int64_t, const Rule &, Plan<F::Bits> &);                           \
    template std::int64_t count_foreign<F>(const F::Bits *, std::int64_t, F::Bits, bool);
RRM_INSTANTIATE(Float16)
RRM_INSTANTIATE(BFloat16)
RRM_INSTANTIATE(Float32)
RRM_INSTANTIATE(Float64)
#undef RRM_INSTANTIATE

} // namespace rrm::cpu
