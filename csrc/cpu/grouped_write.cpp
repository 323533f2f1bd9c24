#include "grouped_write.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <iterator>
#include <limits>
#include <vector>

#include "instruction_sets.h"
#include "scan.h"
#include "subnormals.h"
#include "thread_team.h"
#include "weight_writer.h"

#ifdef RRM_X86
#include <emmintrin.h>
#endif

namespace rrm::cpu {
namespace {

// What the weights of a group depend on. A loss is compared with three limits at once: the largest number below the
// threshold, the threshold, and the recipients' threshold. The three bits of the result select the term of the update;
// those that no loss can have are those of a pruned sample, as is that of NaN.
template <class V> struct alignas(16 * sizeof(V)) GroupUpdate {
    V limits[4];
    V terms[8];

    GroupUpdate(double threshold, double recipient_threshold, const double *levels, double mu, bool has_old_weights) {
        Plan plan{};
        plan.threshold = threshold;
        plan.recipient_threshold = recipient_threshold;
        plan.levels = {levels[0], levels[1], levels[2], levels[3], levels[4]};
        const auto update = make_update<V>(plan, 0, mu, has_old_weights);
        constexpr V infinity = std::numeric_limits<V>::infinity();
        limits[0] = std::nextafter(update.threshold, -infinity);
        limits[1] = update.threshold;
        limits[2] = update.recipient_threshold;
        limits[3] = -infinity;
        std::fill(std::begin(terms), std::end(terms), update.pruned);
        terms[2] = update.tied;
        terms[3] = update.kept;
        terms[6] = update.tied_recipient;
        terms[7] = update.kept_recipient;
    }

    [[nodiscard]] V term(V loss) const {
        return terms[bits(loss)];
    }

  private:
    [[nodiscard]] unsigned bits(V loss) const {
#ifdef RRM_X86
        if constexpr (sizeof(V) == sizeof(float)) {
            const auto at_most = _mm_cmple_ps(_mm_set1_ps(loss), _mm_load_ps(limits));
            return static_cast<unsigned>(_mm_movemask_ps(at_most)) & 7U;
        } else {
            const auto x = _mm_set1_pd(loss);
            const auto first = static_cast<unsigned>(_mm_movemask_pd(_mm_cmple_pd(x, _mm_load_pd(limits))));
            const auto last = static_cast<unsigned>(_mm_movemask_pd(_mm_cmple_pd(x, _mm_load_pd(limits + 2))));
            return first | (last & 1U) << 2;
        }
#else
        return (loss <= limits[0] ? 1U : 0U) | (loss <= limits[1] ? 2U : 0U) | (loss <= limits[2] ? 4U : 0U);
#endif
    }
};

template <class V> std::vector<GroupUpdate<V>> make_updates(const GroupLevels &plan, double mu, bool has_old_weights) {
    std::vector<GroupUpdate<V>> updates;
    updates.reserve(static_cast<std::size_t>(plan.n_groups));
    for (std::int64_t group = 0; group < plan.n_groups; ++group) {
        updates.emplace_back(plan.thresholds[group], plan.recipient_thresholds[group], plan.levels + 5 * group, mu,
                             has_old_weights);
    }
    return updates;
}

} // namespace

template <class F>
InvalidWeights write_groups(const typename F::Bits *losses, const std::int32_t *groups, std::int64_t n,
                            const GroupLevels &plan, double mu, const typename F::Weight *old_weights,
                            typename F::Weight *out, int threads) {
    using V = typename F::Weight;
    const ExactSubnormals exact;
    const auto *const read_weights = mu == 1.0 ? nullptr : old_weights;
    const auto updates = make_updates<V>(plan, mu, old_weights != nullptr);
    const auto old_factor = static_cast<V>(1.0 - mu);
    InvalidWeightsOfTeam invalid;
    ThreadTeam team(team_size(n, threads));
    for_each_piece(team, n, [&](int, std::int64_t piece_begin, std::int64_t piece) {
        for (std::int64_t begin = piece_begin; begin < piece_begin + piece; begin += block_size) {
            const std::int64_t end = std::min(begin + block_size, piece_begin + piece);
            if (read_weights == nullptr) {
                for (std::int64_t i = begin; i < end; ++i) {
                    out[i] = updates[static_cast<std::size_t>(groups[i])].term(F::value(losses[i]));
                }
                continue;
            }
            invalid.add(find_invalid(read_weights + begin, end - begin), begin);
            for (std::int64_t i = begin; i < end; ++i) {
                const V term = updates[static_cast<std::size_t>(groups[i])].term(F::value(losses[i]));
                out[i] = old_factor * read_weights[i] + term;
            }
        }
    });
    return invalid.sum();
}

template <class F>
std::int64_t count_foreign_in_groups(const typename F::Bits *losses, const std::int32_t *groups, std::int64_t n,
                                     const double *minima, const std::int64_t *n_nan, int threads) {
    const ExactSubnormals exact;
    std::atomic<std::int64_t> n_foreign = 0;
    ThreadTeam team(team_size(n, threads));
    for_each_piece(team, n, [&](int, std::int64_t begin, std::int64_t size) {
        std::int64_t n_possible = 0;
        for (std::int64_t i = begin; i < begin + size; ++i) {
            const auto value = static_cast<double>(F::value(losses[i]));
            const bool is_possible = value >= minima[groups[i]] || (std::isnan(value) && n_nan[groups[i]] != 0);
            n_possible += is_possible ? 1 : 0;
        }
        n_foreign += size - n_possible;
    });
    return n_foreign;
}

#define RRM_INSTANTIATE(F)                                                                                             \
    template InvalidWeights write_groups<F>(const F::Bits *, const std::int32_t *, std::int64_t, const GroupLevels &,  \
                                            double, const F::Weight *, F::Weight *, int);                              \
    template std::int64_t count_foreign_in_groups<F>(const F::Bits *, const std::int32_t *, std::int64_t,              \
                                                     const double *, const std::int64_t *, int);
RRM_INSTANTIATE(Float16)
RRM_INSTANTIATE(BFloat16)
RRM_INSTANTIATE(Float32)
RRM_INSTANTIATE(Float64)
#undef RRM_INSTANTIATE

} // namespace rrm::cpu
