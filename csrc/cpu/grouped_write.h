// The write step with groups: each sample's new weight from its loss and the thresholds and target weights of its
// group.
#pragma once

#include <cstdint>

#include "../plan.h"
#include "group_arrays.h"

namespace rrm::cpu {

// Writes the new weights, see `reweight` in reweight.h, and returns the invalid old weights. 0 <= groups[i] < n_groups.
// Throws std::bad_alloc before anything is written.
template <class F>
InvalidWeights write_groups(const typename F::Bits *losses, const std::int32_t *groups, std::int64_t n,
                            const GroupLevels &plan, double mu, const typename F::Weight *old_weights,
                            typename F::Weight *out, int threads);

// The number of losses that contradict a plan with groups: those below the minimum of their group, those of groups
// whose minimum is NaN, and NaN where the group had none.
template <class F>
std::int64_t count_foreign_in_groups(const typename F::Bits *losses, const std::int32_t *groups, std::int64_t n,
                                     const double *minima, const std::int64_t *n_nan, int threads);

} // namespace rrm::cpu
