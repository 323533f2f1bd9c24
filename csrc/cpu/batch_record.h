// Records the losses of a batch, and gathers the weights of its samples, in one pass.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

namespace rrm::cpu {

// Where the losses of the local samples are stored, whose indices start at `start`.
template <class V> struct LossStore {
    V *losses;
    std::uint8_t *counts; // how often each sample was recorded, 2 for twice or more; null: `epochs` is written
    std::int32_t *epochs; // when each sample was recorded last
    const V *weights;
    std::int64_t start, n;
    bool skip_nan; // a loss that is NaN is not recorded
};

template <class Index> struct Batch {
    const Index *index;
    std::int64_t size;
};

template <class Index> bool is_in_range(const Batch<Index> &batch, std::int64_t start, std::int64_t n) {
    Index lowest = std::numeric_limits<Index>::max();
    Index highest = std::numeric_limits<Index>::lowest();
    for (std::int64_t i = 0; i < batch.size; ++i) {
        lowest = std::min(lowest, batch.index[i]);
        highest = std::max(highest, batch.index[i]);
    }
    return batch.size == 0 || (lowest >= start && highest < start + n);
}

// Stores the losses and fills `weights`; returns how many losses are infinite or NaN, or -1 if an index is out of range
// and nothing was stored. If a sample is repeated in the batch, its last loss is stored.
template <class V, class Index>
std::int64_t record_batch(const LossStore<V> &store, const Batch<Index> &batch, const V *losses, std::int32_t epoch,
                          V *weights) {
    // Each sample is in other cache lines, which are fetched this many samples ahead.
    constexpr std::int64_t ahead = 16;
    if (!is_in_range(batch, store.start, store.n)) {
        return -1;
    }
    std::int64_t n_non_finite = 0;
    for (std::int64_t i = 0; i < batch.size; ++i) {
        const std::int64_t next = batch.index[std::min(i + ahead, batch.size - 1)] - store.start;
        __builtin_prefetch(store.weights + next);
        __builtin_prefetch(store.losses + next, 1);
        if (store.counts != nullptr) {
            __builtin_prefetch(store.counts + next, 1);
        } else {
            __builtin_prefetch(store.epochs + next, 1);
        }
        const std::int64_t position = batch.index[i] - store.start;
        const V loss = losses[i];
        weights[i] = store.weights[position];
        n_non_finite += std::isfinite(loss) ? 0 : 1;
        if (store.skip_nan && std::isnan(loss)) {
            continue;
        }
        store.losses[position] = loss;
        if (store.counts != nullptr) {
            store.counts[position] = static_cast<std::uint8_t>(store.counts[position] == 0 ? 1 : 2);
        } else {
            store.epochs[position] = epoch;
        }
    }
    return n_non_finite;
}

} // namespace rrm::cpu
