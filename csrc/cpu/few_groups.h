// Losses of few groups, whose pivots and thresholds vector instructions look up: no copy of the losses is needed.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

#include "../ordered_key.h"
#include "../plan.h"
#include "group_arrays.h"
#include "kernels.h"
#include "scan.h"
#include "scan_group.h"
#include "scratch.h"
#include "select.h"
#include "thread_team.h"

namespace rrm::cpu {

// The number of losses from which this pays off; fewer are sorted by group in less time than a sample takes.
constexpr std::int64_t few_groups_from = std::int64_t{1} << 15;

// The terms of all groups. That of a pruned sample is the same for all: `group_levels` gives it one level.
template <class V> FewGroupsUpdate<V> make_few_groups_update(const GroupLevels &plan, double mu, bool has_old_weights) {
    FewGroupsUpdate<V> all{};
    all.old_factor = static_cast<V>(1.0 - mu);
    all.is_simple = true;
    for (std::int64_t group = 0; group < plan.n_groups; ++group) {
        const GroupUpdate<V> update(plan, group, mu, has_old_weights);
        all.threshold[group] = update.threshold;
        all.recipient_threshold[group] = update.recipient_threshold;
        all.pruned = update.terms[0];
        all.tied[group] = update.terms[1];
        all.kept[group] = update.terms[2];
        all.kept_recipient[group] = update.terms[3];
        all.is_simple &= update.is_simple();
    }
    return all;
}

// It has the functions of GroupedLosses, and writes the weights.
template <class F> class FewGroupsLosses {
  public:
    using V = typename F::Value;
    using Word = typename Wide<V>::Bits;

    // The losses of groups[i] < n_groups <= few_groups, of which there are sizes[group].
    FewGroupsLosses(const typename F::Bits *losses, const std::uint8_t *groups, std::int64_t n,
                    const std::int64_t *sizes, int n_groups, ThreadTeam &team)
        : losses_(losses), groups_(groups), n_(n), sizes_(sizes), n_groups_(n_groups), team_(team),
          capacity_(candidates_of_each(n, n_groups)), scratch_(scratch_bytes()) {}

    // False if the rank of a group was not found: its bracket missed, or more losses than expected lie in it.
    template <class Function> bool scan(const std::vector<std::int64_t> &ranks, Function f) {
        std::vector<FewGroupsScan<V>> scans(static_cast<std::size_t>(team_.size()));
        scans[0].n_groups = n_groups_;
        choose_brackets(ranks, scans[0]);
        std::fill(scans.begin() + 1, scans.end(), scans[0]);
        scratch_.reset();
        for (FewGroupsScan<V> &scan : scans) {
            scan.capacity = capacity_;
            for (int group = 0; group < n_groups_; ++group) {
                scan.candidates[group] = scratch_.template allocate<Word>(capacity_ + slack);
            }
        }
        for_each_piece(team_, n_, [&](int member, std::int64_t begin, std::int64_t size) {
            auto &scan = scans[static_cast<std::size_t>(member)]; // NOLINT(misc-const-correctness)
            kernels<F>().scan_few_groups(losses_ + begin, groups_ + begin, size, scan);
        });
        const auto words = static_cast<std::int64_t>(select_words);
        const Buffer<Word> scratch{scratch_.template allocate<Word>(words), words};
        for (int group = 0; group < n_groups_; ++group) {
            const auto result =
                merge(scans, group, ranks.empty() ? 0 : ranks[static_cast<std::size_t>(group)], scratch);
            if (!result) {
                return false;
            }
            f(group, *result);
        }
        return true;
    }

    template <class Select> void count(std::vector<OrderStatistic<V>> &statistics, Select select) {
        FewGroupsCounts<V> initial{.n_groups = n_groups_, .pivot = {}};
        for (int group = 0; group < n_groups_; ++group) {
            initial.pivot[group] = statistics[static_cast<std::size_t>(group)].value;
        }
        std::vector<FewGroupsCounts<V>> parts(static_cast<std::size_t>(team_.size()), initial);
        for_each_piece(team_, n_, [&](int member, std::int64_t begin, std::int64_t size) {
            auto &part = parts[static_cast<std::size_t>(member)]; // NOLINT(misc-const-correctness)
            kernels<F>().count_few_groups(losses_ + begin, groups_ + begin, size, part);
        });
        for (int group = 0; group < n_groups_; ++group) {
            if (!select(group)) {
                continue;
            }
            auto &statistic = statistics[static_cast<std::size_t>(group)];
            statistic.n_below = statistic.n_equal = 0;
            for (const auto &part : parts) {
                statistic.n_below += part.n_below[group];
                statistic.n_equal += part.n_equal[group];
            }
        }
    }

    // Writes the new weights, see `reweight` in reweight.h, and returns the invalid old weights.
    InvalidWeights write(const GroupPlan &plan, double mu, const V *old_weights, V *out) {
        const auto update =
            make_few_groups_update<V>({plan, static_cast<std::size_t>(n_groups_)}, mu, old_weights != nullptr);
        const V *const read_weights = mu == 1.0 ? nullptr : old_weights;
        InvalidWeightsOfTeam invalid;
        for_each_piece(team_, n_, [&](int, std::int64_t begin, std::int64_t size) {
            const V *const from = read_weights == nullptr ? nullptr : read_weights + begin;
            invalid.add(
                kernels<F>().write_few_groups(losses_ + begin, groups_ + begin, size, update, from, out + begin),
                begin);
        });
        return invalid.sum();
    }

  private:
    static constexpr std::int64_t select_words = std::int64_t{1} << 16;

    static std::int64_t candidates_of_each(std::int64_t n, int n_groups) {
        return padded_size(2 * small_size + n / 4 / n_groups);
    }
    [[nodiscard]] std::int64_t scratch_bytes() const {
        const std::int64_t lists = std::int64_t{team_.size()} * n_groups_ * (capacity_ + slack + 16);
        const std::int64_t sample = padded_size(sample_size(n_)) + n_groups_ * (group_size + 16) + select_words;
        return (std::max(lists, sample) + select_words + 1024) * static_cast<std::int64_t>(sizeof(Word));
    }

    // Brackets around the ranks, and the minima, of a sample of the losses of each group.
    void choose_brackets(const std::vector<std::int64_t> &ranks, FewGroupsScan<V> &scan) {
        constexpr V infinity = std::numeric_limits<V>::infinity();
        std::fill(std::begin(scan.low), std::end(scan.low), infinity); // no rank: every loss lies below
        std::fill(std::begin(scan.high), std::end(scan.high), infinity);
        std::fill(std::begin(scan.minimum), std::end(scan.minimum), infinity);
        scratch_.reset();
        std::array<std::vector<Word>, few_groups> samples;
        SampleIndices indices(n_, 0);
        for (std::int64_t i = 0; i < indices.n_runs; ++i) {
            const std::int64_t first = indices.next();
            for (std::int64_t j = first; j < first + indices.run_length; ++j) {
                const V value = F::value(losses_[j]);
                const int group = groups_[j];
                scan.minimum[group] = value < scan.minimum[group] ? value : scan.minimum[group];
                if (!ranks.empty()) {
                    samples[static_cast<std::size_t>(group)].push_back(std::bit_cast<Word>(value));
                }
            }
        }
        const Buffer<Word> scratch{scratch_.template allocate<Word>(select_words), select_words};
        for (int group = 0; group < n_groups_; ++group) {
            const std::int64_t rank = ranks.empty() ? 0 : ranks[static_cast<std::size_t>(group)];
            if (rank != 0) {
                const auto bracket = bracket_of(samples[static_cast<std::size_t>(group)], sizes_[group], rank, scratch);
                scan.low[group] = bracket.low;
                scan.high[group] = bracket.high;
            }
        }
    }

    static Bracket<V> bracket_of(std::vector<Word> &sample, std::int64_t size, std::int64_t rank,
                                 Buffer<Word> scratch) {
        std::erase_if(sample, [](Word word) { return std::isnan(Wide<V>::value(word)); });
        const auto n = static_cast<std::int64_t>(sample.size());
        Bracket<V> bracket;
        if (n < group_size) {
            return bracket;
        }
        sample.resize(static_cast<std::size_t>(padded_size(n)));
        pad_with_nan(sample.data(), n);
        const double quantile = static_cast<double>(rank) / static_cast<double>(size);
        const double centre = quantile * static_cast<double>(n);
        const double margin = 4.0 * std::sqrt(centre * (1.0 - quantile)) + 2.0;
        const auto tolerance = static_cast<std::int64_t>(margin / 8.0);
        const auto first = static_cast<std::int64_t>(centre - margin);
        const auto last = static_cast<std::int64_t>(centre + margin) + 1;
        if (first >= 1) {
            bracket.low = select_rank<V>(sample.data(), n, first, scratch, tolerance).value;
        }
        if (last <= n) {
            bracket.high = select_rank<V>(sample.data(), n, last, scratch, tolerance).value;
        }
        return bracket.low == bracket.high ? Bracket<V>::around(bracket.low) : bracket;
    }

    // What all members have found in a group.
    std::optional<GroupResult<V>> merge(std::vector<FewGroupsScan<V>> &scans, int group, std::int64_t rank,
                                        Buffer<Word> scratch) const {
        GroupResult<V> result;
        Candidates<V> candidates;
        candidates.low = scans[0].low[group];
        candidates.high = scans[0].high[group];
        for (const FewGroupsScan<V> &scan : scans) {
            if (scan.minimum[group] < result.minimum.value) {
                result.minimum = {scan.minimum[group], 0, 0};
            }
            candidates.n_inside += scan.n_inside[group];
            candidates.n_stored += scan.n_stored[group];
            candidates.n_high += scan.n_high[group];
            result.n_nan += scan.n_nan[group];
        }
        for (const FewGroupsScan<V> &scan : scans) {
            result.minimum.n_equal += scan.minimum[group] == result.minimum.value ? scan.n_minimum[group] : 0;
        }
        const bool is_neg_inf = result.minimum.value == -std::numeric_limits<V>::infinity();
        result.n_neg_inf = is_neg_inf ? result.minimum.n_equal : 0;
        const std::int64_t n_valid = sizes_[group] - result.n_nan;
        if (rank == 0 || n_valid == 0) {
            return result;
        }
        std::vector<Word> values;
        values.reserve(static_cast<std::size_t>(padded_size(candidates.n_stored)));
        for (const FewGroupsScan<V> &scan : scans) {
            values.insert(values.end(), scan.candidates[group], scan.candidates[group] + scan.n_stored[group]);
        }
        values.resize(static_cast<std::size_t>(padded_size(candidates.n_stored)));
        candidates.values = values.data();
        const auto none = [](V, std::int64_t) { return PivotCounts{}; };
        const auto found = resolve_rank<V>(sizes_[group], std::min(rank, n_valid), candidates, scratch, none);
        if (!found) {
            return std::nullopt;
        }
        result.ranked = *found;
        return result;
    }

    const typename F::Bits *losses_;
    const std::uint8_t *groups_;
    std::int64_t n_;
    const std::int64_t *sizes_;
    int n_groups_;
    ThreadTeam &team_;
    std::int64_t capacity_; // candidates of one group that one member stores
    Scratch scratch_;
};

} // namespace rrm::cpu
