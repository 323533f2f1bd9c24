#include "apply.h"

#include "subnormals.h"

namespace rrm::cpu {

template <class F>
void apply(const typename F::Bits *losses, std::int64_t n, const Plan<typename F::Bits> &plan, double mu,
           const typename F::Weight *old, typename F::Weight *out) {
    const ExactSubnormals exact;
    using Weight = typename F::Weight;
    const auto a = static_cast<Weight>(1.0 - mu);
    const auto b = static_cast<Weight>(mu);
    // b * target is one rounded product, the same for every sample on that level; with old weights of one, so is the
    // sum.
    const auto step = [&](double level) {
        const Weight part = b * static_cast<Weight>(level);
        return mu != 1.0 && old == nullptr ? a + part : part;
    };
    const Weight pruned = step(plan.levels.pruned), tied = step(plan.levels.tied), kept = step(plan.levels.kept),
                 tied_recipient = step(plan.levels.tied_recipient), kept_recipient = step(plan.levels.kept_recipient);
    const auto t = F::value(F::bits(plan.threshold)), r = F::value(F::bits(plan.recipient_threshold));
    const Weight on = plan.threshold == plan.recipient_threshold ? tied_recipient : tied; // r is never above t
    const auto target = [=](typename F::Bits bits) {
        const auto c = F::value(bits);
        const Weight below = c <= r ? kept_recipient : kept;
        const Weight at_or_above = c == t ? on : pruned; // NaN, in no relation to t, is pruned
        return c < t ? below : at_or_above;
    };
    if (mu == 1.0 || old == nullptr) {
        for (std::int64_t i = 0; i < n; ++i) {
            out[i] = target(losses[i]);
        }
    } else {
        for (std::int64_t i = 0; i < n; ++i) {
            out[i] = a * old[i] + target(losses[i]);
        }
    }
}

#define RRM_INSTANTIATE(F)                                                                                             \
    template void apply<F>(const F::Bits *, std::int64_t, const Plan<F::Bits> &, double, const F::Weight *,            \
                           F::Weight *);
RRM_INSTANTIATE(Float16)
RRM_INSTANTIATE(BFloat16)
RRM_INSTANTIATE(Float32)
RRM_INSTANTIATE(Float64)
#undef RRM_INSTANTIATE

} // namespace rrm::cpu
