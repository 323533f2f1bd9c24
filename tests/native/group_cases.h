// Random cases of a reweight with groups, against the definition without groups.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "../../csrc/cpu/group_order.h"
#include "../../csrc/cpu/grouped_reweight.h"
#include "../../csrc/cpu/grouped_write.h"
#include "definition.h"

namespace rrm {

// A plan with groups, and the memory of its arrays.
struct GroupPlanMemory {
    std::vector<double> thresholds, levels;
    std::vector<std::int64_t> counts;
    std::size_t n_groups;

    explicit GroupPlanMemory(std::size_t n)
        : thresholds(4 * n, -7.0), levels(5 * n, -7.0), counts(4 * n, -7), n_groups(n) {}
    cpu::GroupPlan arrays() {
        double *const t = thresholds.data();
        std::int64_t *const c = counts.data();
        const auto n = n_groups;
        return {t, t + n, t + 2 * n, t + 3 * n, levels.data(), c, c + n, c + 2 * n, c + 3 * n};
    }
};

// Whether a reweight in which each group keeps its mass gives the results of the definition for each group alone, one
// threshold of all those of the definition for all, and a plan applied again the same weights.
template <class F, class Index>
bool check_groups(Random &random, const std::vector<typename F::Bits> &losses, int threads, std::string &description) {
    using V = typename F::Value;
    const auto n = static_cast<std::int64_t>(losses.size());
    const auto pick = [&](std::int64_t count) {
        return static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(count));
    };
    const std::int64_t n_groups = pick(4) == 0 ? 1 : pick(3) == 0 ? n + 1 : 2 + pick(40);
    std::vector<std::int32_t> groups(losses.size());
    std::vector<std::vector<std::size_t>> members(static_cast<std::size_t>(n_groups));
    for (std::size_t i = 0; i < losses.size(); ++i) {
        groups[i] = static_cast<std::int32_t>(pick(n_groups));
        members[static_cast<std::size_t>(groups[i])].push_back(i);
    }
    std::vector<std::int64_t> starts(static_cast<std::size_t>(n_groups) + 1);
    std::vector<Index> positions(losses.size());
    cpu::sort_by_group(groups.data(), n, n_groups, starts.data(), positions.data());

    const bool of_all = pick(3) == 0; // one threshold of all, or one for each group
    const double share = uniform(random);
    const auto rank_of = [&](std::int64_t size) {
        return size - static_cast<std::int64_t>(share * static_cast<double>(size));
    };
    const auto recipients = pick(4); // the minimum, a rank, all kept, none
    const double fraction = uniform(random);
    const auto recipient_rank_of = [&](std::int64_t size) {
        return recipients == 0   ? 1
               : recipients == 1 ? 1 + static_cast<std::int64_t>(fraction * static_cast<double>(size - 1))
               : recipients == 2 ? size + 1
                                 : 0;
    };
    GroupRule rule{.ranks = {},
                   .rank_of_all = of_all ? rank_of(n) : 0,
                   .gamma = 0.0,
                   .recipient_ranks = {},
                   .recipient_rank_of_all = of_all && recipients == 1 ? recipient_rank_of(n) : 0,
                   .redistribute = recipients == 2   ? Redistribute::kept
                                   : recipients == 3 ? Redistribute::drop
                                                     : Redistribute::recipients,
                   .share_ties = pick(2) == 0,
                   .quota_of_all = of_all ? n - rank_of(n) : 0,
                   .keep_mass = !of_all,
                   .prune_nan = true};
    for (const auto &group : members) {
        const auto size = static_cast<std::int64_t>(group.size());
        if (!of_all) {
            rule.ranks.push_back(size == 0 ? 0 : rank_of(size));
        }
        if (!of_all && recipients == 1) {
            rule.recipient_ranks.push_back(size == 0 ? 0 : recipient_rank_of(size));
        }
    }
    const double mu = pick(2) == 0 ? 1.0 : 0.3;
    std::vector<V> weights;
    for (std::int64_t i = 0; i < n; ++i) {
        weights.push_back(static_cast<V>(uniform(random)));
    }
    const bool has_old_weights = pick(3) != 0;
    const InvalidWeights expected_invalid =
        has_old_weights && mu < 1 && pick(2) == 0 ? draw_invalid_weights(random, weights) : InvalidWeights{};
    const std::vector<V> old = weights;
    const V *const old_weights = has_old_weights ? weights.data() : nullptr;
    description += ", groups " + std::to_string(n_groups) + (of_all ? ", one threshold" : "") + ", share " +
                   std::to_string(share) + ", recipients " + std::to_string(recipients) + ", mu " + std::to_string(mu);

    // The definition, of each group or of all.
    std::vector<V> expected(losses.size());
    std::vector<double> thresholds(static_cast<std::size_t>(n_groups), std::numeric_limits<double>::quiet_NaN());
    bool is_valid = true;
    std::vector<std::vector<std::size_t>> parts = members;
    if (of_all) {
        parts.assign(1, {});
        for (std::size_t i = 0; i < losses.size(); ++i) {
            parts[0].push_back(i);
        }
    }
    for (std::size_t part = 0; part < parts.size(); ++part) {
        std::vector<typename F::Bits> of_part;
        std::vector<V> old_of_part;
        bool any_finite = parts[part].empty();
        for (const auto i : parts[part]) {
            of_part.push_back(losses[i]);
            old_of_part.push_back(old[i]);
            any_finite |= std::isfinite(F::value(losses[i]));
        }
        is_valid = is_valid && any_finite;
        if (of_part.empty() || !any_finite) {
            continue;
        }
        const auto size = static_cast<std::int64_t>(of_part.size());
        const Rule own{rank_of(size),     0.0, recipient_rank_of(size), rule.share_ties ? size - rank_of(size) : 0,
                       rule.redistribute, true};
        Plan plan{};
        const auto result =
            reference_weights<F>(of_part, own, mu, has_old_weights ? old_of_part.data() : nullptr, plan);
        for (std::size_t j = 0; j < result.size(); ++j) {
            expected[parts[part][j]] = result[j];
            thresholds[static_cast<std::size_t>(groups[parts[part][j]])] = plan.threshold;
        }
    }
    for (std::size_t k = 0; of_all && k < members.size(); ++k) { // also within each group, one loss must be finite
        bool any_finite = members[k].empty();
        for (const auto i : members[k]) {
            any_finite |= std::isfinite(F::value(losses[i]));
        }
        is_valid = is_valid && any_finite;
    }

    GroupPlanMemory plan(static_cast<std::size_t>(n_groups));
    const bool in_place = has_old_weights && pick(2) == 0;
    std::vector<V> new_weights(losses.size(), V{-7});
    std::vector<V> &out = in_place ? weights : new_weights;
    InvalidWeights invalid;
    cpu::GroupOrder order{starts.data(), nullptr, nullptr, n_groups};
    if constexpr (sizeof(Index) == sizeof(std::int32_t)) {
        order.positions = positions.data();
    } else {
        order.wide_positions = positions.data();
    }
    const auto error = cpu::reweight_groups<F>(losses.data(), groups.data(), n, order, rule, mu, old_weights,
                                               out.data(), threads, plan.arrays(), invalid);
    if (!is_valid) {
        return error == cpu::GroupError::no_finite_loss &&
               std::memcmp(weights.data(), old.data(), old.size() * sizeof(V)) == 0;
    }
    if (error != cpu::GroupError::none || !same(invalid, expected_invalid)) {
        return false;
    }
    for (std::size_t k = 0; k < members.size(); ++k) {
        const double t = plan.arrays().threshold[k];
        if (!(t == thresholds[k] || (std::isnan(t) && std::isnan(thresholds[k])))) {
            return false;
        }
    }
    if (invalid.n != 0) {
        return true;
    }
    if (std::memcmp(out.data(), expected.data(), expected.size() * sizeof(V)) != 0) {
        return false;
    }
    if (n_groups <= cpu::few_groups && n >= 4096 && cpu::kernels<F>().scan_few_groups != nullptr) {
        const std::vector<std::uint8_t> bytes(groups.begin(), groups.end());
        std::vector<std::int64_t> sizes;
        for (const auto &group : members) {
            sizes.push_back(static_cast<std::int64_t>(group.size()));
        }
        GroupPlanMemory looked_up(static_cast<std::size_t>(n_groups));
        std::vector<V> by_look_up = old;
        const auto result = cpu::reweight_few_groups<F>(losses.data(), n, bytes.data(), sizes, rule, mu,
                                                        has_old_weights ? by_look_up.data() : nullptr,
                                                        by_look_up.data(), threads, looked_up.arrays(), invalid);
        if (result == cpu::GroupError::not_found) {
            if (std::memcmp(by_look_up.data(), old.data(), old.size() * sizeof(V)) != 0) {
                return false;
            }
        } else if (std::memcmp(by_look_up.data(), expected.data(), expected.size() * sizeof(V)) != 0 ||
                   looked_up.counts != plan.counts) {
            return false;
        }
    }
    std::vector<V> applied = old;
    const cpu::GroupPlan p = plan.arrays();
    const cpu::GroupLevels levels{p.threshold, p.recipient_threshold, p.levels, n_groups};
    cpu::write_groups<F>(losses.data(), groups.data(), n, levels, mu, has_old_weights ? applied.data() : nullptr,
                         applied.data(), threads);
    return std::memcmp(applied.data(), expected.data(), expected.size() * sizeof(V)) == 0 &&
           cpu::count_foreign_in_groups<F>(losses.data(), groups.data(), n, p.loss_min, p.n_nan, threads) == 0;
}

} // namespace rrm
