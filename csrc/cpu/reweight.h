// A reweight on the CPU.
#pragma once

#include <cstdint>

#include "../plan.h"

namespace rrm::cpu {

// Fills `plan` from the n >= 1 losses and, unless `out` is null, writes the new weights: the target at mu = 1, else
// (1 - mu) * old + mu * target, each operation rounded in the weights' type. Returns what stands in the way: if
// faults.is_invalid(), nothing is filled nor written. `old` null stands for ones; it may be `out`, which otherwise
// overlaps nothing. 1 <= rule.rank <= n, or 0. Uses up to `threads` threads, fewer where they wouldn't pay. Throws
// std::bad_alloc, and std::runtime_error if the losses change meanwhile; nothing is written then.
template <class F>
NonFiniteCounts reweight(const typename F::Bits *losses, std::int64_t n, const Rule &rule, double mu,
                         const typename F::Weight *old, typename F::Weight *out, int threads, Plan &plan);

// Writes the weights that a plan gives to n losses.
template <class F>
void apply(const typename F::Bits *losses, std::int64_t n, const Plan &plan, double mu, const typename F::Weight *old,
           typename F::Weight *out, int threads);

// How many losses lie below a minimum or, unless NaN are allowed, are NaN.
template <class F>
std::int64_t count_foreign(const typename F::Bits *losses, std::int64_t n, double loss_min, bool allow_nan,
                           int threads);

} // namespace rrm::cpu
