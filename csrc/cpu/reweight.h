// A reweight on the CPU.
#pragma once

#include <cstdint>

#include "../plan.h"

namespace rrm::cpu {

// Fills `plan` from the n >= 1 losses and, unless `out` is null, writes the new weights: the target at mu = 1, else
// (1 - mu) * old weight + mu * target, each operation rounded in the weights' type. Nothing is filled or written if the
// counts that it returns make the losses invalid. Null `old_weights` stand for ones; they may be `out`, and otherwise
// the arrays must not overlap. Those that are NaN, infinite or negative are returned in `invalid_weights`, which is
// left as it is if there are none or none is read; the weights have been written then. 1 <= rule.rank <= n, or 0. Uses
// up to `threads` threads, fewer where they would not pay. Throws std::bad_alloc, and std::runtime_error if the losses
// change during the call; nothing is written then.
template <class F>
NonFiniteCounts reweight(const typename F::Bits *losses, std::int64_t n, const Rule &rule, double mu,
                         const typename F::Weight *old_weights, typename F::Weight *out, int threads, Plan &plan,
                         InvalidWeights &invalid_weights);

// Writes the weights of n losses under an existing plan, and returns the invalid old weights.
template <class F>
InvalidWeights apply(const typename F::Bits *losses, std::int64_t n, const Plan &plan, double mu,
                     const typename F::Weight *old_weights, typename F::Weight *out, int threads);

// The number of losses that contradict a plan: those below its minimum and, unless NaN are allowed, NaN.
template <class F>
std::int64_t count_foreign(const typename F::Bits *losses, std::int64_t n, double loss_min, bool allow_nan,
                           int threads);

} // namespace rrm::cpu
