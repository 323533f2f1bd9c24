// What a trainer records of a reweight: one bit for each pruned sample, exact sums, and ranks of the losses.
//
// All results are integers, so that they depend neither on the instruction set nor on how ranks share the samples.
#pragma once

#include <cstdint>

namespace rrm::cpu {

// Losses are ranked by the leading 16 bits of their float32: equal keys share a rank.
constexpr std::int64_t n_rank_keys = 1 << 16;

// The samples of a reweight. Bits of samples are packed eight in a byte, the first in the highest bit.
template <class V> struct RecordedSamples {
    const V *losses;
    const V *weights;
    std::int64_t n;
    const V *thresholds;         // of each sample; null: they have one
    V threshold;                 // that one
    const std::uint8_t *pruned;  // 0 or 1 for each sample; null: those above their threshold, or NaN, are pruned
    const std::uint8_t *members; // 0 or 1 for each sample, whether it took part; null: all did
    const std::uint8_t *last;    // bits: pruned by the reweight before
    const std::uint8_t *ever;    // bits: pruned by any reweight before
};

// The factors by which numbers are multiplied before they are rounded to integers and added up. 0: no sum.
struct RecordScales {
    double weights, squares, costs;
};

struct RecordTotals {
    std::int64_t n_pruned = 0, n_pruned_again = 0; // now; of these by the reweight before
    std::int64_t n_pruned_ever = 0;                // of those pruned now, by any reweight before
    std::int64_t weights = 0, squares = 0, costs = 0;
};

// Adds the members to the counts of the keys, fills the bits of the pruned samples, and those of samples pruned by any
// reweight, this one included. A cost is the lower of loss and threshold.
template <class V>
RecordTotals add_to_record(const RecordedSamples<V> &samples, const RecordScales &scales, std::int64_t *key_counts,
                           std::uint8_t *bits, std::uint8_t *ever);

// Fills `sums` with the old sums plus the rank of each loss that took part. A loss that is NaN has the rank of
// infinity, or `nan_rank` unless that is null. The ranks are those of the keys, see `ranks_of_keys`.
template <class V>
void add_ranks(const V *losses, std::int64_t n, const std::uint8_t *members, const float *ranks, const float *nan_rank,
               const float *old_sums, float *sums);

// Fills the rank of the losses with each key, over n - 1, from their number, of n losses in all: equal keys share their
// mean rank. As `loss_ranks` in python/rrm_torch/weighting/loss_ranks.py, to the bit.
inline void ranks_of_keys(const std::int64_t *counts, std::int64_t n, float *ranks) {
    const auto divisor = static_cast<float>(n > 1 ? n - 1 : 1);
    std::int64_t n_up_to = 0;
    for (std::int64_t key = 0; key < n_rank_keys; ++key) {
        n_up_to += counts[key];
        ranks[key] = (static_cast<float>(n_up_to) - static_cast<float>(counts[key] + 1) / 2) / divisor;
    }
}

} // namespace rrm::cpu
