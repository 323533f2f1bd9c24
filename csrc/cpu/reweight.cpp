#include "reweight.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <vector>

#include "arena.h"
#include "loops.h"
#include "order.h"
#include "subnormals.h"
#include "team.h"

namespace rrm::cpu {
namespace {

std::atomic<std::int64_t> grain = 250'000;

// Samples that a thread takes at a time, in turn with the others, so that each sees all parts of a sorted array.
constexpr std::int64_t piece = 4 * block_size;

int members(std::int64_t n, int threads) {
    const std::int64_t most = std::max<std::int64_t>(1, std::min(n / grain, (n + piece - 1) / piece));
    return static_cast<int>(std::min<std::int64_t>(threads, most));
}

// Calls task(member, begin, size) for all pieces, each member's in ascending order.
template <class Task> void for_each_piece(Team &team, std::int64_t n, const Task &task) {
    if (team.size() == 1) {
        task(0, 0, n);
        return;
    }
    team.run([&](int member) {
        for (std::int64_t begin = member * piece; begin < n; begin += team.size() * piece) {
            task(member, begin, std::min(piece, n - begin));
        }
    });
}

template <class V> Steps<V> make_steps(const Plan &plan, double mu, bool old) {
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
            a};
}

// A sample whose weight doesn't follow from its mark.
template <class V> struct Exception {
    std::int64_t place;
    V weight;
};

constexpr std::int64_t lowest_room = 1024; // places of samples at the minimum, for each thread

template <class F> class Reweight {
  public:
    using Bits = typename F::Bits;
    using V = typename F::Value;
    using Word = typename Wide<V>::Bits;

    Reweight(const Bits *losses, std::int64_t n, const Rule &rule, bool mark, int threads)
        : losses_(losses), n_(n), rule_(rule), team_(members(n, threads)), passes_(static_cast<std::size_t>(team_.size())),
          marking_(mark && n >= mark_from && n <= std::numeric_limits<std::uint32_t>::max()), arena_(memory()) {}

    Faults plan(Plan &plan) {
        const bool by_rank = rule_.rank != 0;
        // Recipients need an order statistic of their own unless the counts of the minimum or of the threshold give it.
        const bool two = rule_.recipient_rank > 1 && rule_.recipient_rank <= n_ &&
                         !(by_rank && rule_.recipient_rank >= rule_.rank);
        std::optional<Statistic<V>> t, r;
        for (int attempt = 0; attempt < 2 && !(t && (r || !two)); ++attempt) {
            choose_brackets(attempt, two, t.has_value(), r.has_value());
            pass(two);
            const Faults faults = this->faults();
            if (faults.refuse(n_, rule_.prune_nan)) {
                return faults;
            }
            n_valid_ = n_ - faults.n_nan;
            if (!t) {
                t = by_rank ? resolve<F>(losses_, n_, std::min(rule_.rank, n_valid_), found(0), scratch_, room_)
                            : at_price();
            }
            if (two && !r) {
                r = resolve<F>(losses_, n_, std::min(rule_.recipient_rank, n_valid_), found(1), scratch_, room_);
            }
        }
        if (!t) {
            t = smallest_by_digits<F>(losses_, n_, std::min(rule_.rank, n_valid_));
        }
        if (two && !r) {
            r = smallest_by_digits<F>(losses_, n_, std::min(rule_.recipient_rank, n_valid_));
        }
        fill(plan, *t, r);
        return faults();
    }

    void write(const Plan &plan, double mu, const V *old, V *out) {
        const V *const read = mu == 1.0 ? nullptr : old;
        const auto steps = make_steps<V>(plan, mu, old != nullptr);
        if (!(marking_ && settle_marks(plan, steps))) {
            for_each_piece(team_, n_, [&](int, std::int64_t begin, std::int64_t size) {
                loops<F>().write(losses_ + begin, size, steps, read == nullptr ? nullptr : read + begin, out + begin);
            });
            return;
        }
        std::vector<Exception<V>> exceptions = except(plan, steps, read);
        for_each_piece(team_, n_, [&](int, std::int64_t begin, std::int64_t size) {
            loops<F>().write_marked(marks_ + begin / group_size, size, steps, read == nullptr ? nullptr : read + begin,
                                    out + begin);
        });
        for (const auto &exception : exceptions) {
            out[exception.place] = exception.weight;
        }
    }

  private:
    // Below, the losses are still near when the weights are written.
    static constexpr std::int64_t mark_from = 1 << 17;
    static constexpr std::int64_t inner_room = 8192; // words, for smallest() among the candidates

    [[nodiscard]] std::size_t memory() const {
        constexpr std::size_t always = std::size_t{1} << 20; // bytes that any call may use
        const auto sample = static_cast<std::size_t>(2 * padded(sample_size(n_)) + inner_room) * sizeof(Word);
        return std::max({always, static_cast<std::size_t>(n_) * sizeof(Bits) / 20, sample});
    }
    Candidates<V> &found(int which) {
        return passes_[0].candidates[which];
    }
    Faults faults() {
        Faults all = passes_[0].faults;
        if (passes_[0].lowest == std::numeric_limits<V>::infinity()) {
            all.n_inf = passes_[0].n_lowest;
        }
        return all;
    }

    void choose_brackets(int attempt, bool two, bool keep_first, bool keep_second) {
        for (int which = 0; which < 2; ++which) {
            brackets_[which] = Bracket<V>{};
        }
        if (n_ <= few) {
            return;
        }
        arena_.reset();
        const std::int64_t own = padded(sample_size(n_));
        auto *const values = arena_.template take<Word>(own);
        const std::int64_t room = static_cast<std::int64_t>(memory() / sizeof(Word)) - own;
        auto *const scratch = arena_.template take<Word>(room);
        const Sample<F> sample(losses_, n_, attempt, values);
        const double deviations = attempt == 0 ? 2.5 : 6.0;
        if (!keep_first) {
            brackets_[0] = rule_.rank != 0
                               ? bracket_rank<F>(sample, values, n_, rule_.rank, deviations, scratch, room)
                               : bracket_price(sample, values, scratch, room);
        }
        if (two && !keep_second) {
            brackets_[1] =
                bracket_rank<F>(sample, values, n_, rule_.recipient_rank, deviations, scratch, room);
        }
    }

    // The minimum of a sample is hardly above that of all, so the threshold is hardly below what it gives.
    Bracket<V> bracket_price(const Sample<F> &sample, const Word *values, Word *scratch, std::int64_t room) {
        constexpr std::int64_t margin = 32;
        Bracket<V> bracket;
        const V lowest = smallest<V>(values, sample.size(), 1, scratch, room).value;
        const V above = std::bit_cast<V>(Wide<V>::bits(Wide<V>::key_not_above(static_cast<double>(lowest) + rule_.gamma)));
        bracket.high = std::nextafter(above, std::numeric_limits<V>::infinity());
        const std::int64_t upto = sample.upto(above);
        if (upto > margin) {
            bracket.low = smallest<V>(values, sample.size(), upto - margin, scratch, room).value;
        }
        bracket.share = static_cast<double>(std::min(upto, margin)) / static_cast<double>(sample.size());
        return bracket;
    }

    std::optional<Statistic<V>> at_price() {
        const V t = F::value(F::bits(F::key_not_above(static_cast<double>(passes_[0].lowest) + rule_.gamma)));
        const auto &c = found(0);
        if (c.low < t && t < c.high && c.stored == c.n_inside) {
            const Census census = loops<Wide<V>>().count(c.values, c.stored, t);
            return Statistic<V>{t, n_ - c.n_high - c.n_inside + census.below, census.at};
        }
        const Census census = loops<F>().count(losses_, n_, t);
        return Statistic<V>{t, census.below, census.at};
    }

    void pass(bool two) {
        arena_.reset();
        scratch_ = arena_.template take<Word>(inner_room);
        room_ = inner_room;
        const auto bytes = static_cast<std::int64_t>(memory()) - inner_room * static_cast<std::int64_t>(sizeof(Word)) - 4096;
        const auto marks = (n_ + group_size - 1) / group_size;
        const auto team = static_cast<std::int64_t>(team_.size());
        const auto lowest = team * lowest_room;
        const auto n = static_cast<double>(n_);
        const auto needed = [&](const Bracket<V> &bracket) { // per thread
            return static_cast<std::int64_t>(1.1 * bracket.share * n) / team + (team > 1 ? piece : 0) + 3 * slack;
        };
        if (marking_) {
            const std::int64_t left = bytes - marks * 8 - lowest * 4;
            const std::int64_t each = left / team / static_cast<std::int64_t>(sizeof(Word) + sizeof(std::uint32_t)) / 64 * 64;
            marking_ = !two && each >= std::min(needed(brackets_[0]), n_ + 2 * slack);
            if (marking_) {
                marks_ = arena_.template take<std::uint64_t>(marks);
                lowest_places_ = arena_.template take<std::uint32_t>(lowest);
                values_[0] = arena_.template take<Word>(each * team);
                places_ = arena_.template take<std::uint32_t>(each * team);
                capacity_ = each;
            }
        }
        if (!marking_) {
            capacity_ = bytes / static_cast<std::int64_t>(sizeof(Word)) / team / (two ? 2 : 1) / 64 * 64;
            values_[0] = arena_.template take<Word>(capacity_ * team);
            values_[1] = two ? arena_.template take<Word>(capacity_ * team) : nullptr;
        }
        for (std::int64_t member = 0; member < team; ++member) {
            Pass<V> &pass = passes_[static_cast<std::size_t>(member)] = Pass<V>{};
            for (int which = 0; which < (two ? 2 : 1); ++which) {
                auto &c = pass.candidates[which];
                c.low = brackets_[which].low;
                c.high = brackets_[which].high;
                c.values = values_[which] + member * capacity_;
                c.capacity = capacity_ - 2 * slack;
            }
            if (marking_) {
                pass.candidates[0].places = places_ + member * capacity_;
                pass.lowest_places = lowest_places_ + member * lowest_room;
                pass.lowest_capacity = lowest_room;
            }
        }
        for_each_piece(team_, n_, [&](int member, std::int64_t begin, std::int64_t size) {
            Pass<V> &own = passes_[static_cast<std::size_t>(member)];
            if (marking_) {
                loops<F>().scan_marking(losses_ + begin, size, begin, own, marks_ + begin / group_size);
            } else if (two) {
                loops<F>().scan_twice(losses_ + begin, size, begin, own);
            } else {
                loops<F>().scan(losses_ + begin, size, begin, own);
            }
        });
        for (std::size_t other = 1; other < passes_.size(); ++other) {
            merge(passes_[0], passes_[other]);
        }
    }

    // Moves what another member has found behind what the first has.
    void merge(Pass<V> &all, const Pass<V> &own) {
        for (int which = 0; which < 2; ++which) {
            auto &to = all.candidates[which];
            const auto &from = own.candidates[which];
            if (from.stored > 0) {
                std::memmove(to.values + to.stored, from.values, static_cast<std::size_t>(from.stored) * sizeof(Word));
            }
            if (from.stored > 0 && from.places != nullptr) {
                std::memmove(to.places + to.stored, from.places, static_cast<std::size_t>(from.stored) * 4);
            }
            to.stored += from.stored;
            to.n_inside += from.n_inside;
            to.n_high += from.n_high;
        }
        if (own.lowest < all.lowest) {
            all.lowest = own.lowest;
            all.n_lowest = 0;
        }
        if (own.lowest == all.lowest) {
            if (own.n_lowest <= own.lowest_capacity && all.n_lowest <= all.lowest_capacity) {
                std::copy(own.lowest_places, own.lowest_places + own.n_lowest, all.lowest_places + all.n_lowest);
                all.lowest_capacity += own.n_lowest;
            }
            all.n_lowest += own.n_lowest;
        }
        const auto first = [](std::int64_t a, std::int64_t b) { return a < 0 || (b >= 0 && b < a) ? b : a; };
        all.faults.n_nan += own.faults.n_nan;
        all.faults.n_low += own.faults.n_low;
        all.faults.first_nan = first(all.faults.first_nan, own.faults.first_nan);
        all.faults.first_low = first(all.faults.first_low, own.faults.first_low);
    }

    void fill(Plan &plan, const Statistic<V> &t, const std::optional<Statistic<V>> &r) {
        const auto number = [](V value) { return static_cast<double>(value) + 0.0; }; // never -0.0
        const Pass<V> &all = passes_[0];
        plan.loss_min = number(all.lowest);
        plan.threshold = number(t.value);
        plan.n_tied = t.at;
        plan.n_pruned = n_ - t.below - t.at;
        if (rule_.recipient_rank == 0) {
            plan.recipient_threshold = -std::numeric_limits<double>::infinity();
            plan.n_recipients = 0;
        } else if (rule_.recipient_rank == 1) {
            plan.recipient_threshold = plan.loss_min;
            plan.n_recipients = all.n_lowest;
        } else if (!r || r->value >= t.value) {
            plan.recipient_threshold = plan.threshold;
            plan.n_recipients = t.below + t.at;
        } else {
            plan.recipient_threshold = number(r->value);
            plan.n_recipients = r->below + r->at;
        }
        plan.removed = std::max(plan.n_pruned, rule_.quota);
        plan.levels = levels(n_, plan.n_pruned, plan.n_tied, plan.n_recipients, plan.removed, rule_.redistribute);
    }

    // Makes the marks those of exactly the pruned samples; false if that needs more than the candidates.
    bool settle_marks(const Plan &plan, const Steps<V> &steps) {
        const auto &c = found(0);
        const V t = steps.threshold;
        if (!(c.low < t && t < c.high && c.stored == c.n_inside)) {
            return false;
        }
        if (plan.levels.kept_recipient != plan.levels.kept) {
            // Recipients other than the samples at the minimum are too many to be exceptions.
            const bool at_minimum = steps.recipient_threshold == passes_[0].lowest && plan.n_recipients > 0;
            if (plan.n_recipients > 0 && !(at_minimum && passes_[0].n_lowest <= passes_[0].lowest_capacity)) {
                return false;
            }
        }
        if (tied_differ(plan) && plan.n_tied > lowest_room) {
            return false;
        }
        for (std::int64_t i = 0; i < c.stored; ++i) {
            const auto place = c.places[i];
            const std::uint64_t above = std::bit_cast<V>(c.values[i]) > t ? 1 : 0;
            marks_[place / group_size] |= above << (place % group_size);
        }
        return true;
    }

    static bool tied_differ(const Plan &plan) {
        const bool receive = plan.recipient_threshold == plan.threshold;
        return (receive ? plan.levels.tied_recipient : plan.levels.tied) != plan.levels.kept;
    }

    // The samples that are neither simply pruned nor simply kept.
    std::vector<Exception<V>> except(const Plan &plan, const Steps<V> &steps, const V *old) {
        std::vector<Exception<V>> exceptions;
        const auto add = [&](std::int64_t place, V step) {
            exceptions.push_back({place, old == nullptr ? step : steps.keep * old[place] + step});
        };
        const auto &all = passes_[0];
        if (plan.n_recipients > 0 && plan.levels.kept_recipient != plan.levels.kept) {
            for (std::int64_t i = 0; i < all.n_lowest; ++i) {
                add(all.lowest_places[i], steps.kept_recipient);
            }
        }
        if (tied_differ(plan)) {
            const V on = steps.recipient_threshold == steps.threshold ? steps.tied_recipient : steps.tied;
            const auto &c = all.candidates[0];
            for (std::int64_t i = 0; i < c.stored; ++i) {
                if (std::bit_cast<V>(c.values[i]) == steps.threshold) {
                    add(c.places[i], on);
                }
            }
        }
        return exceptions;
    }

    const Bits *losses_;
    std::int64_t n_;
    const Rule &rule_;
    Team team_;
    std::vector<Pass<V>> passes_; // of each member; the first ends up with all
    bool marking_;
    Arena arena_;
    std::array<Bracket<V>, 2> brackets_;
    std::int64_t n_valid_ = 0;
    std::uint64_t *marks_ = nullptr;
    std::uint32_t *lowest_places_ = nullptr, *places_ = nullptr;
    std::array<Word *, 2> values_{};
    std::int64_t capacity_ = 0; // of each member
    Word *scratch_ = nullptr;
    std::int64_t room_ = 0;
};

} // namespace

template <class F>
Faults reweight(const typename F::Bits *losses, std::int64_t n, const Rule &rule, double mu,
                const typename F::Weight *old, typename F::Weight *out, int threads, Plan &plan) {
    const ExactSubnormals exact;
    // Marks are an eighth of a byte per sample: too much beside losses of two bytes.
    Reweight<F> work(losses, n, rule, out != nullptr && sizeof(typename F::Bits) > 2, threads);
    const Faults faults = work.plan(plan);
    if (out != nullptr && !faults.refuse(n, rule.prune_nan)) {
        work.write(plan, mu, old, out);
    }
    return faults;
}

template <class F>
void apply(const typename F::Bits *losses, std::int64_t n, const Plan &plan, double mu, const typename F::Weight *old,
           typename F::Weight *out, int threads) {
    const ExactSubnormals exact;
    const auto *const read = mu == 1.0 ? nullptr : old;
    const auto steps = make_steps<typename F::Value>(plan, mu, old != nullptr);
    Team team(members(n, threads));
    for_each_piece(team, n, [&](int, std::int64_t begin, std::int64_t size) {
        loops<F>().write(losses + begin, size, steps, read == nullptr ? nullptr : read + begin, out + begin);
    });
}

template <class F>
std::int64_t count_foreign(const typename F::Bits *losses, std::int64_t n, double loss_min, bool allow_nan,
                           int threads) {
    const ExactSubnormals exact;
    Team team(members(n, threads));
    std::vector<std::int64_t> foreign(static_cast<std::size_t>(team.size()));
    for_each_piece(team, n, [&](int member, std::int64_t begin, std::int64_t size) {
        const Census census = loops<F>().count(losses + begin, size, static_cast<typename F::Value>(loss_min));
        foreign[static_cast<std::size_t>(member)] += census.below + (allow_nan ? 0 : census.n_nan);
    });
    std::int64_t sum = 0;
    for (const std::int64_t part : foreign) {
        sum += part;
    }
    return sum;
}

std::int64_t samples_per_thread() {
    return grain;
}

void set_samples_per_thread(std::int64_t samples) {
    grain = std::max<std::int64_t>(1, samples);
}

#define RRM_INSTANTIATE(F)                                                                                             \
    template Faults reweight<F>(const F::Bits *, std::int64_t, const Rule &, double, const F::Weight *, F::Weight *,   \
                                int, Plan &);                                                                          \
    template void apply<F>(const F::Bits *, std::int64_t, const Plan &, double, const F::Weight *, F::Weight *, int);  \
    template std::int64_t count_foreign<F>(const F::Bits *, std::int64_t, double, bool, int);
RRM_INSTANTIATE(Float16)
RRM_INSTANTIATE(BFloat16)
RRM_INSTANTIATE(Float32)
RRM_INSTANTIATE(Float64)
#undef RRM_INSTANTIATE

} // namespace rrm::cpu
