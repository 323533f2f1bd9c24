#include "grouped_write.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "scan.h"
#include "subnormals.h"
#include "thread_team.h"
#include "weight_writer.h"

namespace rrm::cpu {
namespace {

// The update of a group where all samples that are not pruned have the same term. Smaller: more groups fit into the
// first-level cache.
template <class V> struct alignas(4 * sizeof(V)) SimpleUpdate {
    V threshold;
    V terms[2]; // pruned, kept

    [[nodiscard]] V term(V loss) const {
        return terms[static_cast<unsigned>(loss <= threshold)];
    }
};

// Whether old weights may be invalid: a sign bit is set, or a number is not finite.
template <class V> class SuspectWeights {
  public:
    void add(V weight) {
        const auto bits = std::bit_cast<Bits>(weight);
        suspect_ |= bits | (Wide<V>::infinity - 1 - bits);
    }
    [[nodiscard]] bool any() const {
        return (suspect_ & Wide<V>::sign) != 0;
    }

  private:
    using Bits = typename Wide<V>::Bits;
    Bits suspect_ = 0;
};

// The invalid ones among n old weights, looked at one by one: for those of which any is suspect.
template <class V> InvalidWeights find_invalid(const V *old_weights, std::int64_t n) {
    InvalidWeights invalid;
    for (std::int64_t i = 0; i < n; ++i) {
        if (!(old_weights[i] >= 0 && old_weights[i] <= std::numeric_limits<V>::max())) {
            invalid.merge({1, i, static_cast<double>(old_weights[i])}, 0);
        }
    }
    return invalid;
}

template <class F, class Update>
InvalidWeights write_terms(const typename F::Bits *losses, const std::int32_t *groups, std::int64_t n,
                           const std::vector<Update> &updates, double mu, const typename F::Weight *old_weights,
                           typename F::Weight *out, int threads) {
    using V = typename F::Weight;
    const auto old_factor = static_cast<V>(1.0 - mu);
    InvalidWeightsOfTeam invalid;
    ThreadTeam team(team_size(n, threads));
    for_each_piece(team, n, [&](int, std::int64_t piece_begin, std::int64_t piece) {
        for (std::int64_t begin = piece_begin; begin < piece_begin + piece; begin += block_size) {
            const std::int64_t end = std::min(begin + block_size, piece_begin + piece);
            if (mu == 1.0 || old_weights == nullptr) {
                for (std::int64_t i = begin; i < end; ++i) {
                    out[i] = updates[static_cast<std::size_t>(groups[i])].term(F::value(losses[i]));
                }
                continue;
            }
            // `out` may be `old_weights`, which are looked at again if any is suspect.
            V sums[block_size];
            SuspectWeights<V> suspects;
            for (std::int64_t i = begin; i < end; ++i) {
                const V term = updates[static_cast<std::size_t>(groups[i])].term(F::value(losses[i]));
                suspects.add(old_weights[i]);
                sums[i - begin] = old_factor * old_weights[i] + term;
            }
            if (suspects.any()) {
                invalid.add(find_invalid(old_weights + begin, end - begin), begin);
            }
            std::copy_n(sums, end - begin, out + begin);
        }
    });
    return invalid.sum();
}

} // namespace

template <class F>
InvalidWeights write_groups(const typename F::Bits *losses, const std::int32_t *groups, std::int64_t n,
                            const GroupLevels &plan, double mu, const typename F::Weight *old_weights,
                            typename F::Weight *out, int threads) {
    using V = typename F::Weight;
    const ExactSubnormals exact;
    std::vector<GroupUpdate<V>> updates;
    std::vector<SimpleUpdate<V>> simple_updates;
    updates.reserve(static_cast<std::size_t>(plan.n_groups));
    simple_updates.reserve(static_cast<std::size_t>(plan.n_groups));
    bool is_simple = true;
    for (std::int64_t group = 0; group < plan.n_groups; ++group) {
        const auto &update = updates.emplace_back(plan, group, mu, old_weights != nullptr);
        simple_updates.push_back({update.threshold, {update.terms[0], update.terms[2]}});
        is_simple = is_simple && update.is_simple();
    }
    return is_simple ? write_terms<F>(losses, groups, n, simple_updates, mu, old_weights, out, threads)
                     : write_terms<F>(losses, groups, n, updates, mu, old_weights, out, threads);
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
