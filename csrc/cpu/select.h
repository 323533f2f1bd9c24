// The plan of a reweight on the CPU: exact order statistics and counts.
#pragma once

#include <cstdint>

#include "../plan.h"

namespace rrm::cpu {

// Fills `plan` from the n >= 1 losses; returns what stands in the way. If faults.refuse(), `plan` is not filled.
// 1 <= rule.rank <= n, or 0. Throws std::bad_alloc, and std::runtime_error if the losses change meanwhile.
template <class F>
Faults select(const typename F::Bits *losses, std::int64_t n, const Rule &rule, Plan<typename F::Bits> &plan);

// How many losses lie below a minimum or, unless NaN are allowed, are NaN.
template <class F>
std::int64_t count_foreign(const typename F::Bits *losses, std::int64_t n, typename F::Bits loss_min, bool allow_nan);

} // namespace rrm::cpu
