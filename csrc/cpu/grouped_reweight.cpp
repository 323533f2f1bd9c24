// A reweight with groups on the CPU. One pass over the losses, sorted by group or looked up, finds the minimum of each
// group and its own threshold; further passes count the losses at thresholds that follow from others. The new weights
// are written in the order of the samples.
#include "grouped_reweight.h"

#include <atomic>
#include <cmath>
#include <limits>
#include <utility>

#include "few_groups.h"
#include "grouped_write.h"
#include "reweight.h"
#include "subnormals.h"

namespace rrm::cpu {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

// One call. Groups is GroupedLosses or FewGroupsLosses.
template <class F, class Groups> class GroupedReweight {
  public:
    using V = typename F::Value;
    using Statistics = std::vector<OrderStatistic<V>>;

    GroupedReweight(const typename F::Bits *losses, std::int64_t n, std::vector<std::int64_t> sizes, Groups &groups,
                    const GroupRule &rule, int threads, const GroupPlan &plan)
        : losses_(losses), n_(n), sizes_(std::move(sizes)), groups_(groups), rule_(rule), threads_(threads),
          plan_(plan), n_groups_(sizes_.size()), minima_(n_groups_), thresholds_(n_groups_), recipients_(n_groups_) {}

    GroupError make_plan() {
        std::atomic<bool> is_finite = true;
        const bool is_found = groups_.scan(rule_.ranks, [&](std::int64_t group, const GroupResult<V> &result) {
            const auto k = static_cast<std::size_t>(group);
            minima_[k] = result.minimum;
            thresholds_[k] = result.ranked;
            plan_.n_nan[k] = result.n_nan;
            plan_.loss_min[k] = size(k) == 0 ? nan : as_double(result.minimum.value);
            if ((result.n_nan != 0 && !rule_.prune_nan) || result.n_neg_inf != 0) {
                is_finite = false;
            }
        });
        if (!is_found) {
            return GroupError::not_found;
        }
        if (!is_finite) {
            return GroupError::not_finite;
        }
        for (std::size_t k = 0; k < n_groups_; ++k) {
            if (plan_.loss_min[k] == std::numeric_limits<double>::infinity()) {
                return GroupError::no_finite_loss;
            }
            minimum_ = std::min(minimum_, minima_[k].value);
        }
        find_thresholds();
        return find_recipients() ? fill_plan() : GroupError::not_found;
    }

  private:
    [[nodiscard]] std::int64_t size(std::size_t k) const {
        return sizes_[k];
    }
    static double as_double(V value) { // + 0.0 turns -0.0 into 0.0
        return static_cast<double>(value) + 0.0;
    }
    // The loss with a rank among all.
    V select_of_all(std::int64_t rank) const {
        const Rule rule{rank, 0.0, 0, 0, Redistribute::drop, true};
        Plan plan{};
        InvalidWeights unused;
        reweight<F>(losses_, n_, rule, 1.0, nullptr, nullptr, threads_, plan, unused);
        return static_cast<V>(plan.threshold);
    }
    // The minimum + gamma, rounded down to a number of the losses' format.
    V gamma_threshold(V minimum) const {
        return F::value(F::bits(F::key_not_above(static_cast<double>(minimum) + rule_.gamma)));
    }

    void find_thresholds() {
        if (rule_.rank_of_all == 0 && !rule_.ranks.empty()) {
            return; // the scan has found them
        }
        const V of_all = rule_.rank_of_all != 0 ? select_of_all(rule_.rank_of_all) : gamma_threshold(minimum_);
        std::vector<bool> is_counted(n_groups_);
        for (std::size_t k = 0; k < n_groups_; ++k) {
            is_counted[k] = !rule_.ranks.empty() && !(thresholds_[k].value < of_all);
            if (!is_counted[k]) {
                const bool own_gamma = rule_.rank_of_all == 0 && rule_.keep_mass && size(k) != 0;
                thresholds_[k].value = own_gamma ? gamma_threshold(minima_[k].value) : of_all;
            }
        }
        groups_.count(thresholds_, [&](std::int64_t group) { return !is_counted[static_cast<std::size_t>(group)]; });
    }

    // False if a rank was not found.
    bool find_recipients() {
        if (rule_.redistribute == Redistribute::kept) {
            recipients_ = thresholds_;
            return true;
        }
        if (rule_.redistribute == Redistribute::drop) {
            recipients_.assign(n_groups_, {-std::numeric_limits<V>::infinity(), 0, 0});
            return true;
        }
        const bool ranked_in_groups = !rule_.recipient_ranks.empty();
        const bool ranked_of_all = rule_.recipient_rank_of_all > 1;
        const auto set_recipients = [&](std::int64_t group, const GroupResult<V> &result) {
            recipients_[static_cast<std::size_t>(group)] = result.ranked;
        };
        if (ranked_in_groups && !groups_.scan(rule_.recipient_ranks, set_recipients)) {
            return false;
        }
        const V of_all = ranked_of_all ? select_of_all(rule_.recipient_rank_of_all) : minimum_;
        for (std::size_t k = 0; k < n_groups_; ++k) {
            if (!ranked_in_groups) { // the minimum of the group, or a value of all
                recipients_[k] = minima_[k];
                if (!rule_.keep_mass && !(minima_[k].value == of_all)) {
                    recipients_[k] = {of_all, 0, 0};
                }
            }
            if (!(recipients_[k].value < thresholds_[k].value)) {
                recipients_[k] = thresholds_[k];
            }
        }
        if (ranked_of_all) {
            groups_.count(recipients_, [&](std::int64_t group) {
                const auto k = static_cast<std::size_t>(group);
                return recipients_[k].value < thresholds_[k].value;
            });
        }
        return true;
    }

    GroupError fill_plan() {
        GroupTotals totals;
        for (std::size_t k = 0; k < n_groups_; ++k) {
            const auto &threshold = thresholds_[k];
            const bool is_empty = size(k) == 0;
            plan_.threshold[k] = is_empty ? nan : as_double(threshold.value);
            plan_.recipient_threshold[k] = as_double(recipients_[k].value);
            if (is_empty && rule_.redistribute != Redistribute::drop) {
                plan_.recipient_threshold[k] = nan;
            }
            plan_.n_tied[k] = threshold.n_equal;
            plan_.n_pruned[k] = size(k) - threshold.n_below - threshold.n_equal;
            plan_.n_recipients[k] = recipients_[k].n_below + recipients_[k].n_equal;
            totals.n += size(k);
            totals.n_pruned += plan_.n_pruned[k];
            totals.n_tied += plan_.n_tied[k];
            totals.n_recipients += plan_.n_recipients[k];
            totals.removed += std::max(rule_.share_ties ? quota(k) : 0, plan_.n_pruned[k]);
            if (rule_.keep_mass && rule_.redistribute != Redistribute::drop && !is_empty &&
                plan_.n_pruned[k] == size(k)) {
                return GroupError::no_kept_sample;
            }
        }
        if (rule_.share_ties && rule_.ranks.empty()) {
            totals.removed = std::max(rule_.quota_of_all, totals.n_pruned);
        }
        for (std::size_t k = 0; k < n_groups_; ++k) {
            const GroupCounts counts{size(k), plan_.n_pruned[k], plan_.n_tied[k], plan_.n_recipients[k]};
            const Removed removed = removed_from(rule_, counts, quota(k), totals);
            const Levels l = group_levels(rule_, counts, removed, totals);
            plan_.removed[k] = removed.mass;
            double *const to = plan_.levels + 5 * k;
            to[0] = l.pruned;
            to[1] = l.tied;
            to[2] = l.kept;
            to[3] = l.tied_recipient;
            to[4] = l.kept_recipient;
        }
        return GroupError::none;
    }
    // The mass to remove from a group with a rank of its own.
    [[nodiscard]] std::int64_t quota(std::size_t k) const {
        return rule_.ranks.empty() ? 0 : size(k) - rule_.ranks[k];
    }

    const typename F::Bits *losses_;
    std::int64_t n_;
    std::vector<std::int64_t> sizes_;
    Groups &groups_;
    const GroupRule &rule_;
    int threads_;
    GroupPlan plan_;
    std::size_t n_groups_;
    V minimum_ = std::numeric_limits<V>::infinity(); // of all
    Statistics minima_, thresholds_, recipients_;
};

} // namespace

template <class F>
GroupError reweight_groups(const typename F::Bits *losses, const std::int32_t *groups, std::int64_t n,
                           const GroupOrder &order, const GroupRule &rule, double mu,
                           const typename F::Weight *old_weights, typename F::Weight *out, int threads,
                           const GroupPlan &plan, InvalidWeights &invalid_weights) {
    const ExactSubnormals exact;
    chosen_instruction_set(); // may throw, which the team must not
    ThreadTeam team(team_size(n, threads));
    GroupedLosses<F> sorted(losses, n, order, team);
    std::vector<std::int64_t> sizes(static_cast<std::size_t>(order.n_groups));
    for (std::size_t group = 0; group < sizes.size(); ++group) {
        sizes[group] = order.starts[group + 1] - order.starts[group];
    }
    const GroupError error =
        GroupedReweight<F, GroupedLosses<F>>(losses, n, std::move(sizes), sorted, rule, threads, plan).make_plan();
    if (error == GroupError::none && out != nullptr) {
        const auto n_groups = static_cast<std::size_t>(order.n_groups);
        invalid_weights = write_groups<F>(losses, groups, n, {plan, n_groups}, mu, old_weights, out, threads);
    }
    return error;
}

template <class F> bool can_look_up(std::int64_t n, std::int64_t n_groups) {
    return n_groups <= few_groups && n >= few_groups_from && kernels<F>().scan_few_groups != nullptr;
}

template <class F>
GroupError reweight_few_groups(const typename F::Bits *losses, std::int64_t n, const std::uint8_t *groups,
                               const std::vector<std::int64_t> &sizes, const GroupRule &rule, double mu,
                               const typename F::Weight *old_weights, typename F::Weight *out, int threads,
                               const GroupPlan &plan, InvalidWeights &invalid_weights) {
    const ExactSubnormals exact;
    chosen_instruction_set();
    ThreadTeam team(team_size(n, threads));
    FewGroupsLosses<F> few(losses, groups, n, sizes.data(), static_cast<int>(sizes.size()), team);
    const GroupError error =
        GroupedReweight<F, FewGroupsLosses<F>>(losses, n, sizes, few, rule, threads, plan).make_plan();
    if (error == GroupError::none && out != nullptr) {
        invalid_weights = few.write(plan, mu, old_weights, out);
    }
    return error;
}

template <class F> NonFiniteCounts find_non_finite(const typename F::Bits *losses, std::int64_t n) {
    using V = typename F::Value;
    const ExactSubnormals exact;
    NonFiniteCounts counts;
    for (std::int64_t i = 0; i < n; ++i) {
        const V value = F::value(losses[i]);
        if (std::isnan(value)) {
            counts.first_nan = counts.n_nan++ == 0 ? i : counts.first_nan;
        } else if (value == -std::numeric_limits<V>::infinity()) {
            counts.first_neg_inf = counts.n_neg_inf++ == 0 ? i : counts.first_neg_inf;
        }
    }
    return counts;
}

#define RRM_INSTANTIATE(F)                                                                                             \
    template GroupError reweight_groups<F>(const F::Bits *, const std::int32_t *, std::int64_t, const GroupOrder &,    \
                                           const GroupRule &, double, const F::Weight *, F::Weight *, int,             \
                                           const GroupPlan &, InvalidWeights &);                                       \
    template GroupError reweight_few_groups<F>(                                                                        \
        const F::Bits *, std::int64_t, const std::uint8_t *, const std::vector<std::int64_t> &, const GroupRule &,     \
        double, const F::Weight *, F::Weight *, int, const GroupPlan &, InvalidWeights &);                             \
    template bool can_look_up<F>(std::int64_t, std::int64_t);                                                          \
    template NonFiniteCounts find_non_finite<F>(const F::Bits *, std::int64_t);
RRM_INSTANTIATE(Float16)
RRM_INSTANTIATE(BFloat16)
RRM_INSTANTIATE(Float32)
RRM_INSTANTIATE(Float64)
#undef RRM_INSTANTIATE

} // namespace rrm::cpu
