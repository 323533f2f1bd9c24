// What a trainer records of a reweight: one bit for each pruned sample, exact sums, and by how much each loss exceeds
// its threshold.
//
// Sums over samples are integers, so that they depend neither on the instruction set nor on how ranks share the
// samples.
#pragma once

#include <cstdint>

namespace rrm::cpu {

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
    const float *excess;         // of each sample, the sum of its excess in the reweights before
    const V *excess_thresholds;  // what the excess is relative to, of each sample; null: they have one
    V excess_threshold;          // that one
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

// Where the results by sample are written.
struct RecordOutput {
    std::uint8_t *bits; // of the pruned samples
    std::uint8_t *ever; // of the samples pruned by any reweight, this one included
    float *excess;      // the sums with the excess of this reweight
};

// Fills the output. A cost is the lower of loss and threshold. The excess of a sample that took part is its loss less
// the threshold for it, less 0 if that is infinite; that of NaN is infinite.
template <class V>
RecordTotals add_to_record(const RecordedSamples<V> &samples, const RecordScales &scales, const RecordOutput &output);

} // namespace rrm::cpu
