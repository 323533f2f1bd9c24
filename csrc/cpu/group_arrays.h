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

// The terms of the new weights of a group.
template <class V>
WeightUpdate<V> make_group_update(const GroupPlan &plan, std::size_t group, double mu, bool has_old_weights) {
    const double *const l = plan.levels + 5 * group;
    Plan of_group{};
    of_group.threshold = plan.threshold[group];
    of_group.recipient_threshold = plan.recipient_threshold[group];
    of_group.levels = {l[0], l[1], l[2], l[3], l[4]};
    return make_update<V>(of_group, 0, mu, has_old_weights);
}

} // namespace rrm::cpu
