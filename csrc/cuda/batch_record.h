// The only launch of a batch: stores its losses, and computes the terms of their weighted mean.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <type_traits>

#include "compat.h"
#include "training.h"

namespace rrm::cuda {

// Stores a number where another thread may store one at the same time.
template <class V> __device__ void store_one_of(V *at, V value) {
    using Word = std::conditional_t<sizeof(V) == 4, unsigned, unsigned long long>;
    atomicExch(reinterpret_cast<Word *>(at), std::bit_cast<Word>(value));
}

template <class V, class Index>
__global__ void __launch_bounds__(max_threads)
    record_losses(LossStore<V> store, Batch<V, Index> batch, std::int32_t epoch, WeightedTerms<V> result) {
    const std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
    if (i >= batch.size) {
        return;
    }
    const std::int64_t sample = gpu::load(batch.index + i);
    const V loss = gpu::load(batch.losses + i);
    const bool is_nan = std::isnan(loss);
    const bool is_below = sample < store.start;
    const std::int64_t position = is_below ? -1 : std::min(sample - store.start, store.n);
    if (!(is_nan && store.skip_nan)) {
        store_one_of(store.losses + position, loss);
        auto *mark = reinterpret_cast<unsigned *>(store.marks + position);
        if (store.counts) {
            atomicAdd(mark, 1U);
        } else {
            atomicExch(mark, static_cast<unsigned>(epoch));
        }
    }
    const std::int64_t nearest = is_below ? 0 : std::min(position, store.n - 1);
    const V weight = gpu::load(store.weights + nearest);
    const bool has_loss = !is_nan || weight == 0;
    const V factor = has_loss ? weight : V{0};
    gpu::store(result.terms + i, factor == 0 ? V{0} : factor * loss);
    gpu::store(result.factors + i, factor);
    gpu::store(result.has_loss + i, static_cast<std::uint8_t>(has_loss));
}

} // namespace rrm::cuda
