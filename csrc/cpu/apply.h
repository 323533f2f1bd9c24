// The elementwise part of a reweight on the CPU.
#pragma once

#include <cstdint>

#include "../plan.h"

namespace rrm::cpu {

// Writes the new weights of n losses: the target at mu = 1, else (1 - mu) * old + mu * target, each operation rounded
// in the weights' type. `old` null stands for ones; it may be `out`, which otherwise overlaps nothing.
template <class F>
void apply(const typename F::Bits *losses, std::int64_t n, const Plan<typename F::Bits> &plan, double mu,
           const typename F::Weight *old, typename F::Weight *out);

} // namespace rrm::cpu
