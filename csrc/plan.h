// The scalar part of a reweight: what is asked, what is counted, and the target weights that follow.
//
// For losses c_1..c_n and a price gamma, the distribution p that minimises
//
//     sum_i p_i c_i + gamma * 1/2 sum_i |p_i - 1/n|
//
// removes every sample with c_i > t = c_min + gamma and gives its mass to the samples with c_i = c_min. The weight of
// sample i is w_i = n p_i. With a contamination C the threshold t is the (n - floor(C n))-th smallest loss instead.
// A sample's target depends only on which side of t, and of the recipients' threshold r <= t, its loss lies:
//
//     c > t pruned | c = t tied | c < t kept,   and the last two again for c <= r, as recipients.
//
// levels() holds the whole policy. rrm_core/plan.py holds its twin; tests compare the two bit for bit. It wants neither
// contraction to FMA nor reassociation (-ffp-contract=off, --fmad=false).
#pragma once

#include <cstdint>
#include <limits>

#include "ordered_key.h"

#ifdef __FAST_MATH__
#error "-ffast-math changes the answer: NaN and the order of operations matter here. Build without it."
#endif

namespace rrm {

enum class Redistribute : std::uint8_t { recipients, kept, drop };

struct Rule {
    std::int64_t rank;           // the threshold is the rank-th smallest loss; 0: it is the minimum + gamma
    double gamma;                // read if rank is 0
    std::int64_t recipient_rank; // recipients reach up to the recipient_rank-th smallest loss; 0: nobody, > n: all kept
    std::int64_t quota;          // mass to remove even from tied samples, in samples; 0 where ties are kept
    Redistribute redistribute;
    bool prune_nan; // otherwise NaN refuses the losses
};

// Losses that can't be reweighted, and where the first of them stand (-1: nowhere).
struct Faults {
    std::int64_t n_nan = 0, first_nan = -1;
    std::int64_t n_low = 0, first_low = -1; // -infinity
    std::int64_t n_inf = 0;                 // +infinity, a fault only where nothing else is left

    [[nodiscard]] RRM_HD bool refuse(std::int64_t n, bool prune_nan) const {
        return (n_nan != 0 && !prune_nan) || n_low != 0 || n_inf + n_nan == n;
    }
};

struct Levels {
    double pruned, tied, kept, tied_recipient, kept_recipient;
};

// Thresholds are numbers of the losses' type, held exactly.
struct Plan {
    double loss_min, threshold, recipient_threshold; // the last is -infinity if nobody receives
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

// A threshold that was found, and how many losses lie below and on it.
struct Found {
    double value;
    std::int64_t below, at;
};

// The plan that follows from what was found of n losses. `own` is the recipients' threshold where their rank asks for a
// search, and otherwise at infinity: it never lies above that of pruning.
RRM_HD inline Plan settle(std::int64_t n, const Rule &rule, const Found &least, const Found &threshold,
                          const Found &own) {
    Plan plan{};
    plan.loss_min = least.value;
    plan.threshold = threshold.value;
    plan.n_tied = threshold.at;
    plan.n_pruned = n - threshold.below - threshold.at;
    if (rule.recipient_rank == 0) {
        plan.recipient_threshold = -std::numeric_limits<double>::infinity();
    } else if (rule.recipient_rank == 1) {
        plan.recipient_threshold = least.value;
        plan.n_recipients = least.at;
    } else if (own.value >= threshold.value) {
        plan.recipient_threshold = threshold.value;
        plan.n_recipients = threshold.below + threshold.at;
    } else {
        plan.recipient_threshold = own.value;
        plan.n_recipients = own.below + own.at;
    }
    plan.removed = plan.n_pruned > rule.quota ? plan.n_pruned : rule.quota;
    plan.levels = levels(n, plan.n_pruned, plan.n_tied, plan.n_recipients, plan.removed, rule.redistribute);
    return plan;
}

} // namespace rrm
