// The scalar part of a reweight: the rule, the counts, and the target weights that follow from them.
//
// For losses c_1..c_n and a price gamma, the distribution p that minimises
//
//     sum_i p_i c_i + gamma * 1/2 sum_i |p_i - 1/n|
//
// removes every sample with c_i > t = c_min + gamma and gives its mass to the samples with c_i = c_min. The weight of
// sample i is w_i = n p_i. With a contamination C the threshold t is the (n - floor(C n))-th smallest loss instead.
// The target weight of a sample depends only on its loss relative to t and to the recipients' threshold r <= t:
//
//     c > t pruned | c = t tied | c < t kept;   for c <= r: tied recipient, kept recipient.
//
// levels() is the whole policy. rrm_core/definition/plan.py has the same function; tests compare the two bit for bit.
// It must be compiled without contraction to FMA and without reassociation (-ffp-contract=off, --fmad=false).
#pragma once

#include <cstdint>
#include <limits>

#include "ordered_key.h"

#ifdef __FAST_MATH__
#error "-ffast-math changes the results: NaN and the order of operations matter here. Build without it."
#endif

namespace rrm {

enum class Redistribute : std::uint8_t { recipients, kept, drop };

struct Rule {
    std::int64_t rank;           // the threshold is the rank-th smallest loss; 0: it is the minimum + gamma
    double gamma;                // used only if rank is 0
    std::int64_t recipient_rank; // recipients: losses up to the recipient_rank-th smallest; 0: none, > n: all kept
    std::int64_t quota;          // mass to remove, in samples, where tied samples share it; 0 where ties are kept
    Redistribute redistribute;
    bool prune_nan; // NaN are pruned; otherwise they make the losses invalid
};

// Number and first index of the losses that are not finite. An index of -1 means that there is none.
struct NonFiniteCounts {
    std::int64_t n_nan = 0, first_nan = -1;
    std::int64_t n_neg_inf = 0, first_neg_inf = -1;
    std::int64_t n_pos_inf = 0; // +infinity is a valid loss, as long as one loss is finite

    // Whether n losses with these counts cannot be reweighted.
    [[nodiscard]] RRM_HD bool is_invalid(std::int64_t n, bool prune_nan) const {
        return (n_nan != 0 && !prune_nan) || n_neg_inf != 0 || n_pos_inf + n_nan == n;
    }
};

// Old weights that are NaN, infinite or negative: how many, and the first.
struct InvalidWeights {
    std::int64_t n = 0, first = -1; // an index; -1: there is none
    double value = 0;

    // Adds those of a part of the same weights that starts at `begin`.
    RRM_HD void merge(const InvalidWeights &part, std::int64_t begin) {
        if (part.n != 0 && (n == 0 || begin + part.first < first)) {
            first = begin + part.first;
            value = part.value;
        }
        n += part.n;
    }
};

// One of n values by its rank: the value, and the number of values below it and equal to it.
template <class V> struct OrderStatistic {
    V value;
    std::int64_t n_below, n_equal;
};

struct Levels {
    double pruned, tied, kept, tied_recipient, kept_recipient;
};

// The thresholds are numbers of the losses' type, represented exactly.
struct Plan {
    double loss_min, threshold, recipient_threshold; // the last is -infinity if there are no recipients
    std::int64_t n_pruned, n_tied, n_recipients, removed;
    Levels levels;
};

RRM_HD inline Levels levels(std::int64_t n, std::int64_t n_pruned, std::int64_t n_tied, std::int64_t n_recipients,
                            std::int64_t removed, Redistribute redistribute) {
    const double scale =
        redistribute == Redistribute::kept ? static_cast<double>(n) / static_cast<double>(n - removed) : 1.0;
    const double growth = redistribute == Redistribute::recipients
                              ? static_cast<double>(removed) / static_cast<double>(n_recipients)
                              : 0.0;
    const double share =
        n_tied != 0 ? static_cast<double>(n_tied - (removed - n_pruned)) / static_cast<double>(n_tied) : 1.0;
    const double tied = share * scale;
    return {0.0, tied, scale, tied + growth, scale + growth};
}

// The plan for n losses, from three order statistics of them. `recipient` is the recipient_rank-th smallest loss where
// the rule has 1 < recipient_rank <= n, and may be at infinity otherwise. It is capped at the threshold.
RRM_HD inline Plan make_plan(std::int64_t n, const Rule &rule, const OrderStatistic<double> &minimum,
                             const OrderStatistic<double> &threshold, const OrderStatistic<double> &recipient) {
    Plan plan{};
    plan.loss_min = minimum.value;
    plan.threshold = threshold.value;
    plan.n_tied = threshold.n_equal;
    plan.n_pruned = n - threshold.n_below - threshold.n_equal;
    if (rule.recipient_rank == 0) {
        plan.recipient_threshold = -std::numeric_limits<double>::infinity();
    } else if (rule.recipient_rank == 1) {
        plan.recipient_threshold = minimum.value;
        plan.n_recipients = minimum.n_equal;
    } else if (recipient.value >= threshold.value) {
        plan.recipient_threshold = threshold.value;
        plan.n_recipients = threshold.n_below + threshold.n_equal;
    } else {
        plan.recipient_threshold = recipient.value;
        plan.n_recipients = recipient.n_below + recipient.n_equal;
    }
    plan.removed = plan.n_pruned > rule.quota ? plan.n_pruned : rule.quota;
    plan.levels = levels(n, plan.n_pruned, plan.n_tied, plan.n_recipients, plan.removed, rule.redistribute);
    return plan;
}

} // namespace rrm
