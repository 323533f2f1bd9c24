// The plan of a reweight with groups, as the arrays of the caller.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../plan.h"
#include "weight_writer.h"

namespace rrm::cpu {

// The plan as arrays of n_groups numbers; of 5 for each group in `levels`. An empty group has NaN for loss_min and
// threshold.
struct GroupPlan {
    double *loss_min, *threshold, *recipient_threshold, *removed, *levels;
    std::int64_t *n_pruned, *n_tied, *n_recipients, *n_nan;
};

// Thresholds and target weights: arrays of n_groups numbers, and of 5 for each group in `levels`. The thresholds are
// numbers of the losses' type, or NaN for an empty group.
struct GroupLevels {
    const double *thresholds, *recipient_thresholds, *levels;
    std::int64_t n_groups;

    GroupLevels(const double *group_thresholds, const double *group_recipient_thresholds, const double *group_levels,
                std::int64_t n)
        : thresholds(group_thresholds), recipient_thresholds(group_recipient_thresholds), levels(group_levels),
          n_groups(n) {}
    GroupLevels(const GroupPlan &plan, std::size_t n)
        : GroupLevels(plan.threshold, plan.recipient_threshold, plan.levels, static_cast<std::int64_t>(n)) {}
};

// What the new weights of a group depend on: see `WeightUpdate`. A row of half a cache line, or of one for float64.
template <class V> struct alignas(8 * sizeof(V)) GroupUpdate {
    V threshold, recipient_threshold;
    V terms[4]; // pruned, tied (the term of a recipient where these are recipients), kept, kept_recipient

    GroupUpdate(const GroupLevels &plan, std::int64_t group, double mu, bool has_old_weights) {
        const double *const l = plan.levels + 5 * group;
        Plan of_group{};
        of_group.threshold = plan.thresholds[group];
        of_group.recipient_threshold = plan.recipient_thresholds[group];
        of_group.levels = {l[0], l[1], l[2], l[3], l[4]};
        const auto update = make_update<V>(of_group, 0, mu, has_old_weights);
        threshold = update.threshold;
        recipient_threshold = update.recipient_threshold;
        terms[0] = update.pruned;
        terms[1] = recipient_threshold >= threshold ? update.tied_recipient : update.tied;
        terms[2] = update.kept;
        terms[3] = update.kept_recipient;
    }

    // Whether all samples that are not pruned have the same term.
    [[nodiscard]] bool is_simple() const {
        return terms[1] == terms[2] && terms[2] == terms[3];
    }
    // A loss that is NaN is pruned. A table, since branches would be hard to predict.
    [[nodiscard]] V term(V loss) const {
        const auto is_below = static_cast<unsigned>(loss < threshold);
        const auto is_kept = static_cast<unsigned>(loss <= threshold);
        const auto receives = static_cast<unsigned>(loss <= recipient_threshold);
        return terms[is_kept + is_below + (is_below & receives)];
    }
};

} // namespace rrm::cpu
