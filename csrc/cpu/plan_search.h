// The search for the order statistics of a plan: brackets from a sample, scans, and selection among the candidates.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <optional>

#include "../plan.h"
#include "kernels.h"
#include "scan.h"
#include "select.h"
#include "thread_team.h"
#include "tuning.h"

namespace rrm::cpu {

// Samples that are neither simply pruned nor simply kept, up to which marks are worthwhile.
constexpr std::int64_t max_overrides = 1024;

template <class F> class PlanSearch {
  public:
    using Bits = typename F::Bits;
    using V = typename F::Value;

    PlanSearch(const Bits *losses, std::int64_t n, const Rule &rule, ThreadTeam &team, Scan<F> &scan)
        : losses_(losses), n_(n), rule_(rule), team_(team), scan_(scan) {}

    // Fills `plan` unless the losses are invalid. With `mark`, the scans make marks where those pay off.
    NonFiniteCounts run(bool mark, Plan &plan) {
        // The recipients need an order statistic of their own unless it is the minimum or the threshold.
        const bool two_brackets = rule_.recipient_rank > 1 && rule_.recipient_rank <= n_ &&
                                  (rule_.rank == 0 || rule_.recipient_rank < rule_.rank);
        std::optional<OrderStatistic<V>> threshold, recipient;
        for (int attempt = 0; attempt < tuning.max_attempts && !(threshold && (recipient || !two_brackets));
             ++attempt) {
            bool marks = mark && n_ >= tuning.mark_from && !two_brackets;
            const auto brackets = choose_brackets(attempt, two_brackets, marks);
            scan_.run(brackets.data(), two_brackets ? 2 : 1, marks);
            const NonFiniteCounts non_finite = scan_.non_finite();
            if (non_finite.is_invalid(n_, rule_.prune_nan)) {
                return non_finite;
            }
            n_valid_ = n_ - non_finite.n_nan;
            if (!threshold) {
                threshold = rule_.rank != 0 ? find_rank(rule_.rank, 0) : find_gamma_threshold();
            }
            if (two_brackets && !recipient) {
                recipient = find_rank(rule_.recipient_rank, 1);
            }
        }
        if (!threshold) {
            threshold = rule_.rank != 0 ? radix_select<F>(losses_, n_, std::min(rule_.rank, n_valid_))
                                        : count_gamma_threshold();
            threshold_from_scan_ = false;
        }
        if (two_brackets && !recipient) {
            recipient = radix_select<F>(losses_, n_, std::min(rule_.recipient_rank, n_valid_));
        }
        fill(plan, *threshold, recipient);
        return scan_.non_finite();
    }

    // Whether the threshold was found in the last scan, so that its marks and candidates can be used.
    [[nodiscard]] bool threshold_from_scan() const {
        return threshold_from_scan_;
    }

  private:
    // Clears `mark` where marks would not pay off.
    std::array<Bracket<V>, 2> choose_brackets(int attempt, bool two_brackets, bool &mark) {
        std::array<Bracket<V>, 2> brackets;
        if (n_ <= small_size) {
            return brackets;
        }
        // The seed of a later attempt depends on the counts of the previous one, so that no input can be constructed
        // for which both samples are unrepresentative.
        const std::uint32_t seed = attempt == 0 ? 0 : scan_.fingerprint() + 2 * static_cast<std::uint32_t>(attempt);
        // At first a narrow bracket: an occasional miss costs less than a bracket that never misses.
        const double deviations = attempt == 0 ? 2.5 : 4.0;
        const V threshold = rule_.rank == 0 && attempt > 0 ? gamma_threshold(scan_.minimum()) : V{};
        const Sample<F> sample(losses_, n_, seed, scan_.whole_scratch());
        if (rule_.rank != 0) {
            brackets[0] = sample.bracket_rank(n_, std::min(rule_.rank, n_valid_), deviations);
        } else {
            brackets[0] = attempt == 0 ? bracket_gamma_threshold(sample) : Bracket<V>::around(threshold);
        }
        if (two_brackets) {
            brackets[1] = sample.bracket_rank(n_, std::min(rule_.recipient_rank, n_valid_), deviations);
        }
        if (mark && rule_.recipient_rank == 1) { // no marks if the minimum has too many ties for overrides
            const std::int64_t samples_per_loss = n_ / sample.size();
            mark = (sample.count_up_to(sample.select_rank(1)) - 2) * samples_per_loss <= max_overrides;
        }
        return brackets;
    }

    // The threshold of the gamma rule: the minimum + gamma, rounded down to a number of the losses' format.
    V gamma_threshold(V minimum) const {
        return F::value(F::bits(F::key_not_above(static_cast<double>(minimum) + rule_.gamma)));
    }

    // The minimum of a sample is slightly above that of all losses, and so is the threshold that follows from it.
    Bracket<V> bracket_gamma_threshold(const Sample<F> &sample) {
        constexpr std::int64_t margin = 32; // ranks in the sample
        const V upper = gamma_threshold(sample.select_rank(1));
        const std::int64_t n_up_to = sample.count_up_to(upper);
        Bracket<V> bracket;
        bracket.high = next_above(upper);
        if (n_up_to > margin) {
            bracket.low = sample.select_rank(n_up_to - margin);
        }
        if (bracket.low == upper) {
            return Bracket<V>::around(upper);
        }
        bracket.expected_fraction = static_cast<double>(std::min(n_up_to, margin)) / static_cast<double>(sample.size());
        return bracket;
    }

    // Whether `min_equal` losses may be equal to a pivot; false only if that is impossible or very unlikely. Tests
    // groups so close to each other that even a single run of equal losses, as in a sorted array, would overlap one of
    // them.
    bool may_have_ties(V pivot, std::int64_t min_equal) const {
        constexpr std::int64_t n_probes = 512;
        const std::int64_t distance = n_ / n_probes;
        if (min_equal < distance || distance < group_size) { // too few to be found for sure, or counting costs no more
            return true;
        }
        std::int64_t n_equal = 0;
        for (std::int64_t i = 0; i < n_probes; ++i) {
            n_equal += kernels<F>().count_pivot(losses_ + i * distance, group_size, pivot).n_equal;
        }
        return n_equal > 0;
    }

    std::optional<OrderStatistic<V>> find_rank(std::int64_t rank, int bracket) {
        const auto count = [this](V pivot, std::int64_t min_equal) {
            return may_have_ties(pivot, min_equal) ? count_pivot<F>(team_, losses_, n_, pivot) : PivotCounts{};
        };
        return resolve_rank<V>(n_, std::min(rank, n_valid_), scan_.candidates(bracket), scan_.free_scratch(), count);
    }

    std::optional<OrderStatistic<V>> find_gamma_threshold() {
        const V t = gamma_threshold(scan_.minimum());
        const auto &c = scan_.candidates(0);
        if (!(c.low < t && t < c.high)) {
            return std::nullopt;
        }
        const std::int64_t n_up_to_low = n_ - c.n_high - c.n_inside;
        if (has_single_value(c)) {
            return OrderStatistic<V>{t, n_up_to_low, c.n_inside};
        }
        if (c.n_stored != c.n_inside) {
            return std::nullopt;
        }
        const PivotCounts counts = kernels<Wide<V>>().count_pivot(c.values, c.n_stored, t);
        return OrderStatistic<V>{t, n_up_to_low + counts.n_below, counts.n_equal};
    }
    OrderStatistic<V> count_gamma_threshold() {
        const V t = gamma_threshold(scan_.minimum());
        const PivotCounts counts = count_pivot<F>(team_, losses_, n_, t);
        return {t, counts.n_below, counts.n_equal};
    }

    void fill(Plan &plan, const OrderStatistic<V> &threshold, const std::optional<OrderStatistic<V>> &recipient) {
        const auto as_double = [](const OrderStatistic<V> &x) { // + 0.0 turns -0.0 into 0.0
            return OrderStatistic<double>{static_cast<double>(x.value) + 0.0, x.n_below, x.n_equal};
        };
        const OrderStatistic<V> minimum{scan_.minimum(), 0, scan_.n_minimum()};
        const OrderStatistic<V> unused{std::numeric_limits<V>::infinity(), 0, 0};
        plan = make_plan(n_, rule_, as_double(minimum), as_double(threshold), as_double(recipient.value_or(unused)));
    }

    const Bits *losses_;
    std::int64_t n_;
    const Rule &rule_;
    ThreadTeam &team_;
    Scan<F> &scan_;
    std::int64_t n_valid_ = n_; // not NaN; known after the first scan
    bool threshold_from_scan_ = true;
};

} // namespace rrm::cpu
