#include "reweight.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <vector>

#include "kernels.h"
#include "scan.h"
#include "select.h"
#include "subnormals.h"
#include "thread_team.h"
#include "tuning.h"

namespace rrm::cpu {
namespace {

template <class V> Steps<V> make_steps(const Plan &plan, std::int64_t n, double mu, bool old) {
    const auto a = static_cast<V>(1.0 - mu), b = static_cast<V>(mu);
    // b * target is one rounded product, the same for every sample on that level; with old weights of one, so is the
    // sum.
    const auto step = [&](double level) {
        const V part = b * static_cast<V>(level);
        return mu != 1.0 && !old ? a + part : part;
    };
    return {static_cast<V>(plan.threshold),
            static_cast<V>(plan.recipient_threshold),
            step(plan.levels.pruned),
            step(plan.levels.tied),
            step(plan.levels.kept),
            step(plan.levels.tied_recipient),
            step(plan.levels.kept_recipient),
            a,
            n * static_cast<std::int64_t>(sizeof(V)) >= tuning.stream_bytes};
}

template <class F>
Census count_all(Team &team, const typename F::Bits *losses, std::int64_t n, typename F::Value pivot) {
    std::atomic<std::int64_t> below = 0, at = 0, n_nan = 0;
    for_each_piece(team, n, [&](int, std::int64_t begin, std::int64_t size) {
        const Census own = loops<F>().count(losses + begin, size, pivot);
        below += own.n_below;
        at += own.n_equal;
        n_nan += own.n_nan;
    });
    return {below, at, n_nan};
}

template <class F> class Reweight {
  public:
    using Bits = typename F::Bits;
    using V = typename F::Value;

    Reweight(const Bits *losses, std::int64_t n, const Rule &rule, int threads)
        : losses_(losses), n_(n), rule_(rule), team_(members(n, threads)), survey_(losses, n, team_) {}

    NonFiniteCounts plan(bool mark, Plan &plan) {
        // Recipients need an order statistic of their own unless the minimum or the threshold is it.
        const bool two = rule_.recipient_rank > 1 && rule_.recipient_rank <= n_ &&
                         (rule_.rank == 0 || rule_.recipient_rank < rule_.rank);
        std::optional<OrderStatistic<V>> t, r;
        for (int attempt = 0; attempt < tuning.attempts && !(t && (r || !two)); ++attempt) {
            bool marks = mark && n_ >= tuning.mark_from && !two;
            const auto brackets = choose_brackets(attempt, two, marks);
            survey_.look(brackets.data(), two ? 2 : 1, marks);
            const NonFiniteCounts faults = survey_.faults();
            if (faults.is_invalid(n_, rule_.prune_nan)) {
                return faults;
            }
            n_valid_ = n_ - faults.n_nan;
            if (!t) {
                t = rule_.rank != 0 ? find(rule_.rank, 0) : at_price();
            }
            if (two && !r) {
                r = find(rule_.recipient_rank, 1);
            }
        }
        if (!t) {
            t = rule_.rank != 0 ? smallest_by_digits<F>(losses_, n_, std::min(rule_.rank, n_valid_)) : count_price();
            of_candidates_ = false;
        }
        if (two && !r) {
            r = smallest_by_digits<F>(losses_, n_, std::min(rule_.recipient_rank, n_valid_));
        }
        fill(plan, *t, r);
        return survey_.faults();
    }

    void write(const Plan &plan, double mu, const V *old, V *out) {
        const V *const read = mu == 1.0 ? nullptr : old;
        const auto steps = make_steps<V>(plan, n_, mu, old != nullptr);
        const auto from = [](const V *array, std::int64_t begin) { return array == nullptr ? nullptr : array + begin; };
        if (!marks_suffice(plan, steps)) {
            for_each_piece(team_, n_, [&](int, std::int64_t begin, std::int64_t size) {
                loops<F>().write(losses_ + begin, size, steps, from(read, begin), out + begin);
            });
            return;
        }
        std::vector<std::vector<Exception>> exceptions(static_cast<std::size_t>(team_.size()));
        exceptions[0] = lowest_exceptions(plan, steps, read);
        const bool except_tied = tied_differ(plan);
        const V tied_step = steps.recipient_threshold == steps.threshold ? steps.tied_recipient : steps.tied;
        std::vector<std::int64_t> places(except_tied ? exceptions.size() * most_exceptions : 0);
        std::vector<Walk<V>> walks;
        for (int member = 0; member < team_.size(); ++member) {
            exceptions[static_cast<std::size_t>(member)].reserve(2 * most_exceptions); // the members don't throw
            walks.push_back(survey_.walk(member, except_tied ? places.data() + member * most_exceptions : nullptr));
        }
        const bool complete = !survey_.can_walk();
        for_each_piece(team_, n_, [&](int member, std::int64_t begin, std::int64_t size) {
            auto &walk = walks[static_cast<std::size_t>(member)]; // NOLINT(misc-const-correctness)
            const auto known = walk.n_tied;
            if (!complete) {
                loops<F>().mark(size, begin, steps.threshold, walk, survey_.marks());
            }
            for (auto i = known; i < walk.n_tied; ++i) {
                exceptions[static_cast<std::size_t>(member)].push_back(except(walk.tied[i], tied_step, steps, read));
            }
            const auto *const marks = survey_.marks() + begin / group_size;
            loops<F>().write_marked(marks, size, steps, from(read, begin), out + begin);
        });
        for (const auto &own : exceptions) {
            for (const Exception &exception : own) {
                out[exception.place] = exception.weight;
            }
        }
    }

  private:
    static constexpr std::int64_t most_exceptions = 1024;

    // A sample that is neither simply pruned nor simply kept, and its weight.
    struct Exception {
        std::int64_t place;
        V weight;
    };

    // Takes `mark` back where marks will be of no use.
    std::array<Bracket<V>, 2> choose_brackets(int attempt, bool two, bool &mark) {
        std::array<Bracket<V>, 2> brackets;
        if (n_ <= few) {
            return brackets;
        }
        // Where the next attempt draws depends on what the last one counted: no losses can be made to mislead both.
        const std::uint32_t seed = attempt == 0 ? 0 : survey_.fingerprint() + 2 * static_cast<std::uint32_t>(attempt);
        const double deviations = attempt == 0 ? 2.5 : 4.0; // to miss now and then costs less than to be sure
        const V price = rule_.rank == 0 && attempt > 0 ? this->price(survey_.lowest()) : V{};
        const Sample<F> sample(losses_, n_, seed, survey_.all());
        if (rule_.rank != 0) {
            brackets[0] = sample.bracket_rank(n_, std::min(rule_.rank, n_valid_), deviations);
        } else {
            brackets[0] = attempt == 0 ? bracket_price(sample) : Bracket<V>::around(price);
        }
        if (two) {
            brackets[1] = sample.bracket_rank(n_, std::min(rule_.recipient_rank, n_valid_), deviations);
        }
        if (mark && rule_.recipient_rank == 1) { // so many at the minimum that they are no exceptions
            const std::int64_t each = n_ / sample.size();
            mark = (sample.upto(sample.smallest(1)) - 2) * each <= most_exceptions;
        }
        return brackets;
    }

    // The threshold at a minimum.
    V price(V lowest) const {
        return F::value(F::bits(F::key_not_above(static_cast<double>(lowest) + rule_.gamma)));
    }

    // The minimum of a sample is hardly above that of all, so the threshold is hardly below what it gives.
    Bracket<V> bracket_price(const Sample<F> &sample) {
        constexpr std::int64_t margin = 32;
        const V above = price(sample.smallest(1));
        const std::int64_t upto = sample.upto(above);
        Bracket<V> bracket;
        bracket.high = next(above);
        if (upto > margin) {
            bracket.low = sample.smallest(upto - margin);
        }
        if (bracket.low == above) {
            return Bracket<V>::around(above);
        }
        bracket.share = static_cast<double>(std::min(upto, margin)) / static_cast<double>(sample.size());
        return bracket;
    }

    // Whether so many losses may lie on a pivot. They would be met by a glance at groups so close to each other that
    // not even a run of them, as in a sorted array, fits in between.
    bool may_hold(V pivot, std::int64_t least) const {
        constexpr std::int64_t glances = 512;
        const std::int64_t apart = n_ / glances;
        if (least < apart || apart < group_size) { // too few to be sure, or counting costs no more
            return true;
        }
        std::int64_t met = 0;
        for (std::int64_t i = 0; i < glances; ++i) {
            met += loops<F>().count(losses_ + i * apart, group_size, pivot).n_equal;
        }
        return met > 0;
    }

    std::optional<OrderStatistic<V>> find(std::int64_t rank, int which) {
        return resolve<V>(n_, std::min(rank, n_valid_), survey_.candidates(which), survey_.beside(),
                          [this](V pivot, std::int64_t least) {
                              return may_hold(pivot, least) ? count_all<F>(team_, losses_, n_, pivot) : Census{};
                          });
    }

    std::optional<OrderStatistic<V>> at_price() {
        const V t = price(survey_.lowest());
        const auto &c = survey_.candidates(0);
        if (!(c.low < t && t < c.high)) {
            return std::nullopt;
        }
        const std::int64_t upto_low = n_ - c.n_high - c.n_inside;
        if (is_single(c)) {
            return OrderStatistic<V>{t, upto_low, c.n_inside};
        }
        if (c.stored != c.n_inside) {
            return std::nullopt;
        }
        const Census census = loops<Wide<V>>().count(c.values, c.stored, t);
        return OrderStatistic<V>{t, upto_low + census.n_below, census.n_equal};
    }
    OrderStatistic<V> count_price() {
        const V t = price(survey_.lowest());
        const Census census = count_all<F>(team_, losses_, n_, t);
        return {t, census.n_below, census.n_equal};
    }

    void fill(Plan &plan, const OrderStatistic<V> &t, const std::optional<OrderStatistic<V>> &r) {
        const auto found = [](const OrderStatistic<V> &x) { // never at -0.0
            return OrderStatistic<double>{static_cast<double>(x.value) + 0.0, x.n_below, x.n_equal};
        };
        const OrderStatistic<V> nowhere{std::numeric_limits<V>::infinity(), 0, 0};
        plan = make_plan(n_, rule_, found({survey_.lowest(), 0, survey_.n_lowest()}), found(t),
                         found(r.value_or(nowhere)));
    }

    static bool recipients_differ(const Plan &plan) {
        return plan.n_recipients > 0 && plan.levels.kept_recipient != plan.levels.kept;
    }
    static bool tied_differ(const Plan &plan) {
        const bool receive = plan.recipient_threshold == plan.threshold;
        return (receive ? plan.levels.tied_recipient : plan.levels.tied) != plan.levels.kept;
    }

    // Whether all but a few samples are simply pruned or kept, and the marks tell which.
    bool marks_suffice(const Plan &plan, const Steps<V> &steps) const {
        const V t = steps.threshold;
        const auto &c = survey_.candidates(0);
        if (!survey_.marked() || !of_candidates_ || !(c.low < t && t < c.high) ||
            !(survey_.can_walk() || is_single(c))) {
            return false;
        }
        if (recipients_differ(plan) && !(steps.recipient_threshold == survey_.lowest() && survey_.knows_lowest())) {
            return false;
        }
        return !tied_differ(plan) || (plan.n_tied <= most_exceptions && survey_.can_walk());
    }

    static Exception except(std::int64_t place, V step, const Steps<V> &steps, const V *old) {
        return {place, old == nullptr ? step : steps.keep * old[place] + step};
    }
    std::vector<Exception> lowest_exceptions(const Plan &plan, const Steps<V> &steps, const V *old) {
        std::vector<Exception> exceptions;
        for (std::int64_t i = 0; recipients_differ(plan) && i < survey_.n_lowest(); ++i) {
            exceptions.push_back(except(survey_.lowest_places()[i], steps.kept_recipient, steps, old));
        }
        return exceptions;
    }

    const Bits *losses_;
    std::int64_t n_;
    const Rule &rule_;
    std::int64_t n_valid_ = n_; // not NaN, as far as is known
    bool of_candidates_ = true; // the threshold follows from what the last look kept
    Team team_;
    Survey<F> survey_;
};

} // namespace

template <class F>
NonFiniteCounts reweight(const typename F::Bits *losses, std::int64_t n, const Rule &rule, double mu,
                         const typename F::Weight *old, typename F::Weight *out, int threads, Plan &plan) {
    const ExactSubnormals exact;
    chosen_instruction_set(); // may throw, which the team can't
    Reweight<F> work(losses, n, rule, threads);
    // Marks are an eighth of a byte per sample: too much beside losses of two bytes.
    const NonFiniteCounts faults = work.plan(out != nullptr && sizeof(typename F::Bits) > 2, plan);
    if (out != nullptr && !faults.is_invalid(n, rule.prune_nan)) {
        work.write(plan, mu, old, out);
    }
    return faults;
}

template <class F>
void apply(const typename F::Bits *losses, std::int64_t n, const Plan &plan, double mu, const typename F::Weight *old,
           typename F::Weight *out, int threads) {
    const ExactSubnormals exact;
    chosen_instruction_set(); // may throw, which the team can't
    const auto *const read = mu == 1.0 ? nullptr : old;
    const auto steps = make_steps<typename F::Value>(plan, n, mu, old != nullptr);
    Team team(members(n, threads));
    for_each_piece(team, n, [&](int, std::int64_t begin, std::int64_t size) {
        loops<F>().write(losses + begin, size, steps, read == nullptr ? nullptr : read + begin, out + begin);
    });
}

template <class F>
std::int64_t count_foreign(const typename F::Bits *losses, std::int64_t n, double loss_min, bool allow_nan,
                           int threads) {
    const ExactSubnormals exact;
    chosen_instruction_set(); // may throw, which the team can't
    Team team(members(n, threads));
    const Census census = count_all<F>(team, losses, n, static_cast<typename F::Value>(loss_min));
    return census.n_below + (allow_nan ? 0 : census.n_nan);
}

#define RRM_INSTANTIATE(F)                                                                                             \
    template NonFiniteCounts reweight<F>(const F::Bits *, std::int64_t, const Rule &, double, const F::Weight *,       \
                                         F::Weight *, int, Plan &);                                                    \
    template void apply<F>(const F::Bits *, std::int64_t, const Plan &, double, const F::Weight *, F::Weight *, int);  \
    template std::int64_t count_foreign<F>(const F::Bits *, std::int64_t, double, bool, int);
RRM_INSTANTIATE(Float16)
RRM_INSTANTIATE(BFloat16)
RRM_INSTANTIATE(Float32)
RRM_INSTANTIATE(Float64)
#undef RRM_INSTANTIATE

} // namespace rrm::cpu
