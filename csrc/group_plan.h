// The scalar part of a reweight with groups: the rule, and the target weights that follow from the counts of groups.
// rrm_core/definition/group_thresholds.py has the same definition; tests compare the two bit for bit. Compiled like
// plan.h.
#pragma once

#include <cstdint>
#include <vector>

#include "plan.h"

namespace rrm {

struct GroupRule {
    // Within each group, the rank of its own threshold; without one, ranks are empty. A group without samples has
    // rank 0.
    std::vector<std::int64_t> ranks;
    std::int64_t rank_of_all; // of the threshold of all; 0: there is none. With both, the higher threshold counts
    double gamma;             // without ranks, the threshold is the minimum + gamma
    // Recipients: as `Rule`, of all samples, or within each group.
    std::vector<std::int64_t> recipient_ranks;
    std::int64_t recipient_rank_of_all;
    Redistribute redistribute;
    bool share_ties;           // the mass to remove is prescribed, and tied samples share what is missing
    std::int64_t quota_of_all; // that mass, in samples, if groups have no ranks
    bool keep_mass;            // each group keeps the mass that it loses
    bool prune_nan;
};

// Of one group.
struct GroupCounts {
    std::int64_t n, n_pruned, n_tied, n_recipients;
};

// Sums over all groups.
struct GroupTotals {
    std::int64_t n = 0, n_pruned = 0, n_tied = 0, n_recipients = 0, removed = 0;
};

// The mass that is taken from a group, in samples, and the share of its weight that a tied sample keeps.
struct Removed {
    double mass, tied_share;
};

// With one threshold for all groups, `totals.removed` is the mass to remove; otherwise `quota` is that of the group.
inline Removed removed_from(const GroupRule &rule, const GroupCounts &group, std::int64_t quota,
                            const GroupTotals &totals) {
    const auto n_pruned = static_cast<double>(group.n_pruned);
    const auto n_tied = static_cast<double>(group.n_tied);
    if (!rule.share_ties) {
        return {n_pruned, 1.0};
    }
    if (rule.ranks.empty()) { // all tied samples keep the same share
        const auto n_shared = static_cast<double>(totals.removed - totals.n_pruned);
        const auto total_tied = static_cast<double>(totals.n_tied);
        return {n_pruned + n_shared * n_tied / total_tied, (total_tied - n_shared) / total_tied};
    }
    const auto removed = static_cast<double>(quota > group.n_pruned ? quota : group.n_pruned);
    return {removed, group.n_tied != 0 ? (n_tied - (removed - n_pruned)) / n_tied : 1.0};
}

inline Levels group_levels(const GroupRule &rule, const GroupCounts &group, const Removed &removed,
                           const GroupTotals &totals) {
    const auto n = static_cast<double>(rule.keep_mass ? group.n : totals.n);
    const auto n_recipients = static_cast<double>(rule.keep_mass ? group.n_recipients : totals.n_recipients);
    const double mass = rule.keep_mass ? removed.mass : static_cast<double>(totals.removed);
    const double scale = rule.redistribute == Redistribute::kept && n > 0 ? n / (n - mass) : 1.0;
    const double growth = rule.redistribute == Redistribute::recipients && n_recipients > 0 ? mass / n_recipients : 0.0;
    const double tied = removed.tied_share * scale;
    return {0.0, tied, scale, tied + growth, scale + growth};
}

} // namespace rrm
