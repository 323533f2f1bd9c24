// Random losses, and the definition of a reweight by sorting. For the programs that test kernels without Python.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "../../csrc/ordered_key.h"
#include "../../csrc/plan.h"

namespace rrm {

using Random = std::mt19937_64;

inline double uniform(Random &random) {
    return std::uniform_real_distribution<double>()(random);
}

constexpr int families = 15;

// A loss of a family. Every format can represent it after rounding. `subnormal` is the exponent of the smallest one.
inline double draw_loss(int family, std::int64_t i, std::int64_t n, int subnormal, Random &random) {
    const double exponential = -std::log(1.0 - uniform(random));
    switch (family) {
    case 0:
        return exponential;
    case 1:
        return exponential - 3.0;
    case 2:
        return 0.7;
    case 3:
        return static_cast<double>(i) / static_cast<double>(n);
    case 4:
        return -static_cast<double>(i % 60'000); // within the range of float16
    case 5:
        return std::floor(4.0 * uniform(random));
    case 6:
        return uniform(random) < 0.1 ? 0.0 : exponential;
    case 7:
        return std::min(exponential, 0.5);
    case 8:
        return uniform(random) < 0.3 ? std::numeric_limits<double>::infinity() : exponential;
    case 9:
        return uniform(random) < 0.2 ? std::numeric_limits<double>::quiet_NaN() : exponential;
    case 10:
        return uniform(random) < 0.5 ? -0.0 : 0.0;
    case 11:
        return std::ldexp(std::floor(9.0 * exponential), subnormal) * (uniform(random) < 0.5 ? -1.0 : 1.0);
    case 12:
        return uniform(random) < 0.02 ? std::numeric_limits<double>::infinity() : exponential;
    case 13: // keys over the whole range, few of them high
        return uniform(random) < 0.01 ? std::numeric_limits<double>::max() : -std::ldexp(exponential, 8);
    default: // blocks of equal losses
        return static_cast<double>((i / 700 * 7919) % 101);
    }
}

template <class F> typename F::Bits round_to(double x) {
    if (std::isnan(x)) {
        return F::key_nan;
    }
    if (x == 0.0 && std::signbit(x)) {
        return F::sign;
    }
    return F::bits(F::key_not_above(x));
}

// Plan and weights by their definition. Fills the plan and returns the weights.
template <class F>
std::vector<typename F::Value> reference_weights(const std::vector<typename F::Bits> &losses, const Rule &rule,
                                                 double mu, const typename F::Value *old_weights, Plan &plan) {
    using V = typename F::Value;
    const auto n = static_cast<std::int64_t>(losses.size());
    std::vector<double> sorted;
    for (const auto bits : losses) {
        if (const double value = F::value(bits); !std::isnan(value)) {
            sorted.push_back(value);
        }
    }
    std::sort(sorted.begin(), sorted.end());
    const auto n_valid = static_cast<std::int64_t>(sorted.size());
    const auto kth_smallest = [&](std::int64_t rank) {
        return sorted[static_cast<std::size_t>(std::min(rank, n_valid) - 1)];
    };
    const auto count_up_to = [&](double x) {
        return std::upper_bound(sorted.begin(), sorted.end(), x) - sorted.begin();
    };
    const auto count_below = [&](double x) {
        return std::lower_bound(sorted.begin(), sorted.end(), x) - sorted.begin();
    };
    plan.loss_min = sorted[0] + 0.0;
    plan.threshold = rule.rank != 0 ? kth_smallest(rule.rank) : F::decode(F::key_not_above(sorted[0] + rule.gamma));
    plan.threshold += 0.0;
    plan.n_tied = count_up_to(plan.threshold) - count_below(plan.threshold);
    plan.n_pruned = n - count_up_to(plan.threshold);
    plan.recipient_threshold = rule.recipient_rank == 0 ? -std::numeric_limits<double>::infinity()
                               : rule.recipient_rank > n
                                   ? plan.threshold
                                   : std::min(kth_smallest(rule.recipient_rank), plan.threshold) + 0.0;
    plan.n_recipients = count_up_to(plan.recipient_threshold);
    plan.removed = std::max(plan.n_pruned, rule.quota);
    plan.levels = levels(n, plan.n_pruned, plan.n_tied, plan.n_recipients, plan.removed, rule.redistribute);
    std::vector<V> weights;
    for (std::size_t i = 0; i < losses.size(); ++i) {
        const double c = F::value(losses[i]);
        const bool is_recipient = c <= plan.recipient_threshold;
        const double target = c < plan.threshold    ? (is_recipient ? plan.levels.kept_recipient : plan.levels.kept)
                              : c == plan.threshold ? (is_recipient ? plan.levels.tied_recipient : plan.levels.tied)
                                                    : 0.0;
        const V new_part = static_cast<V>(mu) * static_cast<V>(target);
        const V old_part = static_cast<V>(1.0 - mu) * (old_weights == nullptr ? V{1} : old_weights[i]);
        weights.push_back(mu == 1.0 ? new_part : old_part + new_part);
    }
    return weights;
}

inline bool same(const Plan &a, const Plan &b) {
    return std::memcmp(&a, &b, sizeof a) == 0;
}

inline bool same(const InvalidWeights &a, const InvalidWeights &b) {
    return a.n == b.n && a.first == b.first && (a.value == b.value || (std::isnan(a.value) && std::isnan(b.value)));
}

// Replaces a few weights by invalid ones, and some by -0, which is valid. Returns the invalid ones.
template <class V> InvalidWeights draw_invalid_weights(Random &random, std::vector<V> &weights) {
    using Limits = std::numeric_limits<V>;
    const std::array values{Limits::quiet_NaN(),   -Limits::quiet_NaN(), Limits::infinity(), -Limits::infinity(), V{-1},
                            -Limits::denorm_min(), -Limits::max()};
    InvalidWeights expected;
    const std::uint64_t one_in = 1 + random() % (2 * weights.size());
    for (std::size_t i = 0; i < weights.size(); ++i) {
        if (random() % one_in == 0) {
            weights[i] = values[random() % values.size()];
            expected.merge({1, 0, static_cast<double>(weights[i])}, static_cast<std::int64_t>(i));
        } else if (random() % one_in == 0) {
            weights[i] = V{-0.0};
        }
    }
    return expected;
}

} // namespace rrm
