// The write step: new weights from the plan and the losses or, with less memory traffic, from the marks of a scan.
#pragma once

#include <cstdint>
#include <mutex>
#include <vector>

#include "../plan.h"
#include "kernels.h"
#include "plan_search.h"
#include "scan.h"
#include "thread_team.h"
#include "tuning.h"

namespace rrm::cpu {

// The terms of w <- a w + b target, with a = 1 - mu and b = mu rounded to the weights' type.
template <class V> WeightUpdate<V> make_update(const Plan &plan, std::int64_t n, double mu, bool has_old_weights) {
    const auto a = static_cast<V>(1.0 - mu);
    const auto b = static_cast<V>(mu);
    // b * target is one rounded product, the same for every sample on that level; if all old weights are 1, so is the
    // sum a + b * target.
    const auto term = [&](double level) {
        const V product = b * static_cast<V>(level);
        return mu != 1.0 && !has_old_weights ? a + product : product;
    };
    return {static_cast<V>(plan.threshold),
            static_cast<V>(plan.recipient_threshold),
            term(plan.levels.pruned),
            term(plan.levels.tied),
            term(plan.levels.kept),
            term(plan.levels.tied_recipient),
            term(plan.levels.kept_recipient),
            a,
            n * static_cast<std::int64_t>(sizeof(V)) >= tuning.stream_bytes};
}

// The invalid old weights that the members of a team find.
class InvalidWeightsOfTeam {
  public:
    void add(const InvalidWeights &of_piece, std::int64_t begin) {
        if (of_piece.n != 0) {
            const std::scoped_lock lock(mutex_);
            sum_.merge(of_piece, begin);
        }
    }
    // Once the members have finished.
    [[nodiscard]] const InvalidWeights &sum() const {
        return sum_;
    }

  private:
    std::mutex mutex_;
    InvalidWeights sum_;
};

// Writes the weights from the losses, and returns the invalid old weights. At mu = 1 none is read.
template <class F>
InvalidWeights write_weights(ThreadTeam &team, const typename F::Bits *losses, std::int64_t n, const Plan &plan,
                             double mu, const typename F::Weight *old_weights, typename F::Weight *out) {
    const auto update = make_update<typename F::Value>(plan, n, mu, old_weights != nullptr);
    const auto *const read_weights = mu == 1.0 ? nullptr : old_weights;
    InvalidWeightsOfTeam invalid;
    for_each_piece(team, n, [&](int, std::int64_t begin, std::int64_t size) {
        const auto *const piece = read_weights == nullptr ? nullptr : read_weights + begin;
        invalid.add(kernels<F>().write(losses + begin, size, update, piece, out + begin), begin);
    });
    return invalid.sum();
}

// Writes the weights from the marks of a scan: one bit per sample instead of a loss. It assumes that every sample is
// pruned (marked) or kept; the few others, recipients at the minimum and ties at the threshold, are written afterwards
// as overrides.
template <class F> class MarkedWriter {
  public:
    using V = typename F::Value;

    MarkedWriter(ThreadTeam &team, Scan<F> &scan, std::int64_t n, const Plan &plan)
        : team_(team), scan_(scan), n_(n), plan_(plan) {}

    // Whether the marks of the last scan, which found the threshold, and a few overrides give all weights.
    [[nodiscard]] bool can_write() const {
        const auto t = static_cast<V>(plan_.threshold);
        const auto &c = scan_.candidates(0);
        if (!scan_.has_marks() || !(c.low < t && t < c.high) || !(scan_.can_mark_candidates() || has_single_value(c))) {
            return false;
        }
        const bool at_minimum = static_cast<V>(plan_.recipient_threshold) == scan_.minimum();
        if (recipients_differ() && !(at_minimum && scan_.has_minimum_indices())) {
            return false;
        }
        return !ties_differ() || (plan_.n_tied <= max_overrides && scan_.can_mark_candidates());
    }

    // Returns the invalid old weights. At mu = 1 none is read.
    InvalidWeights write(double mu, const V *old_weights, V *out) {
        const auto update = make_update<V>(plan_, n_, mu, old_weights != nullptr);
        const V *const read_weights = mu == 1.0 ? nullptr : old_weights;
        std::vector<std::vector<Override>> overrides(static_cast<std::size_t>(team_.size()));
        overrides[0] = minimum_overrides(update, read_weights);
        const bool override_ties = ties_differ();
        const V tied_term = update.recipient_threshold == update.threshold ? update.tied_recipient : update.tied;
        std::vector<std::int64_t> tied_indices(override_ties ? overrides.size() * max_overrides : 0);
        for (auto &part : overrides) {
            part.reserve(2 * max_overrides); // here, because the members must not throw
        }
        const bool mark_candidates = scan_.can_mark_candidates();
        InvalidWeightsOfTeam invalid;
        for_each_piece(team_, n_, [&](int member, std::int64_t begin, std::int64_t size) {
            if (mark_candidates) {
                std::int64_t *const tied = override_ties ? tied_indices.data() + member * max_overrides : nullptr;
                auto cursor = scan_.cursor(begin, tied); // NOLINT(misc-const-correctness)
                kernels<F>().mark_candidates(size, begin, update.threshold, cursor, scan_.marks());
                for (std::int64_t i = 0; i < cursor.n_tied; ++i) {
                    overrides[static_cast<std::size_t>(member)].push_back(
                        make_override(cursor.tied_indices[i], tied_term, update, read_weights));
                }
            }
            const auto *const marks = scan_.marks() + begin / group_size;
            const auto *const piece = read_weights == nullptr ? nullptr : read_weights + begin;
            invalid.add(kernels<F>().write_marked(marks, size, update, piece, out + begin), begin);
        });
        for (const auto &part : overrides) {
            for (const Override &override : part) {
                out[override.index] = override.weight;
            }
        }
        return invalid.sum();
    }

  private:
    // A sample that is neither simply pruned nor simply kept, and its new weight.
    struct Override {
        std::int64_t index;
        V weight;
    };

    [[nodiscard]] bool recipients_differ() const {
        return plan_.n_recipients > 0 && plan_.levels.kept_recipient != plan_.levels.kept;
    }
    [[nodiscard]] bool ties_differ() const {
        const bool receive = plan_.recipient_threshold == plan_.threshold;
        return (receive ? plan_.levels.tied_recipient : plan_.levels.tied) != plan_.levels.kept;
    }

    static Override make_override(std::int64_t index, V term, const WeightUpdate<V> &update, const V *old_weights) {
        return {index, old_weights == nullptr ? term : update.old_factor * old_weights[index] + term};
    }
    std::vector<Override> minimum_overrides(const WeightUpdate<V> &update, const V *old_weights) {
        std::vector<Override> overrides;
        // The minimum may be the threshold.
        const bool are_tied = update.recipient_threshold == update.threshold;
        const V term = are_tied ? update.tied_recipient : update.kept_recipient;
        for (std::int64_t i = 0; recipients_differ() && i < scan_.n_minimum(); ++i) {
            overrides.push_back(make_override(scan_.minimum_indices()[i], term, update, old_weights));
        }
        return overrides;
    }

    ThreadTeam &team_;
    Scan<F> &scan_;
    std::int64_t n_;
    const Plan &plan_;
};

} // namespace rrm::cpu
