// The loops of pruning_record.cpp, which compiles them for each instruction set. The compiler vectorises them: a block
// of samples goes through several short loops while it is in the first-level cache.

constexpr std::int64_t record_block = 2048;

// Adding this to a number below 2^51 rounds it to an integer, half to even, in the low bits of the sum.
constexpr double rounder = 0x1.8p52;
constexpr auto rounder_bits = std::bit_cast<std::int64_t>(rounder);

RRM_INLINE std::int64_t rounded_bits(double number) {
    return std::bit_cast<std::int64_t>(number + rounder);
}

// The sum of f(i) for i < n, each rounded to an integer.
template <class Function> RRM_INLINE std::int64_t rounded_sum(std::int64_t n, Function f) {
    std::uint64_t sum = 0; // modulo 2^64, as the multiples of rounder_bits may overflow
    for (std::int64_t i = 0; i < n; ++i) {
        sum += static_cast<std::uint64_t>(rounded_bits(f(i)));
    }
    return static_cast<std::int64_t>(sum - static_cast<std::uint64_t>(n) * static_cast<std::uint64_t>(rounder_bits));
}

// Fetches the cache line of an element, which may be beyond the end. Its address is computed as an integer: a pointer
// beyond an array is undefined.
template <class V> RRM_INLINE void fetch(const V *array, std::int64_t i) {
    const auto address = reinterpret_cast<std::uintptr_t>(array) + static_cast<std::size_t>(i) * sizeof(V);
    __builtin_prefetch(reinterpret_cast<const void *>(address)); // NOLINT(performance-no-int-to-ptr)
}

// Calls f(i) for i < n, and fetches the next block of two arrays meanwhile: the hardware prefetcher stops at each page.
template <class A, class B, class Function>
RRM_INLINE void for_each_and_fetch(std::int64_t n, const A *a, const B *b, Function f) {
    constexpr std::int64_t step = 16; // a cache line of floats
    for (std::int64_t begin = 0; begin < n; begin += step) {
        fetch(a, record_block + begin);
        fetch(b, record_block + begin);
        const std::int64_t end = std::min(begin + step, n);
        for (std::int64_t i = begin; i < end; ++i) {
            f(i);
        }
    }
}

// The leading bits of each loss in the order of the losses; those of infinity for NaN.
template <class V> RRM_INLINE void find_keys(const V *losses, std::int64_t n, std::int32_t *keys) {
    for (std::int64_t i = 0; i < n; ++i) {
        const auto loss = static_cast<float>(losses[i]);
        const float number = std::isnan(loss) ? std::numeric_limits<float>::infinity() : loss;
        const auto bits = std::bit_cast<std::int32_t>(number + 0.0F); // -0 becomes 0
        const std::int32_t ordered = bits ^ (bits >> 31 & 0x7fffffff);
        keys[i] = (ordered >> 16) + static_cast<std::int32_t>(n_rank_keys / 2);
    }
}

// Sets a byte to 1 for each pruned sample.
template <class V>
RRM_INLINE void find_pruned(const RecordedSamples<V> &samples, std::int64_t begin, std::int64_t n,
                            std::uint8_t *pruned) {
    const V *const losses = samples.losses + begin;
    if (samples.pruned != nullptr) {
        __builtin_memcpy(pruned, samples.pruned + begin, static_cast<std::size_t>(n));
    } else if (samples.thresholds != nullptr) {
        const V *const thresholds = samples.thresholds + begin;
        for (std::int64_t i = 0; i < n; ++i) {
            pruned[i] = !(losses[i] <= thresholds[i]);
        }
    } else {
        const V threshold = samples.threshold;
        for (std::int64_t i = 0; i < n; ++i) {
            pruned[i] = !(losses[i] <= threshold);
        }
    }
    if (samples.members != nullptr) {
        for (std::int64_t i = 0; i < n; ++i) {
            pruned[i] &= samples.members[begin + i];
        }
    }
}

// Packs bytes of 0 or 1; what follows them up to a multiple of 8 must be 0.
RRM_INLINE void pack_bits(const std::uint8_t *bytes, std::int64_t n_packed, std::uint8_t *bits) {
    for (std::int64_t i = 0; i < n_packed; ++i) {
        std::uint8_t byte = 0;
        for (int j = 0; j < 8; ++j) {
            byte = static_cast<std::uint8_t>(byte | bytes[8 * i + j] << (7 - j));
        }
        bits[i] = byte;
    }
}

RRM_INLINE std::int64_t count_set(std::uint8_t byte) {
    return __builtin_popcount(byte);
}

template <class V>
RRM_INLINE std::int64_t sum_of_costs(const RecordedSamples<V> &samples, std::int64_t begin, std::int64_t n,
                                     double scale) {
    const V *const losses = samples.losses + begin;
    const auto cost = [&](std::int64_t i, V threshold) {
        // The threshold for NaN.
        return static_cast<double>(losses[i] < threshold ? losses[i] : threshold) * scale;
    };
    if (samples.thresholds == nullptr && samples.members == nullptr) {
        const V threshold = samples.threshold;
        return rounded_sum(n, [&](std::int64_t i) { return cost(i, threshold); });
    }
    return rounded_sum(n, [&](std::int64_t i) {
        const V threshold = samples.thresholds == nullptr ? samples.threshold : samples.thresholds[begin + i];
        return samples.members == nullptr || samples.members[begin + i] != 0 ? cost(i, threshold) : 0.0;
    });
}

template <class V>
RecordTotals add_to_record(const RecordedSamples<V> &samples, const RecordScales &scales, std::int64_t *key_counts,
                           std::uint8_t *bits, std::uint8_t *ever) {
    alignas(64) std::uint8_t pruned[record_block];
    alignas(64) std::int32_t keys[record_block];
    RecordTotals totals;
    for (std::int64_t begin = 0; begin < samples.n; begin += record_block) {
        const std::int64_t n = std::min(record_block, samples.n - begin);
        find_pruned(samples, begin, n, pruned);
        for (std::int64_t i = n; i % 8 != 0; ++i) {
            pruned[i] = 0;
        }
        const std::int64_t first = begin / 8;
        const std::int64_t n_packed = (n + 7) / 8;
        pack_bits(pruned, n_packed, bits + first);
        for (std::int64_t i = first; i < first + n_packed; ++i) {
            totals.n_pruned += count_set(bits[i]);
            totals.n_pruned_again += count_set(bits[i] & samples.last[i]);
            totals.n_pruned_ever += count_set(bits[i] & samples.ever[i]);
            ever[i] = samples.ever[i] | bits[i];
        }
        find_keys(samples.losses + begin, n, keys);
        const V *const weights = samples.weights + begin;
        for_each_and_fetch(n, samples.losses + begin, weights, [&](std::int64_t i) {
            key_counts[keys[i]] += samples.members == nullptr ? 1 : samples.members[begin + i];
        });
        totals.weights +=
            rounded_sum(n, [&](std::int64_t i) { return static_cast<double>(weights[i]) * scales.weights; });
        totals.squares += rounded_sum(
            n, [&](std::int64_t i) { return static_cast<double>(weights[i] * weights[i]) * scales.squares; });
        if (scales.costs != 0) {
            totals.costs += sum_of_costs(samples, begin, n, scales.costs);
        }
    }
    return totals;
}

template <class V>
void add_ranks(const V *losses, std::int64_t n, const std::uint8_t *members, const float *ranks, const float *nan_rank,
               const float *old_sums, float *sums) {
    alignas(64) std::int32_t keys[record_block];
    for (std::int64_t begin = 0; begin < n; begin += record_block) {
        const std::int64_t n_block = std::min(record_block, n - begin);
        find_keys(losses + begin, n_block, keys);
        const float *const old = old_sums + begin;
        float *const to = sums + begin;
        if (members == nullptr && nan_rank == nullptr) {
            for_each_and_fetch(n_block, losses + begin, old, [&](std::int64_t i) { to[i] = old[i] + ranks[keys[i]]; });
            continue;
        }
        for (std::int64_t i = 0; i < n_block; ++i) {
            float rank = ranks[keys[i]];
            if (nan_rank != nullptr && std::isnan(losses[begin + i])) {
                rank = *nan_rank;
            }
            to[i] = old[i] + (members == nullptr || members[begin + i] != 0 ? rank : 0.0F);
        }
    }
}
