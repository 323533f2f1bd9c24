// A reweight with groups on the CPU.
#pragma once

#include <cstdint>
#include <vector>

#include "../group_plan.h"
#include "group_arrays.h"
#include "grouped_losses.h"

namespace rrm::cpu {

// Why losses cannot be reweighted: NaN or -infinity among them, or a group that has samples but no finite loss, or no
// kept sample for the mass that it keeps. Then nothing has been written but, in `GroupPlan`, minima and counts of NaN
// and, in the last case, n_pruned.
// not_found: `reweight_few_groups` did not find a threshold.
enum class GroupError : std::uint8_t { none, not_finite, no_finite_loss, no_kept_sample, not_found };

// Fills `plan` and, unless `out` is null, writes the new weights; for these arguments, the invalid weights and
// exceptions see `reweight` in reweight.h. 0 <= rule.ranks[group] <= size of the group.
template <class F>
GroupError reweight_groups(const typename F::Bits *losses, const std::int32_t *groups, std::int64_t n,
                           const GroupOrder &order, const GroupRule &rule, double mu,
                           const typename F::Weight *old_weights, typename F::Weight *out, int threads,
                           const GroupPlan &plan, InvalidWeights &invalid_weights);

// The same for few groups whose numbers are bytes, without their order: faster, but it may fail with not_found. Only if
// can_look_up(). `sizes` has the number of samples of each group.
template <class F>
GroupError reweight_few_groups(const typename F::Bits *losses, std::int64_t n, const std::uint8_t *groups,
                               const std::vector<std::int64_t> &sizes, const GroupRule &rule, double mu,
                               const typename F::Weight *old_weights, typename F::Weight *out, int threads,
                               const GroupPlan &plan, InvalidWeights &invalid_weights);
template <class F> bool can_look_up(std::int64_t n, std::int64_t n_groups);

// The first NaN and the first -infinity among n losses, and their numbers.
template <class F> NonFiniteCounts find_non_finite(const typename F::Bits *losses, std::int64_t n);

} // namespace rrm::cpu
