#include "select.h"

#include <algorithm>
#include <array>
#include <vector>

namespace rrm::cpu {
namespace {

// One pass over the losses settles the leading digit of every order statistic, and the minimum. The few losses that
// share that digit are then gathered and settled digit by digit.
constexpr int digit_bits = 11;
using Histogram = std::array<std::int64_t, std::size_t{1} << digit_bits>;

struct Statistic {
    std::int64_t below, at; // how many keys lie below the statistic, and on it
};

template <class Key> struct Scan {
    Histogram leading{};
    Faults faults;
    Key lowest = 0;
    std::int64_t n_lowest = 0;
};

template <class F> constexpr int leading_shift = F::width - digit_bits;

template <class F> Scan<typename F::Bits> scan(const typename F::Bits *losses, std::int64_t n) {
    using Key = typename F::Bits;
    Scan<Key> s;
    s.lowest = F::key_nan;
    for (std::int64_t i = 0; i < n; ++i) {
        const Key key = F::key(losses[i]);
        ++s.leading[static_cast<std::size_t>(key >> leading_shift<F>)];
        if (key <= s.lowest) {
            s.n_lowest = key < s.lowest ? 1 : s.n_lowest + 1;
            s.lowest = key;
        }
        if (key >= F::key_inf) {
            s.faults.n_inf += key == F::key_inf;
            if (key == F::key_nan && s.faults.n_nan++ == 0) {
                s.faults.first_nan = i;
            }
        }
        if (key == F::key_low && s.faults.n_low++ == 0) {
            s.faults.first_low = i;
        }
    }
    return s;
}

// The digit that the rank-th smallest key has, given how often each digit occurs; turns the rank into one among the keys
// with that digit, and adds the keys with a lower one to `below`.
std::size_t descend(const std::int64_t *counts, std::int64_t &rank, std::int64_t &below) {
    std::size_t digit = 0;
    for (; rank > counts[digit]; ++digit) {
        rank -= counts[digit];
        below += counts[digit];
    }
    return digit;
}

template <class F>
typename F::Bits smallest(const typename F::Bits *losses, std::int64_t n, const Histogram &leading, std::int64_t rank,
                          Statistic &statistic) {
    using Key = typename F::Bits;
    std::int64_t below = 0;
    int shift = leading_shift<F>;
    std::size_t digit = descend(leading.data(), rank, below);

    std::vector<Key> candidates(static_cast<std::size_t>(leading[digit]) + 1); // one more, for the branch-free store
    std::size_t m = 0;
    for (std::int64_t i = 0; i < n; ++i) {
        const Key key = F::key(losses[i]);
        candidates[m] = key;
        m += static_cast<std::size_t>(static_cast<std::size_t>(key >> shift) == digit);
    }
    while (shift > 0) {
        const int bits = std::min(digit_bits, shift);
        const auto mask = static_cast<Key>((Key{1} << bits) - 1);
        shift -= bits;
        Histogram counts{};
        for (std::size_t i = 0; i < m; ++i) {
            ++counts[static_cast<std::size_t>((candidates[i] >> shift) & mask)];
        }
        digit = descend(counts.data(), rank, below);
        std::size_t left = 0;
        for (std::size_t i = 0; i < m; ++i) {
            const Key key = candidates[i];
            candidates[left] = key;
            left += static_cast<std::size_t>(static_cast<std::size_t>((key >> shift) & mask) == digit);
        }
        m = left;
    }
    statistic = {below, static_cast<std::int64_t>(m)};
    return candidates[0];
}

template <class F> Statistic count(const typename F::Bits *losses, std::int64_t n, typename F::Bits threshold) {
    Statistic s{0, 0};
    for (std::int64_t i = 0; i < n; ++i) {
        const auto key = F::key(losses[i]);
        s.below += key < threshold;
        s.at += key == threshold;
    }
    return s;
}

} // namespace

template <class F>
Faults select(const typename F::Bits *losses, std::int64_t n, const Rule &rule, Plan<typename F::Bits> &plan) {
    const auto s = scan<F>(losses, n);
    if (s.faults.refuse(n, rule.prune_nan)) {
        return s.faults;
    }
    const std::int64_t n_valid = n - s.faults.n_nan;
    plan.loss_min = s.lowest;

    Statistic split{};
    if (rule.rank != 0) {
        plan.threshold = smallest<F>(losses, n, s.leading, std::min(rule.rank, n_valid), split);
    } else {
        plan.threshold = F::key_not_above(F::decode(s.lowest) + rule.gamma);
        split = count<F>(losses, n, plan.threshold);
    }
    plan.n_tied = split.at;
    plan.n_pruned = n - split.below - split.at;

    if (rule.recipient_rank == 0) {
        plan.recipient_threshold = F::key_low;
        plan.n_recipients = 0;
    } else if (rule.recipient_rank == 1) {
        plan.recipient_threshold = s.lowest;
        plan.n_recipients = s.n_lowest;
    } else if (rule.recipient_rank > n || std::min(rule.recipient_rank, n_valid) > split.below) {
        plan.recipient_threshold = plan.threshold;
        plan.n_recipients = split.below + split.at;
    } else {
        Statistic reach{};
        plan.recipient_threshold = smallest<F>(losses, n, s.leading, std::min(rule.recipient_rank, n_valid), reach);
        plan.n_recipients = reach.below + reach.at;
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
