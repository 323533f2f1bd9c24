// A reweight on the CPU, in five steps:
//
//   1. Sample   (select.h)         Estimate a bracket around the threshold from a stratified sample of the losses, and
//                                  another one if the recipients' threshold is another order statistic.
//   2. Scan     (scan.h)           One pass over all losses: count them below, inside and above each bracket, store the
//                                  ones inside as candidates, find the minimum and the values that are not finite, and
//                                  mark the losses above the bracket.
//   3. Select   (plan_search.h)    Find the order statistics among the candidates. If a bracket missed, sample and scan
//                                  again; after tuning.max_attempts scans, fall back to a radix selection.
//   4. Levels   (../plan.h)        Count pruned and tied samples and recipients, and compute the five target weights.
//   5. Write    (weight_writer.h)  A second pass: new weights from the losses or, if all but a few samples are simply
//                                  pruned or kept, from the marks, which are smaller.
//
// Steps 2 and 5 are the only ones that access all samples.
#include "reweight.h"

#include "kernels.h"
#include "plan_search.h"
#include "scan.h"
#include "subnormals.h"
#include "thread_team.h"
#include "weight_writer.h"

namespace rrm::cpu {

template <class F>
NonFiniteCounts reweight(const typename F::Bits *losses, std::int64_t n, const Rule &rule, double mu,
                         const typename F::Weight *old_weights, typename F::Weight *out, int threads, Plan &plan,
                         InvalidWeights &invalid_weights) {
    const ExactSubnormals exact;
    chosen_instruction_set(); // may throw, which the team must not
    ThreadTeam team(team_size(n, threads));
    Scan<F> scan(losses, n, team);
    PlanSearch<F> search(losses, n, rule, team, scan);
    // Marks take an eighth of a byte per sample: too much compared with losses of two bytes.
    const bool mark = out != nullptr && sizeof(typename F::Bits) > 2;
    const NonFiniteCounts non_finite = search.run(mark, plan);
    if (out == nullptr || non_finite.is_invalid(n, rule.prune_nan)) {
        return non_finite;
    }
    MarkedWriter<F> marked(team, scan, n, plan);
    if (search.threshold_from_scan() && marked.can_write()) {
        invalid_weights = marked.write(mu, old_weights, out);
    } else {
        invalid_weights = write_weights<F>(team, losses, n, plan, mu, old_weights, out);
    }
    return non_finite;
}

template <class F>
InvalidWeights apply(const typename F::Bits *losses, std::int64_t n, const Plan &plan, double mu,
                     const typename F::Weight *old_weights, typename F::Weight *out, int threads) {
    const ExactSubnormals exact;
    chosen_instruction_set(); // may throw, which the team must not
    ThreadTeam team(team_size(n, threads));
    return write_weights<F>(team, losses, n, plan, mu, old_weights, out);
}

template <class F>
std::int64_t count_foreign(const typename F::Bits *losses, std::int64_t n, double loss_min, bool allow_nan,
                           int threads) {
    const ExactSubnormals exact;
    chosen_instruction_set(); // may throw, which the team must not
    ThreadTeam team(team_size(n, threads));
    const PivotCounts counts = count_pivot<F>(team, losses, n, static_cast<typename F::Value>(loss_min));
    return counts.n_below + (allow_nan ? 0 : counts.n_nan);
}

#define RRM_INSTANTIATE(F)                                                                                             \
    template NonFiniteCounts reweight<F>(const F::Bits *, std::int64_t, const Rule &, double, const F::Weight *,       \
                                         F::Weight *, int, Plan &, InvalidWeights &);                                  \
    template InvalidWeights apply<F>(const F::Bits *, std::int64_t, const Plan &, double, const F::Weight *,           \
                                     F::Weight *, int);                                                                \
    template std::int64_t count_foreign<F>(const F::Bits *, std::int64_t, double, bool, int);
RRM_INSTANTIATE(Float16)
RRM_INSTANTIATE(BFloat16)
RRM_INSTANTIATE(Float32)
RRM_INSTANTIATE(Float64)
#undef RRM_INSTANTIATE

} // namespace rrm::cpu
