// Host interface of the CUDA kernel for trainers: device pointers, lengths, a stream. It neither allocates nor
// synchronises.
#pragma once

#include <cstdint>

#include "reweight.h"

namespace rrm::cuda {

// Where the losses of the local samples are stored, whose indices start at `start`. There is one element before those
// of the samples, and one behind them, for the losses of indices out of range.
template <class V> struct LossStore {
    V *losses;
    std::int32_t *marks; // how often each sample was recorded, or when
    const V *weights;
    std::int64_t start, n; // n > 0
    bool counts;           // marks are counted up; otherwise the epoch is written
    bool skip_nan;         // a loss that is NaN is not recorded
};

// The losses of a batch, and the indices of its samples.
template <class V, class Index> struct Batch {
    const V *losses;
    const Index *index;
    std::int64_t size; // > 0
};

// What a weighted mean of a batch consists of: arrays of `size` elements.
template <class V> struct WeightedTerms {
    V *terms;               // weight times loss; 0 if the weight is 0, or if the sample has no loss
    V *factors;             // the derivatives of the terms: the weight, or 0
    std::uint8_t *has_loss; // whether the loss is a number, or the weight is 0
};

// Enqueues the record of a batch: stores and marks its losses, and fills `result`. The sample of an index out of range
// has the weight of the nearest one. If a sample is repeated in the batch, one of its losses is stored.
template <class V, class Index>
Error record_batch(const LossStore<V> &store, const Batch<V, Index> &batch, std::int32_t epoch,
                   const WeightedTerms<V> &result, const Tuning &tuning, Stream stream);

} // namespace rrm::cuda
